"""What Ray adds to one process on the same cores: the start, and then each image.

    python benchmarks/bench_ray.py [--photos 2000] [--rounds 3] [--concurrency 2] [--model tiny]

Photos are drawn, small (320 × 240), and embedded with the cache off into a file: by one process, and with --on ray on a
cluster started for the run, which is what a user of one machine pays. Both take turns with a quarter of the photos
and with all of them: the slope between the two is what an image costs, the rest is the start (the cluster, its
processes, the model). Processor time is counted too, of the run and of everything that it started, since a
busy machine slows both alike. Prints a table and writes results/ray.json and results/ray.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

RESULTS = Path(__file__).parent / "results"
WAYS = ("one process", "Ray")


@dataclass(frozen=True)
class Cost:
    """Of a run, start to end."""

    seconds: float
    core_seconds: float
    """Of processor time; Ray's own processes end before the run does, but not all are its children: a lower bound."""


def draw(folder: Path, count: int) -> None:
    """Photos that differ in every pixel."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        small = Image.fromarray(generator.integers(0, 255, (24, 32, 3), dtype=np.uint8))
        small.resize((320, 240), Image.Resampling.BICUBIC).save(folder / f"{number:05}.jpg", quality=88)


def run(way: str, photos: Path, count: int, arguments: argparse.Namespace) -> Cost:
    """Embed the first photos in a process of its own."""
    names = photos.parent / "names.txt"
    names.write_text("".join(f"{path}\n" for path in sorted(photos.iterdir())[:count]), encoding="utf-8")
    out = photos.parent / "out.npy"
    command = [sys.executable, "-m", "clipcli", "embed", "--files-from", str(names), "-o", str(out)]
    command += ["--no-cache", "--quiet", "--model", arguments.model]
    if way == "Ray":
        command += ["--on", "ray", "--concurrency", str(arguments.concurrency)]
    environment = {**os.environ, "CLIPCLI_CACHE_DIR": str(photos.parent / "cache"), "HF_HUB_OFFLINE": "1"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if len(np.load(out)) != count:
        sys.exit(f"{way}: not all photos were embedded")
    return Cost(seconds, used)


def measure(photos: Path, arguments: argparse.Namespace) -> dict[str, dict[int, list[Cost]]]:
    """Costs by way and number of photos, in turns."""
    counts = (arguments.photos // 4, arguments.photos)
    costs: dict[str, dict[int, list[Cost]]] = {way: {count: [] for count in counts} for way in WAYS}
    run(WAYS[0], photos, 8, arguments)  # fills the cache of files
    for number in range(arguments.rounds):
        for count in counts:
            for way in WAYS:
                costs[way][count].append(run(way, photos, count, arguments))
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
    return costs


def split(costs: dict[int, list[Cost]]) -> tuple[float, float]:
    """Seconds of the start, and milliseconds an image, from the medians of both numbers of photos."""
    (few, some), (many, all_) = sorted(costs.items())
    low, high = (statistics.median(cost.seconds for cost in found) for found in (some, all_))
    each = (high - low) / (many - few)
    return low - few * each, 1000 * each


def table(costs: dict[str, dict[int, list[Cost]]], arguments: argparse.Namespace) -> str:
    """Markdown."""
    where = f"{platform.machine()}, {os.cpu_count()} cores"
    lines = [
        f"# Ray against one process, {arguments.photos} photos of 320 × 240, model {arguments.model}\n",
        f"`python benchmarks/bench_ray.py`: {where}, {arguments.rounds} rounds, {arguments.concurrency} workers\n",
        "| | whole run, s | start, s | an image, ms |\n| --- | --: | --: | --: |",
    ]
    parts = {way: split(found) for way, found in costs.items()}
    for way, (start, each) in parts.items():
        whole = statistics.median(cost.seconds for cost in costs[way][arguments.photos])
        lines.append(f"| {way} | {whole:.1f} | {start:.1f} | {each:.2f} |")
    (start, each), (ray_start, ray_each) = parts[WAYS[0]], parts[WAYS[1]]
    lines.append(f"\nRay adds {ray_start - start:.1f} s to the start and {ray_each - each:+.2f} ms to an image")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Draw, measure in turns, print, keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--dry", action="store_true", help="print only")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-ray-") as work:
        draw(Path(work) / "photos", arguments.photos)
        costs = measure(Path(work) / "photos", arguments)
    text = table(costs, arguments)
    print(text)
    if arguments.dry:
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "ray.md").write_text(text, encoding="utf-8")
    plain = {way: {n: [asdict(cost) for cost in found] for n, found in by.items()} for way, by in costs.items()}
    (RESULTS / "ray.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
