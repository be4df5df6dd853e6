"""What Ray adds to one process on the same cores: the start, and then each image.

    python benchmarks/bench_ray.py [--photos 2000] [--rounds 3] [--concurrency 2] [--model tiny]

Photos are drawn, small (320 × 240), and embedded with the cache off into a file: by one process, and with --ray local
on a cluster started for the run, which is what a user of one machine pays. Both take turns with a quarter of the photos
and with all of them: the slope between the two is what an image costs, the rest is the start (the cluster, its
processes, the model). Processor time is counted too, of the run and of everything that it started, since a
busy machine slows both alike.

The process that started the run writes what all workers find, so it bounds a cluster: how many vectors of 512 numbers
it takes in a second of processor time is measured on results that come at once. Without ray nothing is measured.
Prints tables and writes results/ray.json and results/ray.md.
"""

from __future__ import annotations

import argparse
import importlib.util
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
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from clipcli.core.console import Console, RunSummary
from clipcli.core.encoder import ModelInfo, Preprocessing, Scoring
from clipcli.inputs.collect import ImageRef
from clipcli.models.spec import Choice
from clipcli.runs.embed.embed_inputs import ImageInputs
from clipcli.runs.embed.run import EmbedRun
from clipcli.runs.embed.validate import parse_target
from clipcli.session.pipeline import Embedded
from clipcli.session.prepare import SessionOptions
from clipcli.session.ray.cluster import ClusterSession
from clipcli.session.ray.resources import WorkerPool
from clipcli.session.ray.worker import WorkerModel, WorkerSpec, WorkerStats, refs_of, result_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RESULTS = Path(__file__).parent / "results"
WAYS = ("one process", "Ray")
DIM, WRITTEN, A_TASK = 512, 100_000, 2048
"""Of the process that writes: numbers a vector, vectors, vectors a table."""


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
        command += ["--ray", "local", "--concurrency", str(arguments.concurrency)]
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


class Instant:
    """A cluster whose results are there at once; making them is not counted."""

    def __init__(self) -> None:
        self.making = 0.0

    def run(self, tables: Sequence[Any], *_: object) -> Iterator[Any]:
        """Tables of references → tables of results."""
        for refs in tables:
            began = time.process_time()
            vectors = np.random.default_rng(0).standard_normal((refs.num_rows, DIM), np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            found = [Embedded(ref, row, None, "0" * 64) for ref, row in zip(refs_of(refs), vectors, strict=True)]
            result = result_table(refs.column("ref"), found, DIM, WorkerStats(0.0, 0.0, 0.0, len(found), 0))
            self.making += time.process_time() - began
            yield result


def writing_rate(folder: Path) -> float:
    """Vectors that the writing process takes in a second of processor time: unpacked, in parts, and in one file."""
    how = Preprocessing((224, 224), (0.5, 0.5, 0.5), (0.3, 0.3, 0.3))
    model = WorkerModel(ModelInfo("none", "0" * 12, DIM, how, 77, causal_text=True), Scoring(100.0), "fp32")
    names = [f"s3://bucket/photos/{number // 1000:04}/{number:07}.jpg" for number in range(WRITTEN)]
    source = ImageInputs([ImageRef(name, name) for name in names], WRITTEN)
    target = parse_target(str(folder / "out.parquet"), "auto", "float32")
    cluster, console = Instant(), Console(quiet=True)
    order = WorkerSpec(Choice("none"), SessionOptions(workers=1), A_TASK * 1000, ".")
    session: Any = ClusterSession(cluster, order, WorkerPool(1, 1, 1, 1), model, console)  # type: ignore[arg-type]
    job = EmbedRun(source, target, RunSummary(console))
    began = time.process_time()
    with job.place() as parts:
        job.run(session, parts, lambda _: None)
    return WRITTEN / (time.process_time() - began - cluster.making)


def table(costs: dict[str, dict[int, list[Cost]]], rates: Sequence[float], arguments: argparse.Namespace) -> str:
    """Markdown."""
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
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
    words = "vectors of 512 numbers in a second of processor time"
    lines.append(f"\nThe one process that writes takes {statistics.median(rates):,.0f} {words}")
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
    if importlib.util.find_spec("ray") is None:
        print("ray is not installed: nothing is measured (pip install 'clipcli[ray]')")
        return
    with tempfile.TemporaryDirectory(prefix="bench-ray-") as work:
        rates = [writing_rate(Path(work)) for _ in range(arguments.rounds)]
        draw(Path(work) / "photos", arguments.photos)
        costs = measure(Path(work) / "photos", arguments)
    text = table(costs, rates, arguments)
    print(text)
    if arguments.dry:
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "ray.md").write_text(text, encoding="utf-8")
    plain = {way: {n: [asdict(cost) for cost in found] for n, found in by.items()} for way, by in costs.items()}
    data = {"runs": plain, "written_a_core_second": rates}
    (RESULTS / "ray.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
