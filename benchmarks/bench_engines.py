"""Images a second through the image tower alone, ViT-B-32: the engines of bundles against open_clip in torch.

    python benchmarks/bench_engines.py [FOLDER] [--rounds 7]

Weights and pixels are random. All engines are loaded in one process and take turns, 32 images each. FOLDER keeps the
weights and the bundle for the next run. The cosine is the least between an image's vector and open_clip's in fp32.
Prints a table and writes results/engines.json and results/engines.md. OpenVINO in bf16 needs a processor that has it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from bench_rank import conditions

from clipcli.core.devices import cpu_with_bf16
from clipcli.core.vectors import unit_length

if TYPE_CHECKING:
    from collections.abc import Callable

    from clipcli.core.encoder import Encoder

    Engine = Callable[[np.ndarray], np.ndarray]

RESULTS = Path(__file__).parent / "results"
BATCH = 32
BASE = "open_clip in torch, fp32"


def load(work: Path) -> dict[str, Engine]:
    """Return the same random model on all engines; its bundle is made if it is not there."""
    import open_clip
    import torch

    from clipcli import bundle
    from clipcli.engines import onnx, openvino

    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32").eval()
    if not (work / "bundle").exists():
        torch.save(model.state_dict(), work / "ViT-B-32.pt")
        spec = f"ViT-B-32@{work / 'ViT-B-32.pt'}"
        command = [sys.executable, "-m", "clipcli", "models", "export", spec, "-o", str(work / "bundle")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    model.load_state_dict(torch.load(work / "ViT-B-32.pt", weights_only=True))
    found = bundle.read(work / "bundle")

    def run_torch(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model.encode_image(torch.from_numpy(pixels)).numpy()

    engines: dict[str, Engine] = {
        BASE: run_torch,
        "onnx, weights packed": on_all_lanes(onnx.load(found, expected_images=10_000)),
        "onnx, weights not packed": on_all_lanes(onnx.load(found, expected_images=1)),
        "openvino, fp32": on_all_lanes(openvino.load(found, expected_images=10_000)),
    }
    if cpu_with_bf16():
        engines["openvino, bf16"] = on_all_lanes(openvino.load(found, expected_images=10_000, precision="bf16"))
    return engines


def on_all_lanes(encoder: Encoder) -> Engine:
    """Return a function that divides a batch among the lanes of an engine, as a run does."""
    lanes = ThreadPoolExecutor(encoder.image_lanes)

    def encode(pixels: np.ndarray) -> np.ndarray:
        return np.concatenate(list(lanes.map(encoder.encode_images, np.array_split(pixels, encoder.image_lanes))))

    return encode


def measure(engines: dict[str, Engine], rounds: int) -> dict[str, dict[str, float | list[float]]]:
    """Return the rates of each engine, and its least cosine to open_clip."""
    pixels = np.random.default_rng(0).standard_normal((BATCH, 3, 224, 224), dtype=np.float32)
    vectors = {name: unit_length(encode(pixels)) for name, encode in engines.items()}  # and memory is prepared
    rates: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, encode in engines.items():
            began = time.perf_counter()
            encode(pixels)
            rates[name].append(BATCH / (time.perf_counter() - began))
    return {
        name: {
            "images_per_second": [round(rate, 1) for rate in rates[name]],
            "least_cosine": float((vectors[name] * vectors[BASE]).sum(axis=1).min()),
        }
        for name in engines
    }


def table(machine: str, figures: dict[str, dict[str, float | list[float]]]) -> str:
    """Return the results in Markdown."""
    base = statistics.median(figures[BASE]["images_per_second"])
    lines = ["# Engines, image tower", "", f"`python benchmarks/bench_engines.py`: ViT-B-32, {machine}", ""]
    lines += ["| engine | images/s, median | best | against open_clip | least cosine |", "|---|--:|--:|--:|--:|"]
    for name, own in figures.items():
        rates = own["images_per_second"]
        middle = statistics.median(rates)
        lines.append(f"| {name} | {middle:.1f} | {max(rates):.1f} | {middle / base:.2f} | {own['least_cosine']:.5f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Load, measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", help="keeps the bundle (1 GB)")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-engines-") as work:
        folder = asked.folder or Path(work)
        folder.mkdir(parents=True, exist_ok=True)
        figures = measure(load(folder), asked.rounds)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime", "openvino"))
    machine = f"{conditions('')}, {packages}, batch {BATCH}, {asked.rounds} rounds in turns"
    text = table(machine, figures)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    data = {"machine": machine, "engines": figures}
    (RESULTS / "engines.json").write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    (RESULTS / "engines.md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
