"""What README and docs/dedupe.md say of `dedupe`: joins at scale, and recall and precision beside other ways.

    python benchmarks/bench_dedupe.py join          100,000 × 512, against the pure blocked product
    python benchmarks/bench_dedupe.py million       1,000,000 × 512 with planted duplicates
    python benchmarks/bench_dedupe.py quality [--imagededup PYTHON]     needs ../shared

Seconds are given by the clock and by the processor: the second is what a quiet machine needs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from clipcli.tasks.dedupe.approximate import join_self_approximately
from clipcli.tasks.dedupe.join import _COLUMNS, _ROWS, join_self
from clipcli.tasks.dedupe.sources import VectorSource
from clipcli.vectors import Vectors, unit_length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from clipcli.tasks.dedupe.pairs import Pairs

SHARED = Path(__file__).parent.parent.parent / "shared"
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


def bench_join(rows: int) -> None:
    vectors, one, two = planted(rows, 512, rows // 100, 0.3)
    out = np.empty((_ROWS, _COLUMNS), np.float32)

    def product() -> None:
        for row in range(0, rows, _ROWS):
            for column in range(row, rows, _COLUMNS):
                left, right = vectors[row : row + _ROWS], vectors[column : column + _COLUMNS]
                np.matmul(left, right.T, out=out[: len(left), : len(right)])

    before = peak()
    _, clock, processor = measured(product)
    pairs, join_clock, join_processor = measured(lambda: join_self(VectorSource(vectors), 0.9))
    print(f"\n## Exact join, {rows:,} × 512, every pair at 0.9 or above\n")
    print("| | clock | processor |\n|---|---|---|")
    print(f"| pure blocked product | {clock:.1f} s | {processor:.1f} s |")
    print(f"| join | {join_clock:.1f} s | {join_processor:.1f} s |")
    shares = f"{clock / join_clock:.2f} by the clock, {processor / join_processor:.2f} by the processor"
    print(f"\nThe product's share of the join: {shares}. Planted pairs found: {found_share(pairs, one, two):.2%}.")
    print(f"Memory: {vectors.nbytes / 1e9:.2f} GB of vectors, {peak() - before:.2f} GB more at the peak.")


def bench_million(rows: int) -> None:
    vectors, one, two = planted(rows, 512, rows // 100, 0.3)
    (pairs, recall), clock, processor = measured(lambda: join_self_approximately(VectorSource(vectors), 0.9))
    print(f"\n## Approximate join, {rows:,} × 512, {rows // 100:,} planted duplicates\n")
    print(f"{clock:.0f} s by the clock, {processor:.0f} s of the processor.")
    print(f"Planted pairs found: {found_share(pairs, one, two):.2%}. Recall as the run itself measured it:")
    print(f"{recall.share:.2%} of {recall.true_pairs:,} pairs of {recall.rows:,} rows, {recall.probes} parts a row.")
    print(f"Peak memory {peak():.2f} GB for {vectors.nbytes / 1e9:.2f} GB of vectors.")


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


def score(pairs: Iterable[tuple[str, str]], names: list[str]) -> str:
    """Recall by edit of the pairs (original, edit), and precision over all pairs."""
    got = {tuple(sorted(pair)) for pair in pairs}
    right = sum(a[:3] == b[:3] for a, b in got)
    columns = []
    for edit in EDITS:
        wanted = [tuple(sorted((name, f"{name[:3]}.jpg"))) for name in names if name.endswith(f"-{edit}.jpg")]
        columns.append(f"{np.mean([pair in got for pair in wanted]):.2f}")
    return f"{' | '.join(columns)} | {right / max(1, len(got)):.3f} | {len(got) - right}"


def clipcli(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "clipcli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def grouped(folder: Path, *more: str) -> list[tuple[str, str]]:
    model = f"local-dir:{SHARED / 'models' / 'surrogate'}"
    groups: dict[int, list[str]] = {}
    for line in clipcli("dedupe", folder, "-m", model, "-f", "jsonl", *more).splitlines():
        row = json.loads(line)
        groups.setdefault(row["group"], []).append(Path(row["image"]).name)
    return [pair for names in groups.values() for pair in combinations(names, 2)]


def by_cosine(folder: Path, threshold: float, names: list[str]) -> list[tuple[str, str]]:
    vectors = np.load(folder.parent / "vectors.npy")
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
t = time.process_time(); s = get_cosine_similarity(x, verbose=False); [np.where(row >= 0.9)[0] for row in s]
print("cosine", time.process_time() - t)
hashes = {str(n): "%016x" % rng.integers(0, 2**63) for n in range(10000)}
t = time.process_time()
search = HashEval(hashes, hashes, PHash.hamming_distance, False, 10, "brute_force_cython")
search.retrieve_results()
print("hashes", time.process_time() - t)
"""


def bench_quality(python: str | None, photos: int) -> None:
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base) / "edited"
        folder.mkdir()
        os.environ["CLIPCLI_CACHE_DIR"] = str(Path(base) / "cache")
        make_edits(folder, photos)
        names = sorted(path.name for path in folder.iterdir())
        print(
            f"\n## Recall by edit, and precision, over {len(names)} files (191 photos, {photos} or more of them edited)\n"  # noqa: E501 - a row of a table
        )
        print("| way | " + " | ".join(EDITS) + " | precision | wrong pairs |\n" + "|---" * (len(EDITS) + 3) + "|")
        print("| clipcli, near | " + score(grouped(folder, "--level", "near"), names) + " |", flush=True)
        clipcli("embed", folder, "-m", f"local-dir:{SHARED / 'models' / 'surrogate'}", "-o", Path(base) / "vectors.npy")
        print("| clipcli, similar | " + score(grouped(folder), names) + " |", flush=True)
        for threshold in (0.8, 0.85, 0.9, 0.95):
            print(
                f"| cosine alone, {threshold} | " + score(by_cosine(folder, threshold, names), names) + " |", flush=True
            )
        for method in ("PHash", "DHash", "AHash", "WHash") if python else ():
            done = subprocess.run(
                [str(python), "-c", IMAGEDEDUP, folder, method], capture_output=True, text=True, check=True
            )
            print(
                f"| imagededup {method} | " + score(map(tuple, json.loads(done.stdout.splitlines()[-1])), names) + " |",
                flush=True,
            )
    if python:
        done = subprocess.run([python, "-c", IMAGEDEDUP_SEARCH], capture_output=True, text=True, check=True)
        vectors = unit_length(np.random.default_rng(0).standard_normal((10_000, 512)))
        _, _, processor = measured(lambda: join_self(VectorSource(vectors), 0.9))
        print(
            "\n10,000 vectors searched, processor seconds: "
            f"clipcli {processor:.2f}; imagededup " + ", ".join(done.stdout.splitlines())
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["join", "million", "quality"])
    parser.add_argument("--rows", type=int)
    parser.add_argument("--photos", type=int, default=40)
    parser.add_argument("--imagededup", metavar="PYTHON", help="the python of an environment that has imagededup")
    asked = parser.parse_args()
    match asked.what:
        case "join":
            bench_join(asked.rows or 100_000)
        case "million":
            bench_million(asked.rows or 1_000_000)
        case "quality":
            bench_quality(asked.imagededup, asked.photos)


if __name__ == "__main__":
    main()
