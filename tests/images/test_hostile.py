"""Files made to break decoders: each is an image or an `ImageError`, quietly, in bounded time and memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from run import run_script

from clipcli.core.encoder import Preprocessing
from clipcli.errors import ImageError
from clipcli.images import decode, read
from clipcli.images.preprocess import to_pixels

HOW = Preprocessing((64, 64), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def outcome(path):
    """None for an image that became pixels, else the reason."""
    try:
        pixels = to_pixels(decode(read(str(path)), max_pixels=50_000_000), HOW)
    except ImageError as error:
        return error.reason
    assert np.isfinite(pixels).all()
    return None


@pytest.mark.thorough
def test_every_file_is_an_image_or_an_image_error(shared, capfd):
    files = sorted(path for path in (shared / "data/hostile").rglob("*") if path.is_file())
    outcomes = [outcome(path) for path in files]
    reasons = [reason for reason in outcomes if reason is not None]
    assert len(files) - len(reasons) > 500
    assert len(reasons) > 80
    assert not [reason for reason in reasons if not reason or len(reason) > 200 or "\n" in reason or "0x" in reason]
    captured = capfd.readouterr()
    assert captured.err == ""
    assert captured.out == ""


@pytest.mark.thorough
def test_all_of_them_in_one_run_are_rows(shared):
    """Named outright, so that each is tried; the two threads that decode hold two images at the limit and no more."""
    files = [str(path) for path in sorted((shared / "data/hostile").rglob("*")) if path.is_file()]
    script = """
import resource, sys
from clipcli.cli import app
limit = 6 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
app(sys.argv[1:], prog_name="clipcli")
"""
    options = (
        "-l",
        "cat,dog",
        "-m",
        "tiny",
        "--format",
        "jsonl",
        "--no-cache",
        "--workers",
        "2",
        "--max-pixels",
        "50000000",
    )
    done = run_script(script, "classify", *files, *options)
    assert done.code == 3
    assert [row["image"] for row in done.rows] == files
    failed = [row["image"] for row in done.rows if "error" in row]
    assert all(("label" in row) != ("error" in row) for row in done.rows)
    said = [line for line in done.stderr.splitlines() if line.startswith("clipcli: ")]
    assert said == done.stderr.splitlines()
    assert sum(line.endswith(("(read)", "(decode)", "(preprocess)")) for line in said) == len(failed) > 80


MEASURE = """
import resource, sys, pathlib
from clipcli.errors import ImageError
from clipcli.images import decode, read
limit = 3 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*")):
    try:
        decode(read(str(path)))
    except ImageError:
        pass
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024)
"""


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_follows_the_limit_of_pixels(shared):
    """No file takes more than an image at the limit does: 4 bytes for each of 179 million pixels, and half again."""
    command = [sys.executable, "-c", MEASURE, str(shared / "data/hostile")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert done.stderr == ""
    assert int(done.stdout) < 1.5 * 4 * 179
