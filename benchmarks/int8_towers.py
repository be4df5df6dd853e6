"""Image towers with int8 weights and activations: how far their vectors are from the bundle's, and how fast they are.

    python benchmarks/int8_towers.py BUNDLE [BUNDLE …] [--photos FOLDER] [--calibrate N]

Quantizes each bundle's image tower with ONNX Runtime's static quantizer (QDQ, int8 weights per channel, uint8
activations), calibrated on the first N photos and measured on the others, which calibration has not seen. Prints a
table and writes results/int8.md. Needs `onnx` beside ONNX Runtime, as `clipcli[torch]` brings it.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from clipcli import bundle as bundles
from clipcli.images import decode, read
from clipcli.images.preprocess import to_pixels

RESULTS = Path(__file__).parent / "results"
SUFFIXES = {".jpg", ".jpeg", ".png"}
BATCH = 8


class Photos(CalibrationDataReader):  # type: ignore[misc]
    """Batches of pixels for the quantizer."""

    def __init__(self, feed: str, pixels: np.ndarray) -> None:
        self._batches = iter([{feed: pixels[start : start + BATCH]} for start in range(0, len(pixels), BATCH)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch, or None."""
        return next(self._batches, None)


def vectors_of(graph: Path, pixels: np.ndarray) -> tuple[np.ndarray, float]:
    """Return unit vectors (n, dim), and seconds of processor time per image on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    session.run(None, {feed: pixels[:BATCH]})
    began = time.process_time()
    rows = [session.run(None, {feed: pixels[start : start + BATCH]})[0] for start in range(0, len(pixels), BATCH)]
    seconds = (time.process_time() - began) / len(pixels)
    vectors = np.concatenate(rows)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), seconds


def measure(bundle: Any, photos: list[Path], calibrate: int, work: Path) -> str:
    """Return one row of the table."""
    pixels = np.stack([to_pixels(decode(read(str(path))), bundle.info.preprocessing) for path in photos])
    pixels = pixels.astype(np.float32)
    model = onnx.load(bundle.image_tower)  # with its weights, which lie beside it
    whole, small = work / "whole.onnx", work / "int8.onnx"
    onnx.save(model, whole)
    quantize_static(
        whole, small, Photos(model.graph.input[0].name, pixels[:calibrate]), quant_format=QuantFormat.QDQ,
        per_channel=True, weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8,
    )  # fmt: skip
    reference, slow = vectors_of(whole, pixels[calibrate:])
    vectors, fast = vectors_of(small, pixels[calibrate:])
    cosines = (reference * vectors).sum(axis=1)
    size = small.stat().st_size / whole.stat().st_size
    return f"| {bundle.info.name} | {cosines.mean():.3f} | {cosines.min():.3f} | {slow / fast:.1f} | {size:.2f} |"


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--photos", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "photos")
    parser.add_argument("--calibrate", type=int, default=64)
    parser.add_argument("--count", type=int, default=192, help="photos in all")
    arguments = parser.parse_args()
    photos = sorted(path for path in arguments.photos.rglob("*") if path.suffix.lower() in SUFFIXES)
    photos = photos[:: max(1, len(photos) // arguments.count)][: arguments.count]
    rows = ["| bundle | cosine, mean | least | times as fast | of the size |", "|---|--:|--:|--:|--:|"]
    for folder in arguments.bundles:
        with tempfile.TemporaryDirectory(prefix="int8-") as work:
            rows.append(measure(bundles.read(folder), photos, arguments.calibrate, Path(work)))
    measured = len(photos) - arguments.calibrate
    where = (
        f"{platform.machine()}, one thread of {os.cpu_count()} cores, {measured} photos that calibration has not seen"
    )
    text = f"# int8 image towers\n\n`python benchmarks/int8_towers.py`: {where}\n\n" + "\n".join(rows) + "\n"
    print(text)
    (RESULTS / "int8.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
