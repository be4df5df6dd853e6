"""Search at a million vectors: from process start, alone against a flat scan, many queries against BLAS, and memory.

    python benchmarks/bench_rank.py [FOLDER] [--rows 1000000] [--model MODEL] [--rclip PYTHON]

FOLDER gets the vectors (2 GB at a million rows, as much again for rclip) and is used again. MODEL is one of 512
numbers, whose name the vectors get. PYTHON is the interpreter of an environment with rclip: its own database and
scoring code is then timed over the same vectors, in a process of its own. Writes benchmarks/results/rank.json, in which
other figures stay, and rank.md. About four minutes the first time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from clipcli.core.vectors import unit_length
from clipcli.runs.rank.corpus import Corpus, FilePart
from clipcli.tasks.search.flat import SearchLimits, rows_a_block, search
from clipcli.vectorfiles import VectorRows, VectorsInfo, WritePlan, create_vectors, open_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DIM, TOP, REPEATS = 512, 10, 5
MANY = 200_000
"""Rows that many queries are timed over."""
ROOT = Path(__file__).parent.parent
SURROGATE = ROOT.parent / "shared" / "models" / "surrogate"


def make(path: Path, rows: int) -> None:
    """Random unit vectors with names, as `clipcli embed -m tiny` would describe them."""
    if path.exists():
        return
    rng = np.random.default_rng(0)
    info = VectorsInfo("image", "none", "0" * 12)
    with create_vectors("npy", WritePlan(path, info, rows=rows, dim=DIM)) as writer:
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
        return search(query, corpus.blocks(rows_a_block(DIM, 1)), SearchLimits(TOP), corpus.names)

    def fresh() -> object:
        scores = np.load(path, mmap_mode="r") @ query[0]
        return np.argpartition(scores, -TOP)[-TOP:]

    rounds = [(best(flat, 1), best(fresh, 1), best(ours, 1)) for _ in range(REPEATS)]  # in turns, for the same weather
    warm, mapped_anew, own = map(min, zip(*rounds, strict=True))
    return {
        "flat_scan_pages_mapped_s": warm, "flat_scan_mapped_anew_s": mapped_anew, "search_s": own,
        "times_flat_mapped_anew": own / mapped_anew, "times_flat_pages_mapped": own / warm,
    }  # fmt: skip


def many_queries(path: Path, count: int) -> dict[str, float]:
    """Many queries against one BLAS product over the same rows: as many as fit into memory with their products.

    Once the product alone, and once with the choice of the best by numpy.
    """
    queries = unit_length(np.random.default_rng(2).standard_normal((count, DIM)))
    matrix = np.load(path, mmap_mode="r")[:MANY]
    step = rows_a_block(DIM, count)

    def ours() -> object:
        blocks = ((start, matrix[start : start + step]) for start in range(0, len(matrix), step))
        return search(queries, blocks, SearchLimits(TOP))

    def numpy_best() -> object:
        return np.argpartition(queries @ matrix.T, -TOP, axis=1)[:, -TOP:]

    actions = (lambda: queries @ matrix.T, ours, numpy_best)
    rounds = [[best(action, 1) for action in actions] for _ in range(REPEATS)]  # in turns, for the same weather
    product, own, selected = map(min, zip(*rounds, strict=True))
    return {
        "rows": len(matrix), "blas_product_s": product, "search_s": own, "numpy_product_and_argpartition_s": selected,
        "share_of_blas_speed": median(product / own for product, own, _ in rounds),
        "times_as_fast_as_product_and_argpartition": median(selected / own for _, own, selected in rounds),
    }  # fmt: skip


def peak(path: Path, queries: int) -> dict[str, float]:
    """Peak memory of a search in a process of its own, above what it had before, against a block with its products."""
    script = f"""
import numpy as np
from clipcli.runs.rank.corpus import Corpus, FilePart
from clipcli.tasks.search.flat import SearchLimits, rows_a_block, search
from clipcli.vectorfiles import open_vectors
from clipcli.core.vectors import unit_length
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
search(queries, corpus.blocks(rows), SearchLimits({TOP}), corpus.names)
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
    parser.add_argument("folder", type=Path, nargs="?", default=Path(tempfile.gettempdir()) / "clipcli-bench-rank")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--many", action="store_true", help="measure many queries only")
    parser.add_argument(
        "--model", default=f"local-dir:{SURROGATE}" if SURROGATE.is_dir() else None, help="of 512 numbers"
    )
    parser.add_argument("--rclip", help="the Python of an environment with rclip")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results" / "rank.json")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    path = asked.folder / f"vectors-{asked.rows}.npy"
    make(path, asked.rows)
    figures: dict[str, Any] = {"conditions": conditions(), "rows": asked.rows, "dim": DIM}
    figures[f"{asked.queries} queries"] = many_queries(path, asked.queries)
    if not asked.many:
        figures["one query"] = one_query(path)
        figures["memory, one query"] = peak(path, 1)
        figures[f"memory, {asked.queries} queries"] = peak(path, asked.queries)
    if asked.model and not asked.many:
        described = of_model(path, asked.folder / f"own-{asked.rows}.npy", asked.model)
        figures["from process start"] = from_process_start(described, asked.model)
    if asked.rclip and not asked.many:
        script = Path(__file__).with_name("rclip_search.py")
        done = subprocess.run([asked.rclip, script, path, asked.folder], capture_output=True, text=True, check=True)
        figures["rclip"] = json.loads(done.stdout)
        figures["times rclip's search"] = figures["rclip"]["search_s"] / figures["one query"]["search_s"]
    before = json.loads(asked.output.read_text("utf-8")) if asked.output.exists() else {}
    figures = rounded(before | figures)
    asked.output.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    asked.output.with_suffix(".md").write_text(table(figures, asked.queries), "utf-8")
    print(table(figures, asked.queries))


def conditions(how: str = f", files warm, {REPEATS} rounds") -> str:
    """What the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    chip = next((line.split(": ")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores ({chip}), numpy {np.__version__}, load {load:.1f}{how}"


def table(figures: Mapping[str, Any], queries: int) -> str:
    """What was measured against what it should be."""
    one, many = figures.get("one query", {}), figures[f"{queries} queries"]
    anew, mapped, blas = "times_flat_mapped_anew", "times_flat_pages_mapped", "share_of_blas_speed"
    lines = [
        ("a text query from process start, text cached", "from process start", "seconds", "at most 0.8 s", "{:.2f} s"),
        ("its search against a flat numpy scan of a file mapped anew", one, anew, "at most 1.5", "{:.2f}"),
        ("… of pages that are mapped already", one, mapped, "", "{:.2f}"),
        (
            f"{queries} queries over {many['rows']:,} rows, selection included: share of a BLAS product's speed",
            many,
            blas,
            "at least 0.5",
            "{:.2f}",
        ),
        (
            "… times as fast as numpy's product with argpartition",
            many,
            "times_as_fast_as_product_and_argpartition",
            "",
            "{:.2f}",
        ),
        ("peak memory of one query, of a block", "memory, one query", "times_block", "at most 1.3", "{:.2f}"),
        (f"… of {queries} queries", f"memory, {queries} queries", "times_block", "at most 1.3", "{:.2f}"),
        ("times as fast as rclip's search stage", figures, "times rclip's search", "at least 100", "{:.0f}"),
    ]
    rows = ["# Search among many vectors", "", f"`python benchmarks/bench_rank.py`: {figures['conditions']};"]
    rows += [
        f"{figures['rows']:,} × {figures['dim']} float32 on disk.",
        "",
        "| what | measured | goal |",
        "|---|---|---|",
    ]
    for what, place, key, goal, form in lines:
        found = figures.get(place, {}) if isinstance(place, str) else place
        if key in found:
            rows.append(f"| {what} | {form.format(found[key])} | {goal} |")
    if one:
        search, flat = one["search_s"], one["flat_scan_mapped_anew_s"]
        rows += ["", f"The search takes {search:.3f} s, the flat scan {flat:.3f} s."]
    if "rclip" in figures:
        rows.append(f"rclip {figures['rclip']['version']} takes {figures['rclip']['search_s']:.1f} s.")
    return "\n".join(rows) + "\n"


def rounded(value: Any) -> Any:
    """Four significant digits, where a figure has more."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def of_model(path: Path, target: Path, model: str) -> Path:
    """The same vectors, described as made by a model, so that `rank` takes them."""
    one = target.with_name("one.npy")
    run = [sys.executable, "-m", "clipcli", "embed", "-t", "x", "-m", model, "-o", str(one), "-q"]
    subprocess.run(run, check=True, cwd=ROOT)
    own = json.loads(one.with_name("one.npy.json").read_text("utf-8"))
    text = path.with_name(path.name + ".json").read_text("utf-8")
    head, names = text.split(', "names": ', 1)
    record = json.loads(head + "}") | {"fingerprint": own["fingerprint"], "model": own["model"]}
    target.unlink(missing_ok=True)
    os.link(path, target)
    described = json.dumps(record).removesuffix("}") + ', "names": ' + names
    target.with_name(target.name + ".json").write_text(described, "utf-8")
    return target


if __name__ == "__main__":
    main()
