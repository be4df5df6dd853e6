"""What docs/dedupe.md says of the joins of `dedupe` at scale; `bench_copies.py` has its errors.

    python benchmarks/bench_dedupe.py [PART …] [--imagededup PYTHON] [-o benchmarks/results/dedupe.json]

folder: `clipcli dedupe` over 20,000 small pictures of `../shared`, 1,500 of them edits of others. turned: 3,400
thumbnails, 425 in each of the eight ways to lay them down. join: 100,000 × 512 against the pure blocked product.
million: 1,000,000 × 512 with planted duplicates. same: a million rows of one vector. imagededup: its search over
10,000.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from dedupe_pictures import CHANGES, EDITS, EITHER
from PIL import Image, ImageOps

from clipcli.core.console import Console
from clipcli.core.vectors import Vectors, unit_length
from clipcli.runs.dedupe.candidates import index_by_vectors
from clipcli.tasks.dedupe.clusters import Search, group
from clipcli.tasks.dedupe.ivf import join_self_approximately
from clipcli.tasks.dedupe.join import _COLUMNS, _ROWS, join_self
from clipcli.tasks.dedupe.likeness import TURNS, turn
from clipcli.tasks.dedupe.pairs import VectorSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from clipcli.tasks.dedupe.pairs import Pairs

DIM = 512
LARGEST = 30_000
Figures = dict[str, Any]
SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
TITLES = {
    "folder": "A folder of small pictures, `clipcli dedupe FOLDER --level edited` twice",
    "turned": "A folder of turned and mirrored thumbnails, `clipcli dedupe FOLDER --level near --rotations` twice",
    "join": "Exact join against the pure blocked product, every pair at 0.9 or above",
    "million": "Approximate join with planted duplicates",
    "same": "Rows of one vector",
    "imagededup": "Search over 10,000, seconds by the clock",
}


def measured(work: Callable[[], object]) -> tuple[object, float, float]:
    """The result, seconds by the clock, seconds of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - clock, time.process_time() - processor


def planted(rows: int, dim: int, copies: int, noise: float) -> tuple[Vectors, np.ndarray, np.ndarray]:
    """Vectors in a cone around 2,000 centres, as CLIP's are; `copies` of them repeat another with noise."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((2000, dim), dtype=np.float32) * 0.7 + 0.7
    vectors = np.empty((rows, dim), np.float32)
    for start in range(0, rows, 20_000):
        stop = min(start + 20_000, rows)
        block = centres[generator.integers(0, 2000, stop - start)]
        vectors[start:stop] = unit_length(block + generator.standard_normal((stop - start, dim), dtype=np.float32))
    chosen = generator.permutation(rows)[: 2 * copies]
    one, two = chosen[:copies], chosen[copies:]
    noisy = vectors[one] + noise * generator.standard_normal((copies, dim), dtype=np.float32) / dim**0.5
    vectors[two] = unit_length(noisy)
    return vectors, one, two


def found_share(pairs: Pairs, one: np.ndarray, two: np.ndarray) -> float:
    """Share of planted pairs among those found."""
    got = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    return float(np.mean([(min(a, b), max(a, b)) in got for a, b in zip(one.tolist(), two.tolist(), strict=True)]))


def peak() -> float:
    """Peak memory so far in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def bench_join(rows: int) -> Figures:
    """The join against nothing but its products."""
    vectors, one, two = planted(rows, DIM, rows // 100, 0.3)
    out = np.empty((_ROWS, _COLUMNS), np.float32)

    def product() -> None:
        for row in range(0, rows, _ROWS):
            for column in range(row, rows, _COLUMNS):
                left, right = vectors[row : row + _ROWS], vectors[column : column + _COLUMNS]
                if len(left) == _ROWS and len(right) == _COLUMNS:
                    np.matmul(left, right.T, out=out)
                else:
                    _ = left @ right.T

    before = peak()
    _, clock, processor = measured(product)
    pairs, join_clock, join_processor = measured(lambda: join_self(VectorSource(vectors), 0.9))
    return {
        "rows": rows,
        "dim": DIM,
        "product_s": round(clock, 2),
        "product_cpu_s": round(processor, 2),
        "join_s": round(join_clock, 2),
        "join_cpu_s": round(join_processor, 2),
        "product_share_of_join": round(clock / join_clock, 3),
        "product_share_of_join_cpu": round(processor / join_processor, 3),
        "planted_found": found_share(pairs, one, two),
        "vectors_gb": round(vectors.nbytes / 1e9, 3),
        "grown_gb": round(peak() - before, 3),
    }


def bench_million(rows: int) -> Figures:
    """Planted duplicates among many: what is found, what it takes."""
    vectors, one, two = planted(rows, DIM, rows // 100, 0.3)
    (pairs, recall), clock, processor = measured(lambda: join_self_approximately(VectorSource(vectors), 0.9))
    return {
        "rows": rows,
        "dim": DIM,
        "planted": rows // 100,
        "planted_found": found_share(pairs, one, two),
        "seconds": round(clock, 1),
        "cpu_seconds": round(processor, 1),
        "own_recall": recall.share,
        "own_recall_words": str(recall),
        "cells_opened": recall.probes,
        "cells": recall.cells,
        "vectors_gb": round(vectors.nbytes / 1e9, 3),
        "peak_gb": round(peak(), 3),
        "peak_of_vectors": round(peak() * 1e9 / vectors.nbytes, 2),
    }


def bench_same(rows: int) -> Figures:
    """Many rows of the same vector, from vectors to groups: no quadratic blow-up."""
    vectors = np.repeat(unit_length(np.random.default_rng(0).standard_normal((1, DIM))), rows, axis=0)

    def work() -> int:
        proposer = index_by_vectors(vectors, 0.9, Console(quiet=True))
        search = Search(8, proposer.kind)
        found = group(np.arange(rows), rows, proposer.partners, lambda _row, others: np.ones(len(others), bool), search)
        return len(np.unique(found.leader))

    groups, clock, processor = measured(work)
    return {"rows": rows, "groups": groups, "seconds": round(clock, 2), "cpu_seconds": round(processor, 2)}


def small_pictures(folder: Path, count: int) -> None:
    """Different pictures as they stand in the archives of `../shared`, and five edits of each of some."""
    members = [
        (path, entry.filename, entry.file_size)
        for path in sorted(SHARED.glob("data/training/*.zip"))
        if not path.stem.startswith(("cifar", "food101_64"))
        for entry in zipfile.ZipFile(path).infolist()
        if entry.filename.lower().endswith((".jpg", ".jpeg", ".png")) and entry.file_size < LARGEST
    ]
    members = sorted(members, key=lambda member: -member[2])[: round(0.975 * count)]
    members.sort(key=lambda member: hashlib.sha256(f"{member[0].name}{member[1]}".encode()).hexdigest())
    archives = {path: zipfile.ZipFile(path) for path in {path for path, _, _ in members}}
    edits, seen = list({**EDITS, **CHANGES, **EITHER}.items()), set[bytes]()
    for path, name, _ in members:
        if len(seen) >= count - count * 3 // 40:
            break
        data = archives[path].read(name)
        if data in seen:
            continue
        number, suffix = len(seen), Path(name).suffix.lower()
        seen.add(data)
        (folder / f"{number:05d}{suffix}").write_bytes(data)
        if number < count * 3 // 200:
            picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
            for place in range(5):
                edit, change = edits[(5 * number + place) % len(edits)]
                change(picture).save(folder / f"{number:05d}-{edit}.jpg", quality=90)


def bench_folder(count: int) -> Figures:
    """Small pictures, some of them edits of others."""
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base) / "files"
        folder.mkdir()
        small_pictures(folder, count)
        return two_runs(folder, "--level", "edited")


def bench_turned(count: int) -> Figures:
    """Thumbnails in each of the eight ways to lay them down."""
    with tempfile.TemporaryDirectory() as base:
        upright, folder = Path(base) / "upright", Path(base) / "files"
        upright.mkdir()
        folder.mkdir()
        small_pictures(upright, count // TURNS * 11 // 10)  # of which a few are edits
        originals = [path for path in sorted(upright.iterdir()) if "-" not in path.name][: count // TURNS]
        for path in originals:
            values = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
            for way in range(TURNS):
                Image.fromarray(turn(values, way)).save(folder / f"{path.stem}-{way}.jpg", quality=90)
        return {"pictures": len(originals), **two_runs(folder, "--level", "near", "--rotations")}


def two_runs(folder: Path, *options: str) -> Figures:
    """A first run and a second one, seconds by the clock and of the processor, workers included."""
    sizes = [file.stat().st_size for file in folder.iterdir()]
    figures: Figures = {"files": len(sizes), "megabytes": round(sum(sizes) / 1e6)}
    environment = {**os.environ, "CLIPCLI_CACHE_DIR": str(folder.parent / "cache")}
    command = [sys.executable, "-m", "clipcli", "dedupe", str(folder), *options, "-f", "jsonl", "-q"]
    rows = []
    for run in ("first", "second"):
        before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        rows.append(subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True).stdout)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        figures[f"{run}_s"] = round(time.perf_counter() - clock, 1)
        figures[f"{run}_cpu_s"] = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1)
    same = rows[0] == rows[1]
    return {**figures, "rows": rows[0].count(b"\n"), "same_rows": same, "largest_process_mb": after.ru_maxrss // 1000}


IMAGEDEDUP_SEARCH = """
import time
import numpy as np
from imagededup.handlers.search.retrieval import HashEval, get_cosine_similarity
from imagededup.methods import PHash
rng = np.random.default_rng(0)
x = rng.standard_normal((10000, 512)).astype("float32")
t = time.perf_counter(); s = get_cosine_similarity(x, verbose=False); [np.where(row >= 0.9)[0] for row in s]
print("cosine", time.perf_counter() - t)
hashes = {str(n): "%016x" % rng.integers(0, 2**63) for n in range(10000)}
t = time.perf_counter()
search = HashEval(hashes, hashes, PHash.hamming_distance, False, 10, "brute_force_cython")
search.retrieve_results()
print("hashes", time.perf_counter() - t)
"""


def bench_imagededup(python: str) -> Figures:
    """Its search over 10,000, and the same task here."""
    done = subprocess.run([python, "-c", IMAGEDEDUP_SEARCH], capture_output=True, text=True, check=True)
    theirs = dict(line.split() for line in done.stdout.splitlines()[-2:])
    vectors = unit_length(np.random.default_rng(0).standard_normal((10_000, DIM)))
    _, clock, _ = measured(lambda: join_self(VectorSource(vectors), 0.9))
    return {
        "rows": 10_000,
        "vectors_s": round(clock, 3),
        "imagededup_vectors_s": round(float(theirs["cosine"]), 3),
        "imagededup_hashes_of_64_bits_s": round(float(theirs["hashes"]), 3),
    }


def pages(figures: Figures) -> str:
    """The figures as a page."""
    lines = ["# dedupe", "", f"{figures['conditions']}. Written by `benchmarks/bench_dedupe.py`.", ""]
    lines += ["Which copies are found, and what is taken for one: [copies.md](copies.md).", ""]
    for name, title in TITLES.items():
        if name not in figures:
            continue
        lines += [f"## {title}", ""]
        lines += ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in figures[name].items()), ""]
    return "\n".join(lines)


def alone(part: str, asked: argparse.Namespace) -> Figures:
    """One part in a process of its own, so that its peak of memory is its own."""
    command = [sys.executable, __file__, part, "--json"]
    command += ["--rows", str(asked.rows)] if asked.rows else []
    command += ["--imagededup", asked.imagededup] if asked.imagededup else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    print(f"{part}: {figures}", file=sys.stderr, flush=True)
    return figures


def run_part(part: str, asked: argparse.Namespace) -> Figures:
    match part:
        case "folder":
            return bench_folder(asked.rows or 20_000)
        case "turned":
            return bench_turned(asked.rows or 3400)
        case "join":
            return bench_join(asked.rows or 100_000)
        case "million":
            return bench_million(asked.rows or 1_000_000)
        case "same":
            return bench_same(asked.rows or 1_000_000)
        case _:
            return bench_imagededup(asked.imagededup)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*TITLES, []], help="all of them by default")
    parser.add_argument("--rows", type=int, help="a smaller size, for trying it out")
    parser.add_argument("--imagededup", metavar="PYTHON", help="the python of an environment that has imagededup")
    parser.add_argument("--json", action="store_true", help="one part, printed")
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures; a page is written next to it")
    asked = parser.parse_args()
    if asked.json:
        print(json.dumps(run_part(asked.parts[0], asked)))
        return
    able = [p for p in TITLES if p != "imagededup" or asked.imagededup]
    known = json.loads(asked.output.read_text("utf-8")) if asked.output and asked.output.exists() else {}
    known["conditions"] = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}"
    )
    for part in asked.parts or able:
        known[part] = alone(part, asked)
        if asked.output:
            asked.output.write_text(json.dumps(known, indent=2) + "\n", "utf-8")
            asked.output.with_suffix(".md").write_text(pages(known), "utf-8")
    print(pages(known))


if __name__ == "__main__":
    main()
