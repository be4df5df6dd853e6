"""Search at a million vectors: from process start, alone against a flat scan, many queries against BLAS.

    python benchmarks/bench_rank.py FOLDER [--rows 1000000] [--rclip PYTHON] [-o benchmarks/results/rank.json]

FOLDER gets the vectors (2 GB at a million rows). PYTHON is the interpreter of an environment with rclip: its own
database and scoring code is then timed over the same vectors, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipcli.ranking.corpus import Corpus, FilePart
from clipcli.tasks.search import Wanted, rows_a_block, search
from clipcli.vectorfiles import Plan, VectorRows, VectorsInfo, create_vectors, open_vectors
from clipcli.vectors import unit_length

if TYPE_CHECKING:
    from collections.abc import Callable

DIM, TOP, REPEATS = 512, 10, 5
MANY = 200_000
"""Rows that many queries are timed over."""
ROOT = Path(__file__).parent.parent


def make(path: Path, rows: int) -> None:
    """Random unit vectors with names, as `clipcli embed -m tiny` would describe them."""
    if path.exists():
        return
    rng = np.random.default_rng(0)
    info = VectorsInfo("image", "", "0" * 12)
    with create_vectors("npy", Plan(path, info, rows=rows, dim=DIM)) as writer:
        for start in range(0, rows, 50_000):
            count = min(50_000, rows - start)
            names = [f"photos/{(start + n) // 1000:04}/{start + n:07}.jpg" for n in range(count)]
            writer.write(VectorRows(names, unit_length(rng.standard_normal((count, DIM), dtype=np.float32))))


def best(action: Callable[[], object], repeats: int = REPEATS) -> float:
    """Seconds of the fastest run."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


def one_query(path: Path) -> dict[str, float]:
    """The search itself against the flat numpy scan, both warm and over the same mapped file."""
    file = open_vectors(path)
    corpus, matrix = Corpus([FilePart(file)], DIM), np.load(path, mmap_mode="r")
    query = unit_length(np.random.default_rng(1).standard_normal((1, DIM)))

    def flat() -> object:
        scores = matrix @ query[0]
        return np.argpartition(scores, -TOP)[-TOP:]

    def ours() -> object:
        return search(query, corpus.blocks(rows_a_block(DIM, 1)), Wanted(TOP), corpus.names)

    def fresh() -> object:
        scores = np.load(path, mmap_mode="r") @ query[0]
        return np.argpartition(scores, -TOP)[-TOP:]

    warm, mapped_anew, own = best(flat), best(fresh), best(ours)
    return {
        "flat_scan_pages_mapped_s": warm, "flat_scan_mapped_anew_s": mapped_anew, "search_s": own,
        "times_flat_mapped_anew": own / mapped_anew, "times_flat_pages_mapped": own / warm,
    }  # fmt: skip


def many_queries(path: Path, count: int) -> dict[str, float]:
    """Many queries against one BLAS product over the same rows: as many as fit into memory with their products."""
    queries = unit_length(np.random.default_rng(2).standard_normal((count, DIM)))
    matrix = np.load(path, mmap_mode="r")[:MANY]
    step = rows_a_block(DIM, count)

    def ours() -> object:
        blocks = ((start, matrix[start : start + step]) for start in range(0, len(matrix), step))
        return search(queries, blocks, Wanted(TOP))

    product, own = best(lambda: queries @ matrix.T, 2), best(ours, 2)
    return {"rows": len(matrix), "blas_product_s": product, "search_s": own, "share_of_blas_speed": product / own}


def peak(path: Path, queries: int) -> dict[str, float]:
    """Peak memory of a search in a process of its own, above what it had before, against a block with its products."""
    script = f"""
import numpy as np
from clipcli.ranking.corpus import Corpus, FilePart
from clipcli.tasks.search import Wanted, rows_a_block, search
from clipcli.vectorfiles import open_vectors
from clipcli.vectors import unit_length
file = open_vectors({str(path)!r})
corpus = Corpus([FilePart(file)], {DIM})
queries = unit_length(np.random.default_rng(1).standard_normal(({queries}, {DIM})))
queries @ np.ones(({DIM}, 4096), np.float32)
rows = rows_a_block({DIM}, {queries})
len(corpus.names)
def memory(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
open("/proc/self/clear_refs", "w").write("5")
before = memory("VmRSS")
search(queries, corpus.blocks(rows), Wanted({TOP}), corpus.names)
print((memory("VmHWM") - before) * 1024, rows * (4 * {DIM} + 4 * {queries}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    grown, block = map(int, done.stdout.split())
    return {"grown_mb": grown / 1e6, "block_mb": block / 1e6, "times_block": grown / block}


def from_process_start(path: Path, model: str) -> dict[str, float]:
    """`clipcli rank` from process start to exit, its words known from a run before."""
    command = [sys.executable, "-m", "clipcli", "rank", "two parrots", str(path), "--model", model, "-q"]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return {"seconds": best(lambda: subprocess.run(command, check=True, capture_output=True, cwd=ROOT))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--model", help="a model of 512 numbers, for the run from process start")
    parser.add_argument("--rclip", help="the Python of an environment with rclip")
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    path = asked.folder / "vectors.npy"
    make(path, asked.rows)
    figures: dict[str, Any] = {"rows": asked.rows, "dim": DIM, "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    figures["one query"] = one_query(path)
    figures["memory, one query"] = peak(path, 1)
    figures[f"{asked.queries} queries"] = many_queries(path, asked.queries)
    if asked.model:
        described = asked.folder / "own.npy"
        figures["from process start"] = from_process_start(_of_model(path, described, asked.model), asked.model)
    if asked.rclip:
        script = Path(__file__).with_name("rclip_search.py")
        done = subprocess.run([asked.rclip, script, path, asked.folder], capture_output=True, text=True, check=True)
        figures["rclip"] = json.loads(done.stdout)
        figures["times rclip's search"] = figures["rclip"]["search_s"] / figures["one query"]["search_s"]
    text = json.dumps(figures, indent=2, default=float) + "\n"
    print(text)
    if asked.output:
        asked.output.write_text(text, "utf-8")


def _of_model(path: Path, target: Path, model: str) -> Path:
    """The same vectors, described as made by a model, so that `rank` takes them."""
    record = json.loads(path.with_name(path.name + ".json").read_text("utf-8"))
    run = [
        sys.executable,
        "-m",
        "clipcli",
        "embed",
        "-t",
        "x",
        "-m",
        model,
        "-o",
        str(target.with_name("one.npy")),
        "-q",
    ]
    subprocess.run(run, check=True, cwd=ROOT)
    own = json.loads((target.parent / "one.npy.json").read_text("utf-8"))
    record |= {"fingerprint": own["fingerprint"], "model": own["model"]}
    target.unlink(missing_ok=True)
    os.link(path, target)
    target.with_name(target.name + ".json").write_text(json.dumps(record), "utf-8")
    return target


if __name__ == "__main__":
    main()
