"""Images a second from loose files, tar shards and Parquet tables, near and over a network that takes its time.

    python benchmarks/bench_sources.py [--count N] [--rounds N] [--photos FOLDER] [--latency MS]

Everything of `embed` but the model: found, read, hashed, decoded, brought to 224 pixels. Photos of FOLDER (default:
../shared/data/photos; drawn noise where that is missing) are brought to 0.3 megapixels. The sources take turns, round
by round, so that a busy machine slows all of them alike; the first round is not counted. The network is a web server in
this process that waits before each answer. Prints a table and writes results/sources.json and results/sources.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from clipcli.cache import NoCache
from clipcli.core.encoder import Preprocessing
from clipcli.inputs.collect import collect
from clipcli.inputs.sources.fetch import _opened_remote
from clipcli.session.pipeline import ImagePipeline
from clipcli.session.prepare import Preparation, Timings

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import web_server

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).parent / "results"
SHARDS = 4
HOW = Preprocessing((224, 224), (0.5, 0.5, 0.5), (0.3, 0.3, 0.3))


@dataclass
class SlowWeb(web_server.Web):
    """Waits before each answer, as a network does."""

    latency: float = 0.0

    def enter(self) -> None:
        """Before a body."""
        time.sleep(self.latency)


def make_photos(folder: Path, photos: Path, count: int) -> list[Path]:
    """`count` different JPEGs of 640 × 480."""
    originals = sorted(photos.rglob("*.jpg")) if photos.is_dir() else []
    noise = np.random.default_rng(0)
    made = []
    for number in range(count):
        if originals:
            image = Image.open(originals[number % len(originals)]).convert("RGB").resize((640, 480))
        else:
            image = Image.fromarray(noise.integers(0, 255, (60, 80, 3), dtype=np.uint8)).resize((640, 480))
        image.putpixel((number % 640, number // 640), (255, 0, 0))
        made.append(folder / f"{number:06d}.jpg")
        image.save(made[-1], quality=90)
    return made


def pack(files: Sequence[Path], folder: Path) -> None:
    """The same files in shards, and in a table where pyarrow is there."""
    share = -(-len(files) // SHARDS)
    for shard in range(SHARDS):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for file in files[shard * share : (shard + 1) * share]:
                tar.add(file, file.name)
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return
    pq.write_table(
        pa.table({"image": [file.read_bytes() for file in files]}), folder / "all.parquet", row_group_size=100
    )


class Ones:
    """A model that takes no time."""

    lanes = least = 1

    def encode_images(self, pixels: np.ndarray) -> np.ndarray:
        """Return ones, (n, 4)."""
        return np.ones((len(pixels), 4), np.float32)


def rate(arguments: Sequence[str], count: int) -> float:
    """Images a second through everything but the model."""
    _opened_remote.cache_clear()
    preparation = Preparation(HOW, "bench", NoCache(), Timings())
    pipeline = ImagePipeline(preparation, Ones(), os.cpu_count() or 1)
    started = time.perf_counter()
    done = sum(one.vector is not None for one in pipeline.run(collect(arguments), 16))
    if done != count:
        sys.exit(f"{arguments}: {done} of {count}")
    return count / (time.perf_counter() - started)


def measure(folder: Path, web: SlowWeb, asked: argparse.Namespace) -> dict[str, list[float]]:
    """Rates by source, a number a round."""
    pattern = f"{{00000..{SHARDS - 1:05d}}}.tar"
    cases = {
        "loose files": [str(folder / "loose")],
        "tar shards": [f"{folder}/{pattern}"],
        "Parquet": [str(folder / "all.parquet")],
        f"loose files, {asked.latency} ms away": [f"{web.url}/loose/"],
        f"tar shards, {asked.latency} ms away": [f"{web.url}/{pattern}"],
    }
    if not (folder / "all.parquet").exists():
        del cases["Parquet"]
    found: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(asked.rounds + 1):
        for name, arguments in cases.items():
            speed = rate(arguments, asked.count)
            if turn:
                found[name].append(speed)
    return found


def table(found: dict[str, list[float]]) -> str:
    """Markdown, every source against loose files."""
    base = statistics.median(found["loose files"])
    lines = ["| source | images/s | range | of loose files |", "| --- | --: | --: | --: |"]
    for name, speeds in found.items():
        middle = statistics.median(speeds)
        lines.append(f"| {name} | {middle:,.0f} | {min(speeds):,.0f}–{max(speeds):,.0f} | {middle / base:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latency", type=int, default=30)
    shared = Path(__file__).parent.parent.parent / "shared" / "data" / "photos"
    parser.add_argument("--photos", type=Path, default=shared)
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-sources-") as place:
        folder = Path(place)
        (folder / "loose").mkdir()
        files = make_photos(folder / "loose", asked.photos, asked.count)
        pack(files, folder)
        served = {f"/{file.relative_to(folder)}": file.read_bytes() for file in [*files, *folder.glob("*.tar")]}
        with web_server.serve(SlowWeb(files=served, latency=asked.latency / 1000)) as web:
            found = measure(folder, web, asked)
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {asked.rounds} rounds"
    what = f"{asked.count:,} JPEGs of 640 × 480 in {SHARDS} shards; everything but the model"
    text = f"# Where images come from\n\n`python benchmarks/bench_sources.py`: {where}\n\n{what}\n\n{table(found)}"
    print(text)
    if asked.dry:
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "sources.md").write_text(text, encoding="utf-8")
    data = {"machine": where, "images": asked.count, "images_a_second": found}
    (RESULTS / "sources.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
