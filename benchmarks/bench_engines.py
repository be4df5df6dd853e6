"""Images a second through the image tower alone: ONNX Runtime on a bundle against torch, ViT-B-32, float32, batch 32.

    python benchmarks/bench_engines.py [ROUNDS]

Both engines are loaded in one process and take turns. Weights are random. Prints a table and writes
results/engines.json and results/engines.md.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from clipcli.core.encoder import Encoder

RESULTS = Path(__file__).parent / "results"
BATCH = 32


def encoders(work: Path) -> dict[str, Encoder]:
    """The same random model on both engines, and on ONNX Runtime with its weights packed and not."""
    import open_clip
    import torch

    from clipcli import bundle
    from clipcli.engines import onnx

    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32").eval()
    torch.save(model.state_dict(), work / "ViT-B-32.pt")
    spec = f"ViT-B-32@{work / 'ViT-B-32.pt'}"
    command = [sys.executable, "-m", "clipcli", "models", "export", spec, "-o", str(work / "bundle")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = bundle.read(work / "bundle")

    class Torch:
        def encode_images(self, pixels: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return model.encode_image(torch.from_numpy(pixels)).numpy()

    return {
        "torch": Torch(),
        "onnx, weights packed": onnx.load(found, expected_images=10_000),
        "onnx, weights not packed": onnx.load(found, expected_images=1),
    }


def main() -> None:
    """Load, measure, print, keep."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    pixels = np.random.default_rng(0).standard_normal((BATCH, 3, 224, 224), dtype=np.float32)
    with tempfile.TemporaryDirectory(prefix="bench-engines-") as folder:
        engines = encoders(Path(folder))
        rates: dict[str, list[float]] = {name: [] for name in engines}
        for number in range(rounds + 1):
            for name, engine in engines.items():
                began = time.perf_counter()
                engine.encode_images(pixels)
                if number:
                    rates[name].append(BATCH / (time.perf_counter() - began))
    base = statistics.median(rates["torch"])
    rows = ["| engine | images/s, median | best | against torch |", "|---|---|---|---|"]
    for name, got in rates.items():
        middle = statistics.median(got)
        rows.append(f"| {name} | {middle:.1f} | {max(got):.1f} | {middle / base:.2f} |")
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, batch {BATCH}"
    text = f"{where}, {rounds} rounds\n\n" + "\n".join(rows) + "\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    data = {name: [round(rate, 1) for rate in got] for name, got in rates.items()}
    (RESULTS / "engines.json").write_text(json.dumps({"machine": where, "images_per_second": data}, indent=1) + "\n")
    (RESULTS / "engines.md").write_text(f"# Engines, image tower\n\n`python benchmarks/bench_engines.py`: {text}")


if __name__ == "__main__":
    main()
