"""An index over millions of vectors: building it in bounded memory, one query in it, and how much it finds.

    python benchmarks/bench_index.py [FOLDER] [--rows 10000000] [--dim 512]

FOLDER gets the vectors (float16, made block by block) and the index, together 4.3 bytes per number, and is used again.
The vectors are drawn around 2,000 topics with 50 groups each, with a spectrum that falls as that of CLIP's vectors does
and a common direction. Queries are new vectors of the same kind, and mixtures: half such a vector, half what
parts two others. Their true ten best are found by the exact search. Writes results/index.json, in which other sizes
stay, and results/index.md. `--make` and `--build` end after that step; `--recall` counts the recall again and keeps the
times, which depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_rank import conditions

from clipcli.core.vectors import unit_length
from clipcli.runs.rank.index import Index
from clipcli.tasks.search.flat import SearchLimits, rows_a_block, search
from clipcli.vectorfiles import VectorRows, VectorsInfo, WritePlan, create_vectors, open_vectors

TOP, TOPICS, GROUPS = 10, 2_000, 50
TIMED, COUNTED = 60, 300
"""Queries of each kind for the times, and for the recall, which has a standard error of half a percent with so many."""
BLOCK = 50_000
RESULTS = Path(__file__).parent / "results"


class Pictures:
    """Draws vectors as a model would give them for photos of many kinds."""

    def __init__(self, dim: int) -> None:
        chance = np.random.default_rng(0)
        self.spectrum = (np.arange(1, dim + 1) ** -0.4).astype(np.float32)
        self.common = unit_length(chance.standard_normal((1, dim)))[0]
        self.topics = self._drawn(chance, TOPICS)
        self.groups = self._drawn(chance, TOPICS * GROUPS)

    def _drawn(self, chance: np.random.Generator, count: int) -> Any:
        return unit_length(chance.standard_normal((count, len(self.spectrum)), dtype=np.float32) * self.spectrum)

    def draw(self, chance: np.random.Generator, count: int) -> Any:
        """Return (count, dim) unit vectors; a few topics and groups have most of them."""
        group = (chance.random(count) ** 2 * len(self.groups)).astype(np.int64)
        parts = 0.6 * self.topics[group // GROUPS] + 0.5 * self.groups[group] + 0.6 * self._drawn(chance, count)
        return unit_length(0.6 * self.common + parts)


def make(path: Path, rows: int, dim: int) -> None:
    """Write the vectors with names."""
    if path.exists():
        return
    pictures, chance = Pictures(dim), np.random.default_rng(1)
    plan = WritePlan(path, VectorsInfo("image", "none", "0" * 12), rows=rows, dim=dim, dtype="float16")
    with create_vectors("npy", plan) as writer:
        for start in range(0, rows, BLOCK):
            count = min(BLOCK, rows - start)
            names = [f"photos/{(start + n) // 1000:05}/{start + n:08}.jpg" for n in range(count)]
            writer.write(VectorRows(names, pictures.draw(chance, count)))


def build(path: Path, folder: Path) -> dict[str, float]:
    """Run `clipcli index`; return its seconds, and its peak memory in MB without and with mapped files."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "clipcli", "index", path, "-o", folder, "-q"])
    peaks = {"RssAnon": 0, "VmHWM": 0}
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text("ascii")
        except OSError:
            break
        for line in status.splitlines():
            name, _, value = line.partition(":")
            if name in peaks:
                peaks[name] = max(peaks[name], int(value.split()[0]) // 1024)
        threading.Event().wait(0.05)
    if process.wait():
        sys.exit("clipcli index failed")
    size = sum(file.stat().st_size for file in folder.iterdir())
    return {
        "seconds": time.perf_counter() - started, "peak_mb": peaks["RssAnon"],
        "peak_with_mapped_files_mb": peaks["VmHWM"], "disk_mb": size / 1e6, "load": os.getloadavg()[2],
    }  # fmt: skip


def queries(dim: int, count: int) -> dict[str, Any]:
    """Return so many new vectors of the same kind, and as many mixtures of them."""
    images = Pictures(dim).draw(np.random.default_rng(2), 2 * count)
    away = unit_length(images[:count] - np.roll(images[:count], 1, axis=0))
    return {"images": images[:count], "mixtures": unit_length(0.5 * images[count:] + 0.87 * away)}


def count_recall(path: Path, folder: Path, dim: int) -> dict[str, dict[str, float]]:
    """Return, for each kind of query, the share of the true ten best that the index finds, and its standard error."""
    file, index = open_vectors(path), Index(str(folder))
    figures = {}
    for name, vectors in queries(dim, COUNTED).items():
        exact = search(vectors, file.blocks(rows_a_block(dim, len(vectors)), check=False), SearchLimits(TOP))
        found = [index.search(vector, TOP, -2.0, lambda _: True) for vector in vectors]
        shares = [np.isin(true.rows, hits.rows).mean() for true, hits in zip(exact, found, strict=True)]
        error = float(np.std(shares) / len(shares) ** 0.5)
        figures[name] = {"recall_at_10": float(np.mean(shares)), "recall_error": error}
    return figures


def measure(path: Path, folder: Path, dim: int) -> dict[str, Any]:
    """Return times of the index and of the exact search, warm, and how much is searched."""
    file, index, asked = open_vectors(path), Index(str(folder)), queries(dim, TIMED)
    figures: dict[str, Any] = {
        "cells": index.info.cells,
        "probes": index.info.probes,
        "candidates": index.info.candidates,
        "recall_told": index.info.recall,
    }
    for name, vectors in asked.items():
        seconds, cores = [], []
        for _ in range(2):  # the first round brings pages into memory
            seconds, cores = [], []
            for vector in vectors:
                started, core = time.perf_counter(), time.process_time()
                index.search(vector, TOP, -2.0, lambda _: True)
                seconds.append(time.perf_counter() - started)
                cores.append(time.process_time() - core)
        figures[name] = {
            "median_ms": float(np.median(seconds) * 1000), "slowest_tenth_ms": float(np.quantile(seconds, 0.9) * 1000),
            "median_core_ms": float(np.median(cores) * 1000),
        }  # fmt: skip
    exact = []
    for _ in range(2):
        started = time.perf_counter()
        search(asked["images"][:1], file.blocks(rows_a_block(dim, 1), check=False), SearchLimits(TOP))
        exact.append(time.perf_counter() - started)
    return figures | {"exact_ms": min(exact) * 1000}


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the results in Markdown."""
    lines = ["# An index over millions of vectors", "", "`python benchmarks/bench_index.py`", ""]
    lines += ["| vectors | queries | recall@10 | ms a query | slowest tenth | core-ms | exact search, ms |"]
    lines += ["|---|---|--:|--:|--:|--:|--:|"]
    for name, row in results.items():
        for kind in ("images", "mixtures"):
            own = row[kind]
            times = f"{own['median_ms']:.1f} | {own['slowest_tenth_ms']:.1f} | {own['median_core_ms']:.1f}"
            recall = f"{own['recall_at_10']:.3f} ± {own['recall_error']:.3f}"
            lines.append(f"| {name} | {kind} | {recall} | {times} | {row['exact_ms']:.0f} |")
    lines += ["", "| vectors | cells | searched | built in | peak memory | with mapped files | on disk | conditions |"]
    lines += ["|---|--:|--:|--:|--:|--:|--:|---|"]
    for name, row in results.items():
        built = row["build"]
        when = f"{built['seconds']:.0f} s at load {built['load']:.1f}"
        lines.append(
            f"| {name} | {row['cells']} | {row['probes']} | {when} | {built['peak_mb']:.0f} MB"
            f" | {built['peak_with_mapped_files_mb']:.0f} MB | {built['disk_mb']:.0f} MB | {row['conditions']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make, build, measure, keep."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(tempfile.gettempdir()) / "clipcli-bench-index")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--make", action="store_true", help="end when the vectors are there")
    parser.add_argument("--build", action="store_true", help="end when the index is there")
    parser.add_argument("--recall", action="store_true", help="count the recall again and keep the times")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    name = f"{asked.rows}x{asked.dim}"
    path, folder = asked.folder / f"{name}.npy", asked.folder / f"{name}.index"
    built = asked.folder / f"{name}.build.json"
    make(path, asked.rows, asked.dim)
    if asked.make:
        return
    if not built.exists():
        built.write_text(json.dumps(build(path, folder)), "utf-8")
    if asked.build:
        return
    kept = RESULTS / "index.json"
    results = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    row = f"{asked.rows:,} × {asked.dim}"
    if not asked.recall:
        results[row] = measure(path, folder, asked.dim)
        results[row]["conditions"] = conditions(f", files warm, median of {TIMED} queries")
        results[row]["build"] = json.loads(built.read_text("utf-8"))
    for kind, figures in count_recall(path, folder, asked.dim).items():
        results[row][kind] |= figures
    kept.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    (RESULTS / "index.md").write_text(table(results), "utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
