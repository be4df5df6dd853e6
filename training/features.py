"""What the starting tower sees in every picture, in several views: computed once, by OpenVINO.

    python -m training.features WORK ZIP_OR_FOLDER...

Writes WORK/rows.json (which picture is which) and, for every view and every 1,024 pictures, WORK/features/V-NNN.npy,
the 1,280 pooled numbers, and WORK/maps/V-NNN.npy, what reaches the last stages of the tower (`TAIL`), float16
(pictures, 112, 15, 15). View 0 is the picture as it is; the others are changed by a seed. A run that was stopped goes
on with the first file that is missing.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from training import packages
from training.rows import Reader, Row, rows_of
from training.sources import Archive
from training.views import IMAGE_SIZE, prepare, view

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CHUNK = 1024
VIEWS = 3
TAIL = 5
"""The first of the tower's stages that is tuned; what comes before it stays as it was."""


class Body(torch.nn.Module):
    """The tower's first stages, which stay as they were, and what the untuned rest makes of them."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.stem = torch.nn.Sequential(tower.conv_stem, tower.bn1, *tower.blocks[:TAIL])
        self.tail = tail_of(tower)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels (n, 3, 240, 240) → maps (n, 112, 15, 15) and pooled numbers (n, 1280)."""
        maps = self.stem(pixels)
        return maps, self.tail(maps)


def tower(weights: dict[str, Any]) -> Any:
    """The starting tower of timm, in the state that serves."""
    import timm

    model = timm.create_model(packages.TOWER, pretrained=False)
    model.load_state_dict(weights)
    return model.eval()


def tail_of(model: Any) -> torch.nn.Sequential:
    """The last stages of a tower: maps (n, 112, 15, 15) → pooled numbers (n, 1280)."""
    return torch.nn.Sequential(*model.blocks[TAIL:], model.conv_head, model.bn2, model.global_pool)


def export(module: torch.nn.Module, file: Path) -> Path:
    """Write a module of pixels as ONNX."""
    example = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    torch.onnx.export(module, (example,), file, dynamo=False, input_names=["pixels"])
    return file


class Engine:
    """Runs an ONNX file of two outputs through OpenVINO on every core, pictures side by side."""

    def __init__(self, file: Path, precision: str) -> None:
        import openvino

        options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "THROUGHPUT"}
        self.queue = openvino.AsyncInferQueue(openvino.Core().compile_model(file, "CPU", options))

    def run(self, count: int, pixels: Callable[[int], NDArray[np.float32]]) -> list[NDArray[np.float16]]:
        """Every output of `count` pictures, float16 (count, ...); `pixels` gives one picture's (3, 240, 240)."""
        found: list[list[Any]] = [[None] * count for _ in range(2)]

        def keep(request: Any, at: int) -> None:
            for number, values in enumerate(found):
                values[at] = request.get_output_tensor(number).data[0].astype(np.float16)

        self.queue.set_callback(keep)
        for at in range(count):
            self.queue.start_async({0: pixels(at)[None]}, at)
        self.queue.wait_all()
        return [np.stack(values) for values in found]


def compute(rows: list[Row], reader: Reader, body: Path, work: Path) -> None:
    """Write the missing files, one view after the other; the plain view in full precision."""
    for name in ("features", "maps"):
        (work / name).mkdir(parents=True, exist_ok=True)
    for number in range(VIEWS):
        engine = Engine(body, "bf16" if number else "f32")
        for first in range(0, len(rows), CHUNK):
            name = f"{number}-{first // CHUNK:03d}.npy"
            if (work / "features" / name).exists():
                continue
            chunk = rows[first : first + CHUNK]

            def pixels(at: int, chunk: list[Row] = chunk, first: int = first, number: int = number) -> Any:
                draw = random.Random(f"{number} {first + at}") if number else None
                return prepare(view(reader.read(chunk[at]), chunk[at].kind, draw))

            maps, pooled = engine.run(len(chunk), pixels)
            _write(work / "maps" / name, maps)
            _write(work / "features" / name, pooled)
            print(f"view {number}: {first + len(chunk)} of {len(rows)} pictures", flush=True)


def _write(file: Path, values: NDArray[np.float16]) -> None:
    with file.with_suffix(".part").open("wb") as stream:
        np.save(stream, values)
    file.with_suffix(".part").replace(file)


def load_rows(work: Path) -> list[Row]:
    """Every row of the run."""
    return [Row(**{**row, "labels": tuple(row["labels"])}) for row in json.loads((work / "rows.json").read_text())]


def load(work: Path, number: int = 0) -> tuple[list[Row], torch.Tensor]:
    """Return the rows that have features so far in this view, and the features: float32 (rows, 1280)."""
    rows, numbers = load_rows(work), load_numbers(work, number)
    files = sorted((work / "features").glob(f"{number}-*.npy"))
    features = np.concatenate([np.load(file) for file in files]).astype(np.float32)
    return [rows[at] for at in numbers], torch.from_numpy(features)


def load_numbers(work: Path, number: int = 0) -> NDArray[np.int64]:
    """Which rows have features so far in this view."""
    total = len(load_rows(work))
    files = sorted((work / "features").glob(f"{number}-*.npy"))
    firsts = [int(file.stem.partition("-")[2]) * CHUNK for file in files]
    return np.concatenate([np.arange(first, min(first + CHUNK, total)) for first in firsts])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("archives", type=Path, nargs="+")
    args = parser.parse_args()
    archives = [Archive(path) for path in args.archives]
    rows = rows_of(archives, args.work)
    (args.work / "rows.json").write_text(json.dumps([asdict(row) for row in rows]), encoding="utf-8")
    body = export(Body(tower(packages.start_weights(args.work))).eval(), args.work / "body.onnx")
    compute(rows, Reader(archives, args.work), body, args.work)


if __name__ == "__main__":
    main()
