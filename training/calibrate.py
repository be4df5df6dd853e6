"""Set the logit scale of a model folder so that its scores on held-out pictures are most honest.

    python -m training.calibrate MODEL ZIP_OR_FOLDER...

Takes the scale with the smallest cross-entropy over all sets, each set weighing the same, and writes the folder again.
"""

from __future__ import annotations

import argparse
import io
import math
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from training.evaluate import DEFAULT_TEMPLATES, Judge, held_out, name_of, names_by_set
from training.model import write
from training.sources import Archive

SMALLEST_SET = 60  # smaller held-out sets say too little
SCALES = [2.0 ** (step / 8) for step in range(16, 54)]  # 4 to 98

Case = tuple[torch.Tensor, torch.Tensor]  # cosines, right answers


def cases(judge: Judge, archives: list[Archive]) -> list[Case]:
    """Cosines and answers of every large enough held-out set."""
    found = []
    for archive in (a for a in archives if "pairs.json" not in a):
        every = names_by_set(archive)
        for source, rows in held_out(archive).items():
            truth = [name_of(row) for row in rows]
            names = every[source]
            if len(rows) < SMALLEST_SET or len(names) < 2:
                continue
            images = [Image.open(io.BytesIO(archive.read(row.path))) for row in rows]
            cosines = judge.images(torch.stack([judge.prepare(image) for image in images])) @ judge.names(names).T
            found.append((cosines, torch.tensor([names.index(name) for name in truth])))
    return found


def best_scale(found: list[Case]) -> float:
    """The scale of the smallest mean loss over the sets."""

    def cost(scale: float) -> float:
        return sum(nn.functional.cross_entropy(scale * cosines, right).item() for cosines, right in found)

    return min(SCALES, key=cost)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("archives", type=Path, nargs="+")
    args = parser.parse_args()
    torch.set_num_threads(1)
    judge = Judge(args.model, None, DEFAULT_TEMPLATES)
    with torch.inference_mode():
        scale = best_scale(cases(judge, [Archive(path) for path in args.archives]))
    weights = load_file(args.model / "open_clip_model.safetensors")
    weights["logit_scale"] = torch.tensor(math.log(scale))
    size = judge.model.visual.image_size
    write(weights, size[0] if isinstance(size, tuple) else size, args.model)
    print(f"logit scale {scale:.1f}")


if __name__ == "__main__":
    main()
