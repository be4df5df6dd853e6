"""Pictures a second and per core, from files to vectors: a loop, clipcli, and what decoding and the model alone allow.

    python benchmarks/bench_bulk.py [--rounds N] [--models NAME …] [--count N] [--photos FOLDER] [--work FOLDER]

The loop opens a file with Pillow, runs open_clip's transform and encodes batches of 32, for `tiny` in ONNX Runtime, for
the others in torch. Every case is a process of its own that loads its model once; the cases of a model take turns. Both
bounds use every core, so what a machine allows for both is the sum of their times. Weights are random where they are
not part of clipcli: time does not depend on them. Writes results/bulk.json, in which the models of other runs stay, and
results/bulk.md. `--prepare` makes checkpoints and bundles in --work and ends.
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
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench_embed import OURS, RESULTS, Case, Figure, draw, measure

if TYPE_CHECKING:
    from collections.abc import Mapping

SIZES = {"500 px": (500, 375), "12 MP": (4000, 3000)}
MODELS = ("tiny", "ViT-B-32", "ViT-L-14")
LOOP, DECODING, FAST_DECODING, FORWARD = "loop", "decoding alone", "decoding alone, fast", "model alone"
CLIPCLI, FAST = "clipcli", "clipcli --fast-decode"

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
    loaded = {"spec": spec}
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


def summary(figures: Mapping[str, list[Figure]]) -> dict[str, dict[str, float]]:
    """Return medians: pictures a second, core-milliseconds a picture, times the loop, share of the bound."""
    rate = {name: statistics.median(figure.images_a_second for figure in turns) for name, turns in figures.items()}
    cores = {name: statistics.median(figure.core_milliseconds for figure in turns) for name, turns in figures.items()}
    rows = {name: {"pictures_per_s": rate[name], "core_ms": cores[name]} for name in figures}
    for ours, decoding in ((CLIPCLI, DECODING), (FAST, FAST_DECODING)):
        bound = 1 / (1 / rate[decoding] + 1 / rate[FORWARD])
        rows[ours] |= {"times_loop": rate[ours] / rate[LOOP], "bound": bound, "share": rate[ours] / bound}
    return rows


def table(results: Mapping[str, Mapping[str, dict[str, dict[str, float]]]], conditions: str) -> str:
    """Return the results in Markdown."""
    lines = ["# Many pictures, from files to vectors", "", f"`python benchmarks/bench_bulk.py`: {conditions}", ""]
    lines += [
        "The bound is what decoding alone and the model alone take, each on all cores, one after the other.",
        "",
        "| photos | case | pictures/s | per core | core-ms a picture | times the loop | bound, pictures/s | share |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    cores = os.cpu_count() or 1
    for model, sizes in results.items():
        for size, rows in sizes.items():
            for name, row in rows.items():
                rate, times = row["pictures_per_s"], row.get("times_loop")
                compared = f"{times:.2f} | {row['bound']:.1f} | {row['share']:.2f}" if times else " | | "
                own = f"{rate:.1f} | {rate / cores:.1f} | {row['core_ms']:.1f}"
                lines.append(f"| {model}, {size} | {name} | {own} | {compared} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure in turns, print, keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=32, help="photos a turn")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=SIZES)
    parser.add_argument("--photos", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "photos")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--prepare", action="store_true")
    arguments = parser.parse_args()
    kept = RESULTS / "bulk.json"
    results = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
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
                figures = measure(cases(model, work), photos, work, arguments.rounds)
                turns = {name: [asdict(figure) for figure in found] for name, found in figures.items()}
                results.setdefault(model, {})[size] = summary(figures)
                print(model, size, json.dumps(turns), file=sys.stderr)
                keep(results, arguments.rounds)


def keep(results: Mapping[str, Mapping[str, dict[str, dict[str, float]]]], rounds: int) -> None:
    """Write what has been measured so far."""
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    (RESULTS / "bulk.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    (RESULTS / "bulk.md").write_text(table(results, f"{where}, fp32, medians of {rounds} rounds"), "utf-8")


if __name__ == "__main__":
    main()
