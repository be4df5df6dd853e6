"""Held-out accuracy of a model folder, zero-shot through its text tower.

    python -m training.evaluate WORK MODEL RESULTS.json ZIP_OR_FOLDER... [--size 64] [--templates prompts/photo.txt]

Pictures are read from their files again and prepared by open_clip's own transform. Pictograms are drawn at another
size, angle and place on other backgrounds, from a seed that training does not use.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import nn

from training.augment import Augmenter, normalised
from training.concepts import split_style
from training.data import read_emoji
from training.sources import Archive, Picture, pictures
from training.words import clean

BATCH = 250
EMOJI_SEED = 987_654
DEFAULT_TEMPLATES = ["a photo of a {}."]


def name_of(picture: Picture) -> str:
    """What a picture is tested for: the object, whatever its style; the coarse name of groceries."""
    return clean(split_style(picture.label.partition("/")[0])[0])


class Judge:
    """A model folder at one image size, with one set of templates."""

    def __init__(self, folder: Path, size: int | None, templates: list[str]) -> None:
        spec = f"local-dir:{folder}"
        self.model, _, self.prepare = open_clip.create_model_and_transforms(spec, force_image_size=size)
        self.model.eval()
        self.tokenizer = open_clip.get_tokenizer(spec)
        self.templates = templates

    @torch.inference_mode()
    def names(self, names: list[str]) -> torch.Tensor:
        """A unit vector a name: the mean over the templates."""
        texts = [template.replace("{}", name) for name in names for template in self.templates]
        parts = [self.model.encode_text(part, normalize=True) for part in self.tokenizer(texts).split(256)]
        mean = torch.cat(parts).view(len(names), len(self.templates), -1).mean(1)
        return nn.functional.normalize(mean, dim=-1)

    @torch.inference_mode()
    def images(self, pixels: torch.Tensor) -> torch.Tensor:
        """Unit vectors of prepared pictures."""
        return torch.cat([self.model.encode_image(part, normalize=True) for part in pixels.split(BATCH)])

    def score(self, pixels: torch.Tensor, truth: list[str], names: list[str]) -> dict[str, float]:
        """Top-1 and top-5 accuracy among the names, and the loss at the model's own logit scale."""
        right = torch.tensor([names.index(name) for name in truth])
        cosines = self.images(pixels) @ self.names(names).T
        best = cosines.topk(min(5, len(names))).indices
        scale = self.model.logit_scale.exp().detach()
        return {
            "pictures": len(truth),
            "names": len(names),
            "top1": round(100 * (best[:, 0] == right).float().mean().item(), 1),
            "top5": round(100 * (best == right[:, None]).any(1).float().mean().item(), 1),
            "loss": round(nn.functional.cross_entropy(scale * cosines, right).item(), 3),
        }


def held_out(archive: Archive) -> dict[str, list[Picture]]:
    """The held-out pictures of an archive by set."""
    sets: dict[str, list[Picture]] = {}
    for picture in pictures(archive):
        if picture.held_out:
            sets.setdefault(picture.source, []).append(picture)
    return sets


def names_by_set(archive: Archive) -> dict[str, list[str]]:
    """Every name of every set of an archive, held-out pictures or not: the choices of the test."""
    sets: dict[str, set[str]] = {}
    for picture in pictures(archive):
        sets.setdefault(picture.source, set()).add(name_of(picture))
    return {source: sorted(names) for source, names in sets.items()}


def emoji_pixels(work: Path, size: int) -> torch.Tensor:
    """Every pictogram once, on a plain or sloping background."""
    drawn = torch.from_numpy(np.load(work / "emoji.npy")).permute(0, 3, 1, 2).float() / 255
    augmenter = Augmenter(size, torch.Generator().manual_seed(EMOJI_SEED))
    plain = torch.rand(len(drawn), 3, 1, 1, generator=augmenter.generator).expand(-1, -1, size, size)
    placed, _ = augmenter.pictograms(drawn, augmenter.grounds(len(drawn), plain))
    return normalised(placed)


def evaluate(judge: Judge, work: Path, archives: list[Archive], size: int) -> dict[str, Any]:
    """Accuracy by set."""
    results: dict[str, Any] = {}
    for archive in archives:
        if "pairs.json" in archive:
            names = [clean(emoji.name) for emoji in read_emoji(work)]
            results["emoji"] = judge.score(emoji_pixels(work, size), names, sorted(set(names)))
            continue
        every = names_by_set(archive)
        for source, rows in held_out(archive).items():
            images = [Image.open(io.BytesIO(archive.read(row.path))) for row in rows]
            pixels = torch.stack([judge.prepare(image) for image in images])
            results[source] = judge.score(pixels, [name_of(row) for row in rows], every[source])
    return results


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("archives", type=Path, nargs="+")
    parser.add_argument("--size", type=int, default=None, help="another image size than the model's own")
    parser.add_argument("--templates", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = args.templates.read_text(encoding="utf-8").splitlines() if args.templates else DEFAULT_TEMPLATES
    judge = Judge(args.model, args.size, [line for line in lines if "{}" in line and not line.startswith("#")])
    size = args.size or judge.model.visual.image_size
    size = size[0] if isinstance(size, tuple) else size
    results = evaluate(judge, args.work, [Archive(path) for path in args.archives], size)
    args.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for name, row in results.items():
        print(f"{name:32} {row}")


if __name__ == "__main__":
    main()
