"""Teacher vectors of a few crops of every training picture, computed once, in the background, resumable.

    python -m training.teacher WORK MODEL [--size 160] [--views 3]

MODEL is an OpenCLIP folder (open_clip_config.json and weights). Writes crops.npy (float32, views x pictures x 2 x 3:
where each view looks) and teacher.npy (float16, unit vectors, views x pictures x dim; zeros are not done yet). The
student is shown the same crops, so that it agrees with what the teacher saw and not with what it might have seen
elsewhere (L. Beyer et al., "Knowledge distillation: A good teacher is patient and consistent", arXiv:2106.05237).
Held-out pictures are skipped: the student must not see them in any form.
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

from training.augment import Augmenter, sampled
from training.pictures import read_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 64
SEED = 20_240
SMALL = {"cifar10"}  # 32 px pictures tell the teacher least: they come last


def order(work: Path, views: int) -> list[tuple[int, int]]:
    """The views and rows to do, the most useful first."""
    rows = read_rows(work / "photos.jsonl")
    mine = [(view, i) for view in range(views) for i, row in enumerate(rows) if not row.held_out]
    return sorted(mine, key=lambda place: (rows[place[1]].source in SMALL, place))


def files(work: Path, views: int, rows: int, dim: int) -> tuple[NDArray[np.float32], np.memmap]:
    """Where each view looks, and the memory-mapped vectors: made on the first run, continued after."""
    path, crops = work / "teacher.npy", work / "crops.npy"
    if path.exists():
        return np.load(crops), np.lib.format.open_memmap(path, mode="r+")
    augmenter = Augmenter(0, torch.Generator().manual_seed(SEED))
    np.save(crops, torch.stack([augmenter.crops(rows) for _ in range(views)]).numpy())
    return np.load(crops), np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(views, rows, dim))


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


def run(work: Path, model: str, size: int, views: int, limit: int | None) -> None:
    """Fill in the vectors that are not there yet, up to `limit` of them."""
    teacher, dim = session(work, model, size)
    photos = np.load(work / "photos.npy", mmap_mode="r")
    crops, out = files(work, views, len(photos), dim)
    todo = [place for place in order(work, len(out)) if not out[place].any()][:limit]
    began = time.monotonic()
    for start in range(0, len(todo), BATCH):
        view, rows = np.array(todo[start : start + BATCH]).T
        padded = np.resize(np.arange(len(rows)), BATCH)
        pixels = torch.from_numpy(photos[rows[padded]]).permute(0, 3, 1, 2).float() / 255
        seen = sampled(pixels, torch.from_numpy(crops[view[padded], rows[padded]]), size, "reflection")
        vectors = teacher.run(None, {"pixels": seen.numpy()})[0]
        out[view, rows] = vectors[: len(rows)].astype(np.float16)
        if start // BATCH % 20 == 0:
            out.flush()
            print(f"{start + len(view)}/{len(todo)} after {time.monotonic() - began:.0f} s", flush=True)
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
    parser.add_argument("--views", type=int, default=3, help="crops of each picture")
    parser.add_argument("--limit", type=int, help="stop after this many crops; a later run goes on")
    args = parser.parse_args()
    torch.set_num_threads(2)
    encode_names(args.work, args.model)
    run(args.work, args.model, args.size, args.views, args.limit)


if __name__ == "__main__":
    main()
