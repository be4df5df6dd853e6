"""Teacher vectors of every training picture, computed once, in the background, resumable.

    python -m training.teacher WORK MODEL [--size 160]

MODEL is an OpenCLIP folder (open_clip_config.json and weights). Writes teacher.npy (float16, unit vectors, a row a
picture; rows of zeros are not done yet). Held-out pictures are skipped: the student must not see them in any form.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import open_clip
import torch
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
from torch import nn

from training.pictures import read_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 64
SMALL = {"cifar10"}  # 32 px pictures tell the teacher least: they come last


def order(work: Path) -> list[int]:
    """The rows to do, the most useful sets first."""
    rows = read_rows(work / "photos.jsonl")
    mine = [i for i, row in enumerate(rows) if not row.held_out]
    return sorted(mine, key=lambda i: (rows[i].source in SMALL, i))


def enlarged(pixels: NDArray[np.uint8], size: int) -> torch.Tensor:
    """A batch of stored pictures at the teacher's size, 0..1."""
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return nn.functional.interpolate(batch, size=(size, size), mode="bilinear").clamp(0, 1).contiguous()


def vectors_file(work: Path, rows: int, dim: int) -> np.memmap:
    """The memory-mapped output, made on the first run and continued after."""
    path = work / "teacher.npy"
    if path.exists():
        return np.lib.format.open_memmap(path, mode="r+")
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(rows, dim))


class Tower(nn.Module):
    """The teacher's image tower with its own normalisation, from pixels in 0..1 to unit vectors."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual
        self.register_buffer("mean", torch.tensor(visual.image_mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(visual.image_std).view(3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Unit vectors."""
        return nn.functional.normalize(self.visual((pixels - self.mean) / self.std), dim=-1)


def session(work: Path, model: str, size: int) -> tuple[onnxruntime.InferenceSession, int]:
    """The teacher in ONNX Runtime (about three times as fast as eager PyTorch on a CPU) and its vectors' length."""
    teacher, _, _ = open_clip.create_model_and_transforms(f"local-dir:{model}")
    tower = Tower(teacher.visual).eval()
    file = work / "teacher.onnx"
    torch.onnx.export(tower, (torch.rand(BATCH, 3, size, size),), file, dynamo=False, input_names=["pixels"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"]), teacher.text_projection.shape[-1]


def run(work: Path, model: str, size: int, limit: int | None) -> None:
    """Fill in the rows that are not there yet, up to `limit` of them."""
    teacher, dim = session(work, model, size)
    photos = np.load(work / "photos.npy", mmap_mode="r")
    out = vectors_file(work, len(photos), dim)
    todo = [i for i in order(work) if not out[i].any()][:limit]
    began = time.monotonic()
    for start in range(0, len(todo), BATCH):
        rows = todo[start : start + BATCH]
        padded = (rows * BATCH)[:BATCH]
        vectors = teacher.run(None, {"pixels": enlarged(photos[padded], size).numpy()})[0]
        out[rows] = vectors[: len(rows)].astype(np.float16)
        if start // BATCH % 20 == 0:
            out.flush()
            print(f"{start + len(rows)}/{len(todo)} after {time.monotonic() - began:.0f} s", flush=True)
    out.flush()


@torch.inference_mode()
def encode_names(work: Path, model: str) -> None:
    """Write teacher_names.npy: the teacher's own text vectors of the 1,000 ImageNet names."""
    teacher, _, _ = open_clip.create_model_and_transforms(f"local-dir:{model}")
    tokens = open_clip.get_tokenizer(f"local-dir:{model}")([f"a photo of a {name}" for name in IMAGENET_CLASSNAMES])
    vectors = [teacher.eval().encode_text(part, normalize=True) for part in tokens.split(100)]
    np.save(work / "teacher_names.npy", torch.cat(vectors).numpy())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("model")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--limit", type=int, help="stop after this many pictures; a later run goes on")
    args = parser.parse_args()
    torch.set_num_threads(2)
    encode_names(args.work, args.model)
    run(args.work, args.model, args.size, args.limit)


if __name__ == "__main__":
    main()
