"""The cache's look-ups a second, and the memory of a long run: 1,000 to 1,000,000 texts through `embed` into a file.

    python benchmarks/bench_cache.py [COUNTS…]

The long run has a stand-in for the model (numbers from the text's hash), so that all of its time and memory is ours;
each count is a process of its own. Prints a table and writes results/cache.md.
"""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from clipcli.cache import EmbeddingCache
from clipcli.core.console import Console, RunSummary
from clipcli.core.encoder import ModelInfo, Preprocessing, Scoring
from clipcli.inputs.texts import read_texts
from clipcli.runs.embed.embed_inputs import TextInputs
from clipcli.runs.embed.run import EmbedRun
from clipcli.runs.embed.validate import parse_target
from clipcli.session.session import Session

RESULTS = Path(__file__).parent / "results"
DIM = 512
LOOK_UPS = 100_000
INFO = ModelInfo("stand-in", "0" * 12, DIM, Preprocessing((224, 224), (0, 0, 0), (1, 1, 1)), 77, causal_text=True)


class StandIn:
    """As much of a model as a session asks for; gives a vector in no time."""

    info, scoring, precision, device, runs_on_gpu = INFO, Scoring(100.0), "fp32", "cpu", False
    vectors_key = INFO.fingerprint

    @property
    def encoder(self) -> StandIn:
        """Itself."""
        return self

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """One random vector a batch, moved on by each text's hash."""
        rows = np.tile(np.random.default_rng(0).standard_normal(DIM, dtype=np.float32), (len(texts), 1))
        rows[:, 0] += [hash(text) % 1000 for text in texts]
        return rows

    def count_tokens(self, texts: list[str]) -> list[int]:
        """Few."""
        return [8] * len(texts)


def look_ups(folder: Path) -> dict[str, float]:
    """Vectors a second: kept in batches of 256, found in batches of 256."""
    keys = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(LOOK_UPS)]
    vectors = np.random.default_rng(0).standard_normal((LOOK_UPS, DIM), dtype=np.float32)
    with EmbeddingCache.open(folder, say=sys.exit) as cache:
        began = time.perf_counter()
        for start in range(0, LOOK_UPS, 256):
            cache.put("m/fp32", list(zip(keys[start : start + 256], vectors[start : start + 256], strict=False)))
        kept = time.perf_counter()
        for start in range(0, LOOK_UPS, 256):
            if None in (row if row is None else 0 for row in cache.get("m/fp32", keys[start : start + 256])):
                sys.exit("a vector was lost")
        return {"kept": LOOK_UPS / (kept - began), "found": LOOK_UPS / (time.perf_counter() - kept)}


def long_run(count: int, folder: Path) -> None:
    """Embed `count` texts and print seconds and peak memory in MB."""
    texts = folder / "texts.txt"
    with texts.open("w", encoding="utf-8") as stream:
        stream.writelines(f"a photo of thing number {number}\n" for number in range(count))
    console = Console(quiet=True)
    target = parse_target(str(folder / "out.npy"), "auto", "float32")
    job = EmbedRun(TextInputs(read_texts([], [str(texts)], None), None), target, RunSummary(console))
    began = time.perf_counter()
    with EmbeddingCache.open(folder / "cache", say=sys.exit) as cache, job.place() as parts:
        job.run(Session(StandIn(), cache, console), parts, lambda _: None)  # type: ignore[arg-type]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(time.perf_counter() - began, peak)


def main() -> None:
    """Measure, print, keep."""
    if sys.argv[1:2] == ["--long-run"]:
        long_run(int(sys.argv[2]), Path(sys.argv[3]))
        return
    counts = [int(text) for text in sys.argv[1:]] or [1_000, 10_000, 100_000, 1_000_000]
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    lines = ["# The cache, and long runs", "", f"`python benchmarks/bench_cache.py`: {where}", ""]
    lines += ["| texts through `embed -o out.npy` | texts/s | peak memory |", "|---|---|---|"]
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="bench-cache-") as folder:
            command = [sys.executable, __file__, "--long-run", str(count), folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds, peak = map(float, done.stdout.split())
        lines.append(f"| {count:,} | {count / seconds:,.0f} | {peak:,.0f} MB |")
        print(lines[-1], file=sys.stderr, flush=True)
    # Last, since a child's peak memory is never below that of the process it was forked from.
    with tempfile.TemporaryDirectory(prefix="bench-cache-") as folder:
        rates = look_ups(Path(folder))
    kept, found = f"{rates['kept']:,.0f}", f"{rates['found']:,.0f}"
    lines += ["", f"Vectors of {DIM} float32 in batches of 256: {kept} a second kept, {found} found."]
    text = "\n".join(lines) + "\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "cache.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
