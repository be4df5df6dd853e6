#!/bin/sh
# Measure clipcli on a CUDA device within ten minutes, with the Python of .venv or the one on the PATH: benchmarks/gpu.sh [options of gpu_rates.py]
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
python="$here/../.venv/bin/python"
[ -x "$python" ] || python=python3
PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}" exec "$python" "$here/gpu_rates.py" "$@"
