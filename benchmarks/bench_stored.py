"""Time `classify` on a million stored vectors with 100 labels, beside numpy's product of the same numbers.

    python benchmarks/bench_stored.py [--rows 1000000] [--labels 100] [--turns 3]

The vectors are random and said to be of `tiny`; what is measured does not depend on their values. clipcli and numpy
take turns, each in a process of its own. numpy maps the file, multiplies block by block and takes the best label: it
reads no names, checks nothing, gives no probabilities and writes nothing. Starting Python and loading the model's text
side has a benchmark of its own, and is subtracted: it is measured by a run over 1,000 rows.
Prints a table and writes results/stored.json and results/stored.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from clipcli.vectorfiles import VectorRows, VectorsInfo, WritePlan, create_vectors

RESULTS = Path(__file__).parent / "results"
ROWS_AT_ONCE = 8192
NUMPY = """
import resource, sys, time
import numpy as np
vectors, labels = np.load(sys.argv[1], mmap_mode="r"), np.load(sys.argv[2])
began = time.perf_counter()
for start in range(0, len(vectors), 8192):
    (np.asarray(vectors[start : start + 8192]) @ labels.T).argmax(axis=1)
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def make(path: Path, rows: int, fingerprint: str, dim: int) -> None:
    """Write random unit vectors."""
    random = np.random.default_rng(0)
    info = VectorsInfo(kind="image", model="tiny", fingerprint=fingerprint)
    with create_vectors("npy", WritePlan(path, info, rows=rows, dim=dim)) as writer:
        for start in range(0, rows, ROWS_AT_ONCE):
            some = random.standard_normal((min(ROWS_AT_ONCE, rows - start), dim), dtype=np.float32)
            some /= np.linalg.norm(some, axis=1, keepdims=True)
            writer.write(VectorRows([f"photos/{start + n:08d}.jpg" for n in range(len(some))], some))


def measure_numpy(*arguments: str | Path) -> tuple[float, int]:
    """Return the seconds of the product and the peak memory in KB."""
    command = [sys.executable, "-c", NUMPY, *map(str, arguments)]
    seconds, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), int(peak)


def measure_clipcli(*arguments: str | Path) -> tuple[float, int]:
    """Return the seconds of a command, with its start, and its peak memory in KB."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "clipcli", *map(str, arguments)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        embed = ("embed", "-t", "a dog", "-m", "tiny", "-o", str(folder / "text.npy"), "-q")
        subprocess.run([sys.executable, "-m", "clipcli", *embed], check=True)
        about = json.loads((folder / "text.npy.json").read_text(encoding="utf-8"))
        dim = np.load(folder / "text.npy").shape[1]
        make(folder / "few.npy", 1000, about["fingerprint"], dim)
        make(folder / "v.npy", asked.rows, about["fingerprint"], dim)
        np.save(folder / "labels.npy", np.random.default_rng(1).standard_normal((asked.labels, dim), dtype=np.float32))
        words = ",".join(f"thing {n}" for n in range(asked.labels))
        figures: dict[str, list[tuple[float, int]]] = {}
        for _ in range(asked.turns):
            figures.setdefault("numpy product", []).append(measure_numpy(folder / "v.npy", folder / "labels.npy"))
            for form in ("jsonl", "tsv"):
                command = ("classify", "-l", words, "-m", "tiny", "-q", "-f", form, "-o", folder / f"rows.{form}")
                few, _ = measure_clipcli(*command, folder / "few.npy")
                many, peak = measure_clipcli(*command, folder / "v.npy")
                figures.setdefault(f"clipcli classify, {form}", []).append((many - few, peak))
    write(asked.rows, asked.labels, dim, figures)


def write(rows: int, labels: int, dim: int, figures: dict[str, list[tuple[float, int]]]) -> None:
    """Write the medians."""
    table = {
        name: {"seconds": round(statistics.median(s for s, _ in runs), 2), "peak_mb": max(p for _, p in runs) // 1000}
        for name, runs in figures.items()
    }
    bound = table["numpy product"]["seconds"]
    title = f"{rows:,} stored vectors of {dim} numbers, {labels} labels, {os.cpu_count()} cores, {platform.machine()}"
    lines = [
        title,
        "",
        "| | seconds | vectors/s | share of numpy's speed | peak MB |",
        "| --- | --: | --: | --: | --: |",
    ]
    for name, found in table.items():
        speed, share = f"{rows / found['seconds']:,.0f}", f"{bound / found['seconds']:.2f}"
        lines.append(f"| {name} | {found['seconds']} | {speed} | {share} | {found['peak_mb']} |")
    note = "numpy reads no names, checks nothing, gives no probabilities and writes nothing."
    (RESULTS / "stored.md").write_text("\n".join([*lines, "", note, ""]), encoding="utf-8")
    record = {"rows": rows, "labels": labels, "dim": dim, "cores": os.cpu_count(), "figures": table}
    (RESULTS / "stored.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
