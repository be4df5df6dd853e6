"""Pictures a second and per core, from files to vectors: a loop, clipcli, and what decoding and the model alone allow.

    python benchmarks/bench_bulk.py [--rounds N] [--models NAME …] [--sizes SIZE …] [--cases CASE …] [--count N]
        [--add] [--wait] [--photos FOLDER] [--work FOLDER] [--prepare]

The loop opens a file with Pillow, runs open_clip's transform and encodes batches of 32, for `tiny` in ONNX Runtime, for
the others in torch. Every case is a process of its own that loads its model once; the cases of a run take turns. Both
bounds use every core, so what a machine allows for both is the sum of their times. Weights are random where they are
not part of clipcli: time does not depend on them. On Linux, a turn in which other processes took more than a twentieth
of the cores is repeated, a few times at most. Writes results/bulk.json, in which what other runs measured stays (other
models, sizes and cases; with --add also other turns), and results/bulk.md. `--prepare` makes photos, checkpoints and
bundles in --work and ends.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bench_embed import OURS, RESULTS, Case, Worker, draw

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Results: TypeAlias = "dict[str, dict[str, dict[str, Any]]]"
"""Model → size of the photos → case → number of photos, and the figures of each turn."""

SIZES = {"500 px": (500, 375), "12 MP": (4000, 3000)}
MODELS = ("tiny", "ViT-B-32", "ViT-L-14")
LOOP, DECODING, FAST_DECODING, FORWARD = "loop", "decoding alone", "decoding alone, fast", "model alone"
CLIPCLI, FAST = "clipcli", "clipcli --fast-decode"
ATTEMPTS = 2
DISTURBED = 0.05
CASES = (LOOP, CLIPCLI, FAST, DECODING, FAST_DECODING, FORWARD)
COLUMNS = (
    "model, photos",
    "case",
    "photos × turns",
    "pictures/s",
    "per core",
    "core-ms a picture",
    "times the loop",
    "bound, pictures/s",
    "share",
)

TORCH_LOOP = """
    import open_clip, torch
    from PIL import Image
    model, _, transform = open_clip.create_model_and_transforms({name!r}, pretrained={weights!r})
    model.eval()

    def embed(paths):
        vectors = []
        with torch.no_grad():
            for start in range(0, len(paths), 32):
                batch = torch.stack([transform(Image.open(path)) for path in paths[start : start + 32]])
                features = model.encode_image(batch)
                vectors.append(features / features.norm(dim=-1, keepdim=True))
        return torch.cat(vectors).numpy()

    timed(embed)
"""

LOAD = """
    from clipcli.core.console import Console
    from clipcli.models.spec import parse_choice
    from clipcli.models.model import Model
    choice = parse_choice({spec!r}, "cpu", "auto", "auto", offline=True, weights_dir=None)
    model = Model(choice, Console(quiet=True), 10**6)
    how = model.info.preprocessing
"""

ONNX_LOOP = (
    LOAD
    + """
    import torch
    from open_clip.transform import image_transform
    from PIL import Image
    transform = image_transform(how.image_size, is_train=False, mean=how.mean, std=how.std)

    def embed(paths):
        vectors = []
        for start in range(0, len(paths), 32):
            batch = torch.stack([transform(Image.open(path)) for path in paths[start : start + 32]])
            vectors.extend(model.encoder.encode_images(batch.numpy()))
        return vectors

    timed(embed)
"""
)

DECODE = (
    LOAD
    + """
    from concurrent.futures import ThreadPoolExecutor
    from clipcli.core.devices import usable_cores
    from clipcli.images import decode, read
    from clipcli.images.preprocess import to_pixels
    draft = (2 * how.image_size[1], 2 * how.image_size[0]) if {fast} else None

    def prepared(path):
        return to_pixels(decode(read(path), draft=draft), how)[0, 0, 0]

    def embed(paths):
        with ThreadPoolExecutor(usable_cores()) as pool:
            return list(pool.map(prepared, paths))

    timed(embed)
"""
)

ENCODE = (
    LOAD
    + """
    from concurrent.futures import ThreadPoolExecutor
    import numpy
    from clipcli.core.batch_invariance import image_rows
    encoder, rows = model.encoder, image_rows("fp32")
    pixels = numpy.random.default_rng(0).standard_normal((rows, 3, *how.image_size), dtype=numpy.float32)

    def embed(paths):
        batches = [pixels[: len(paths) - start] for start in range(0, len(paths), rows)]
        with ThreadPoolExecutor(encoder.image_lanes) as lanes:
            return [row for vectors in lanes.map(encoder.encode_images, batches) for row in vectors]

    timed(embed)
"""
)


def cases(model: str, work: Path) -> list[Case]:
    """All cases of a model."""
    spec = "tiny" if model == "tiny" else str(work / model)
    loaded: dict[str, object] = {"spec": spec}
    ours = {"spec": spec, "precision": "auto", "engine": "auto", "cached": False}
    torch_loop = Case(LOOP, TORCH_LOOP, {"name": model, "weights": str(work / f"{model}.pt")})
    return [
        Case(LOOP, ONNX_LOOP, loaded) if model == "tiny" else torch_loop,
        Case(CLIPCLI, OURS, {**ours, "fast": False}),
        Case(FAST, OURS, {**ours, "fast": True}),
        Case(DECODING, DECODE, {**loaded, "fast": False}),
        Case(FAST_DECODING, DECODE, {**loaded, "fast": True}),
        Case(FORWARD, ENCODE, loaded),
    ]


def prepare(model: str, work: Path) -> None:
    """Make a random checkpoint and its bundle."""
    if model == "tiny" or (work / model).exists():
        return
    checkpoint = work / f"{model}.pt"
    make = f"""import open_clip, torch; torch.manual_seed(0)
torch.save(open_clip.create_model({model!r}).state_dict(), {str(checkpoint)!r})"""
    subprocess.run([sys.executable, "-c", make], check=True)
    export = [sys.executable, "-m", "clipcli", "models", "export", f"{model}@{checkpoint}", "-o", str(work / model)]
    subprocess.run(export, check=True, stdout=subprocess.DEVNULL)


def measure(
    chosen: Sequence[Case], photos: Path, work: Path, rounds: int, *, wait: bool
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield names of cases and figures of a turn; the cases take turns."""
    count = sum(1 for path in photos.iterdir() if path.read_bytes())  # from now on in memory
    workers = [Worker(case, photos, work) for case in chosen]
    for number in range(rounds):
        if wait:
            input("all models are loaded; Enter starts a round\n")
        for worker in workers:
            yield worker.case.name, undisturbed(worker, count)
        print(f"{photos.name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    for worker in workers:
        worker.close()


def undisturbed(worker: Worker, count: int) -> dict[str, float]:
    """Return the figures of a turn of `count` photos, and the share of the cores that other processes took."""
    turns = []
    for _ in range(ATTEMPTS):
        began, busy = time.perf_counter(), busy_seconds()
        figure = worker.turn()
        own = figure.core_milliseconds * count / 1000
        capacity = (time.perf_counter() - began) * (os.cpu_count() or 1)
        turns.append(asdict(figure) | {"others": max(0.0, busy_seconds() - busy - own) / capacity})
        if turns[-1]["others"] <= DISTURBED:
            break
    return min(turns, key=lambda turn: turn["others"])


def busy_seconds() -> float:
    """Return what all processes together have used of all cores since the start of the machine; 0 where unknown."""
    counters = Path("/proc/stat")
    if not counters.exists():
        return 0.0
    user, nice, system, _idle, _iowait, interrupts, soft, stolen, *_ = map(int, counters.read_text().split()[1:11])
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def calm(turns: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Return the undisturbed turns, or all where there are none."""
    return [turn for turn in turns if turn["others"] <= DISTURBED] or list(turns)


def summary(measured: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return medians of undisturbed turns: pictures a second, core-ms a picture, times the loop, share of the bound."""
    rows = {}
    for name in (name for name in CASES if name in measured):
        if not (turns := calm(measured[name]["turns"])):
            continue
        rate, cores = (
            statistics.median(turn[key] for turn in turns) for key in ("images_a_second", "core_milliseconds")
        )
        rows[name] = {"pictures_per_s": rate, "core_ms": cores}
    for ours, decoding in ((CLIPCLI, DECODING), (FAST, FAST_DECODING)):
        if {ours, decoding, FORWARD, LOOP} <= rows.keys():
            rates = {name: row["pictures_per_s"] for name, row in rows.items()}
            bound = 1 / (1 / rates[decoding] + 1 / rates[FORWARD])
            rows[ours] |= {"times_loop": rates[ours] / rates[LOOP], "bound": bound, "share": rates[ours] / bound}
    return rows


def table(results: Results, conditions: str) -> str:
    """Return the results in Markdown."""
    lines = ["# Many pictures, from files to vectors", "", f"`python benchmarks/bench_bulk.py`: {conditions}", ""]
    lines += [
        "The bound is what decoding alone and the model alone take, each on all cores, one after the other.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|---|---|{'--:|' * (len(COLUMNS) - 2)}",
    ]
    cores = os.cpu_count() or 1
    for model, sizes in results.items():
        for size, measured in sizes.items():
            for name, row in summary(measured).items():
                rate, times = row["pictures_per_s"], row.get("times_loop")
                compared = f"{times:.2f} | {row['bound']:.1f} | {row['share']:.2f}" if times else " | | "
                taken = f"{measured[name]['photos']} × {len(calm(measured[name]['turns']))}"
                own = f"{rate:.1f} | {rate / cores:.1f} | {row['core_ms']:.1f}"
                lines.append(f"| {model}, {size} | {name} | {taken} | {own} | {compared} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure in turns, print, keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=32, help="photos a turn")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=SIZES)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--add", action="store_true", help="keep the turns of earlier runs with as many photos")
    parser.add_argument("--wait", action="store_true", help="for Enter before a round, to make the machine idle first")
    parser.add_argument("--photos", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "photos")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--prepare", action="store_true")
    arguments = parser.parse_args()
    earlier = RESULTS / "bulk.json"
    results: Results = json.loads(earlier.read_text("utf-8")) if earlier.exists() else {}
    with tempfile.TemporaryDirectory(prefix="bench-bulk-") as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        for size in arguments.sizes:
            draw(arguments.photos, work / f"{size}-{arguments.count}", SIZES[size], arguments.count)
        for model in arguments.models:
            prepare(model, work)
            if arguments.prepare:
                continue
            for size in arguments.sizes:
                photos = work / f"{size}-{arguments.count}"
                chosen = [case for case in cases(model, work) if case.name in arguments.cases]
                measured = results.setdefault(model, {}).setdefault(size, {})
                for case in chosen:
                    if not (arguments.add and measured.get(case.name, {}).get("photos") == arguments.count):
                        measured[case.name] = {"photos": arguments.count, "turns": []}
                for name, turn in measure(chosen, photos, work, arguments.rounds, wait=arguments.wait):
                    measured[name]["turns"].append(turn)
                    keep(results)


def keep(results: Results) -> None:
    """Write what has been measured so far."""
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    (RESULTS / "bulk.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    (RESULTS / "bulk.md").write_text(table(results, f"{where}, fp32, medians of the turns"), "utf-8")


if __name__ == "__main__":
    main()
