"""What README and docs/dedupe.md say of `dedupe`: joins at scale, and recall and precision beside other ways.

    python benchmarks/bench_dedupe.py [PART …] [--imagededup PYTHON] [-o benchmarks/results/dedupe.json]

join: 100,000 × 512 against the pure blocked product. million: 1,000,000 × 512 with planted duplicates. same: a million
rows of one vector. imagededup: its search over 10,000. quality: edits of photos and `shared/data/duplicates`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from clipcli.core.console import Console
from clipcli.core.vectors import Vectors, unit_length
from clipcli.runs.dedupe.candidates import propose_by_vectors
from clipcli.tasks.dedupe.clusters import Search, group
from clipcli.tasks.dedupe.ivf import join_self_approximately
from clipcli.tasks.dedupe.join import _COLUMNS, _ROWS, join_self
from clipcli.tasks.dedupe.join_rows import VectorSource
from clipcli.vectorfiles import open_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from clipcli.tasks.dedupe.pairs import Pairs

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
MODEL = f"local-dir:{SHARED / 'models' / 'surrogate'}"
DIM = 512
Figures = dict[str, Any]
BRIDGE = {"bridge-mods", "dih", "modes"}
"""Folders that hold the same photo."""
TITLES = {
    "join": "Exact join against the pure blocked product, every pair at 0.9 or above",
    "million": "Approximate join with planted duplicates",
    "same": "Rows of one vector",
    "imagededup": "Search over 10,000, seconds by the clock",
    "quality": "Same picture or not: recall by kind of edit, and wrong pairs",
}
EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half": lambda i: i.resize((i.width // 2, i.height // 2)),
    "eighth": lambda i: i.resize((i.width // 8, i.height // 8)),
    "square": lambda i: i.resize((256, 256)),
    "bright": lambda i: ImageEnhance.Brightness(i).enhance(1.3),
    "contrast": lambda i: ImageEnhance.Contrast(i).enhance(1.4),
    "grey": lambda i: i.convert("L"),
    "blur": lambda i: i.filter(ImageFilter.GaussianBlur(max(i.size) / 200)),
    "crop6": lambda i: i.crop((i.width * 6 // 100, i.height * 3 // 100, i.width * 98 // 100, i.height)),
    "corner10": lambda i: i.crop((i.width // 10, i.height // 10, i.width, i.height)),
    "border": lambda i: ImageOps.expand(i, min(i.size) // 30, "white"),
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
        proposer = propose_by_vectors(vectors, 0.9, Console(quiet=True))
        search = Search(8, proposer.kind)
        found = group(np.arange(rows), rows, proposer.partners, lambda _row, others: np.ones(len(others), bool), search)
        return len(np.unique(found.leader))

    groups, clock, processor = measured(work)
    return {"rows": rows, "groups": groups, "seconds": round(clock, 2), "cpu_seconds": round(processor, 2)}


def make_edits(folder: Path, photos: int) -> None:
    """All photos; the first of each several with all edits."""
    every = sorted(SHARED.glob("data/photos/*/*/*"))
    edited = set(every[:: max(1, len(every) // photos)])
    for number, path in enumerate(every):
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        image.thumbnail((800, 800))
        image.save(folder / f"{number:03d}.jpg", quality=92)
        if path in edited:
            for name, edit in EDITS.items():
                edit(image).save(folder / f"{number:03d}-{name}.jpg", quality=85)


def score(pairs: Iterable[tuple[str, str]], names: list[str]) -> Figures:
    """Recall by edit of the pairs (original, edit), and precision over all pairs."""
    got = {tuple(sorted(pair)) for pair in pairs}
    right = sum(a[:3] == b[:3] for a, b in got)
    recall = {}
    for edit in EDITS:
        wanted = [tuple(sorted((name, f"{name[:3]}.jpg"))) for name in names if name.endswith(f"-{edit}.jpg")]
        recall[edit] = round(float(np.mean([pair in got for pair in wanted])), 3)
    return {"recall": recall, "precision": round(right / max(1, len(got)), 4), "wrong_pairs": len(got) - right}


def score_bridge(pairs: Iterable[tuple[str, str]], names: list[str]) -> Figures:
    """How many files of `shared/data/duplicates` of one picture are found with their original, and what else is."""
    sets = {name: name.split("/")[0] for name in names}
    got = {tuple(sorted(pair)) for pair in pairs}
    first = {
        key: min((n for n in names if sets[n] == key), key=lambda n: ("orig" not in n, n)) for key in set(sets.values())
    }
    wanted = [tuple(sorted((name, first[sets[name]]))) for name in names if name != first[sets[name]]]
    recall = {
        key: round(float(np.mean([pair in got for pair in wanted if sets[pair[0]] == key])), 3) for key in sorted(first)
    }
    picture = {name: "bridge" if sets[name] in BRIDGE else sets[name] for name in names}
    wrong = sum(picture[a] != picture[b] for a, b in got)
    return {"recall": recall, "wrong_pairs": wrong}


def clipcli(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "clipcli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def grouped(folder: Path, *more: str) -> list[tuple[str, str]]:
    groups: dict[int, list[str]] = {}
    for line in clipcli("dedupe", folder, "-m", MODEL, "-f", "jsonl", *more).splitlines():
        row = json.loads(line)
        groups.setdefault(row.get("group", -1), []).append(Path(row["image"]).relative_to(folder).as_posix())
    groups.pop(-1, None)
    return [pair for names in groups.values() for pair in combinations(names, 2)]


def by_cosine(file: Path, folder: Path, threshold: float) -> list[tuple[str, str]]:
    found = open_vectors(file)
    vectors = found.matrix()
    names = [Path(name).relative_to(folder).as_posix() for name in found.names]
    hits = np.argwhere(np.triu(vectors @ vectors.T >= threshold, 1))
    return [(names[a], names[b]) for a, b in hits.tolist()]


IMAGEDEDUP = """
import json, sys
from imagededup.methods import AHash, DHash, PHash, WHash
method = {"PHash": PHash, "DHash": DHash, "AHash": AHash, "WHash": WHash}[sys.argv[2]](verbose=False)
found = method.find_duplicates(image_dir=sys.argv[1], max_distance_threshold=10)
print(json.dumps([[a, b] for a, some in found.items() for b in some]))
"""
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


def each_way(folder: Path, python: str | None, *more: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Pairs by every way: levels of clipcli, a plain cosine, imagededup's hashes."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    yield "clipcli exact", grouped(folder, "--level", "exact", *more)
    yield "clipcli near", grouped(folder, "--level", "near", *more)
    yield "clipcli similar", grouped(folder, *more)
    vectors = folder.parent / "vectors.npz"
    clipcli("embed", folder, "-m", MODEL, "-o", vectors, "-q")
    for threshold in (0.8, 0.85, 0.9, 0.95):
        yield f"cosine alone, {threshold}", by_cosine(vectors, folder, threshold)
    for method in ("PHash", "DHash", "AHash", "WHash") if python else ():
        with tempfile.TemporaryDirectory() as flat:
            for number, name in enumerate(names):
                (Path(flat) / f"{number:05d}{Path(name).suffix}").symlink_to(folder / name)
            command = [str(python), "-c", IMAGEDEDUP, flat, method]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        yield f"imagededup {method}", [(names[int(a[:5])], names[int(b[:5])]) for a, b in found]


def bench_quality(python: str | None, photos: int) -> Figures:
    """Recall and precision by level, beside other ways, on edits of photos and on `shared/data/duplicates`."""
    figures: Figures = {"photos": {}, "duplicates": {}}
    with tempfile.TemporaryDirectory() as base:
        os.environ["CLIPCLI_CACHE_DIR"] = str(Path(base) / "cache")
        os.environ["CLIPCLI_AUTO_EXPORT"] = "0"
        folder = Path(base).resolve() / "edited"
        folder.mkdir()
        make_edits(folder, photos)
        names = sorted(path.name for path in folder.iterdir())
        figures["files"], figures["edited"] = len(names), photos
        for way, pairs in each_way(folder, python):
            figures["photos"][way] = score(pairs, names)
        folder = Path(base).resolve() / "duplicates"
        for path in sorted((SHARED / "data" / "duplicates").glob("*/*.*")):
            if path.suffix == ".md":
                continue
            (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / path.parent.name)
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
        for way, pairs in each_way(folder, python, "--rotations"):
            figures["duplicates"][way] = score_bridge(pairs, names)
    return figures


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
    for name, title in TITLES.items():
        if name not in figures:
            continue
        lines += [f"## {title}", ""]
        if name == "quality":
            for part in ("photos", "duplicates"):
                lines += [*table(figures[name][part]), ""]
        else:
            lines += ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in figures[name].items()), ""]
    return "\n".join(lines)


def table(ways: Figures) -> list[str]:
    """A row a way, a column a kind of file."""
    kinds = list(next(iter(ways.values()))["recall"])
    rest = [key for key in next(iter(ways.values())) if key != "recall"]
    head = f"| way | {' | '.join(kinds)} | {' | '.join(key.replace('_', ' ') for key in rest)} |"
    rows = []
    for way, one in ways.items():
        recall = " | ".join(f"{one['recall'][kind]:.2f}" for kind in kinds)
        rows.append(f"| {way} | {recall} | {' | '.join(str(one[key]) for key in rest)} |")
    return [head, "|---" * (len(kinds) + len(rest) + 1) + "|", *rows]


def alone(part: str, asked: argparse.Namespace) -> Figures:
    """One part in a process of its own, so that its peak of memory is its own."""
    command = [sys.executable, __file__, part, "--json", "--photos", str(asked.photos)]
    command += ["--rows", str(asked.rows)] if asked.rows else []
    command += ["--imagededup", asked.imagededup] if asked.imagededup else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    print(f"{part}: {figures}", file=sys.stderr, flush=True)
    return figures


def run_part(part: str, asked: argparse.Namespace) -> Figures:
    match part:
        case "join":
            return bench_join(asked.rows or 100_000)
        case "million":
            return bench_million(asked.rows or 1_000_000)
        case "same":
            return bench_same(asked.rows or 1_000_000)
        case "imagededup":
            return bench_imagededup(asked.imagededup)
        case _:
            return bench_quality(asked.imagededup, asked.photos)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*TITLES, []], help="all of them by default")
    parser.add_argument("--rows", type=int, help="a smaller size, for trying it out")
    parser.add_argument("--photos", type=int, default=40)
    parser.add_argument("--imagededup", metavar="PYTHON", help="the python of an environment that has imagededup")
    parser.add_argument("--json", action="store_true", help="one part, printed")
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures; a page is written next to it")
    asked = parser.parse_args()
    if asked.json:
        print(json.dumps(run_part(asked.parts[0], asked)))
        return
    able = [p for p in TITLES if (p != "quality" or SHARED.is_dir()) and (p != "imagededup" or asked.imagededup)]
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
