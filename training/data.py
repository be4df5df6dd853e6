"""The training material in memory, and batches drawn from it by set."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from training.augment import DRAWING, Augmenter, normalised
from training.colours import dominant, may_turn
from training.concepts import COLOURS, COLUMNS, Concepts, labels_of
from training.pictures import read_rows
from training.shapes import drawings
from training.sources import Emoji, Picture

if TYPE_CHECKING:
    from pathlib import Path

SHARES = {  # how much of a batch each set fills
    "tiny_imagenet": 0.36,
    "cifar10": 0.17,
    "caltech101": 0.08,
    "clothing": 0.06,
    "grocery": 0.05,
    "pacs": 0.06,
    "small_sets": 0.07,
    "shapes": 0.02,
    "emoji": 0.12,
}
OTHER_SHARE = 0.07  # of sets that are not named above
SHAPES_DRAWN = 3000
PHOTO_WEIGHTS = (1.0, 0.15, 0.0)  # how much an object and a style count
SHAPE_WEIGHTS = (1.0, 1.0, 1.0)  # shape, colour, count
EMOJI_WEIGHTS = (1.0, 0.15, 0.3)  # object, style, colour
Ints = NDArray[np.int64]


def read_emoji(work: Path) -> list[Emoji]:
    """The pictograms of emoji.jsonl."""
    rows = [json.loads(line) for line in (work / "emoji.jsonl").read_text(encoding="utf-8").splitlines()]
    return [Emoji(row["file"], row["name"], tuple(row["keywords"])) for row in rows]


@dataclass
class Material:
    """Everything a training run reads."""

    concepts: Concepts
    pictures: list[Picture]
    photos: NDArray[np.uint8]
    photo_labels: Ints
    pictograms: list[Emoji]
    emoji: NDArray[np.uint8]
    emoji_labels: Ints
    emoji_may_turn: torch.Tensor
    shapes: NDArray[np.uint8]
    shape_labels: Ints
    teacher: NDArray[np.float16] | None


def load(work: Path, seed: int) -> Material:
    """Read the decoded pictures and draw the shapes."""
    concepts = Concepts()
    pictures, pictograms = read_rows(work / "photos.jsonl"), read_emoji(work)
    photo_labels = labels_of(concepts, pictures)
    style = concepts.index["style:pictogram"]
    emoji_labels = np.array([(concepts.of_emoji(emoji), style, -1) for emoji in pictograms])
    pixels = np.load(work / "emoji.npy")
    drawn, triples = drawings(SHAPES_DRAWN, pixels.shape[1], seed)
    families = ("shape", "colour", "count")
    shape_labels = [[concepts.index[f"{f}:{name}"] for f, name in zip(families, row, strict=True)] for row in triples]
    vectors = work / "teacher.npy"
    teacher = np.load(vectors, mmap_mode="r") if vectors.exists() else None
    photos = np.load(work / "photos.npy", mmap_mode="r")
    return Material(
        concepts,
        pictures,
        photos,
        photo_labels,
        pictograms,
        pixels,
        emoji_labels,
        may_turn(emoji.name for emoji in pictograms),
        drawn,
        np.array(shape_labels),
        teacher,
    )


@dataclass
class Batch:
    """Normalised pixels, up to three concepts a picture and their weights, and the teacher's vectors (zeros: none)."""

    pixels: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    teacher: torch.Tensor


class Batches:
    """Endless batches with fixed shares of the sets."""

    def __init__(self, material: Material, size: int, batch: int, generator: torch.Generator) -> None:
        self.material = material
        self.generator = generator
        self.augmenter = Augmenter(size, generator)
        rows: dict[str, list[int]] = {}
        for i, picture in enumerate(material.pictures):
            if not picture.held_out:
                rows.setdefault(picture.source.partition("/")[0], []).append(i)
        self.rows = {name: np.array(found) for name, found in rows.items()}
        shares = {name: SHARES.get(name, OTHER_SHARE) for name in (*self.rows, "shapes", "emoji")}
        self.counts = {name: round(batch * share / sum(shares.values())) for name, share in shares.items()}

    def _pick(self, rows: Ints, count: int) -> Ints:
        """That many rows at random."""
        chosen: Ints = rows[torch.randint(len(rows), (count,), generator=self.generator).numpy()]
        return chosen

    def draw(self) -> Batch:
        """One batch."""
        mine = self.material
        picked = np.concatenate([self._pick(rows, self.counts[name]) for name, rows in self.rows.items()])
        picked = np.sort(picked)  # in the order of the file
        photos = self.augmenter.photos(_floats(mine.photos[picked]))
        shapes = self._pick(np.arange(len(mine.shapes)), self.counts["shapes"])
        drawn = self.augmenter.photos(_floats(mine.shapes[shapes]), DRAWING)
        emoji = self._pick(np.arange(len(mine.emoji)), self.counts["emoji"])
        placed, named = self._pictograms(emoji, photos)
        parts = [mine.photo_labels[picked], mine.shape_labels[shapes], named]
        labels = torch.from_numpy(np.concatenate(parts)).view(-1, COLUMNS)
        weights = torch.tensor([PHOTO_WEIGHTS, SHAPE_WEIGHTS, EMOJI_WEIGHTS])
        weights = weights.repeat_interleave(torch.tensor([len(part) for part in parts]), dim=0)
        known = torch.zeros(len(labels), 0 if mine.teacher is None else mine.teacher.shape[1])
        if mine.teacher is not None:
            known[: len(picked)] = torch.from_numpy(mine.teacher[picked].astype(np.float32))
        return Batch(normalised(torch.cat([photos, drawn, placed])), labels, weights, known)

    def _pictograms(self, rows: Ints, photos: torch.Tensor) -> tuple[torch.Tensor, Ints]:
        """Pictograms on backgrounds, and their object, style and colour."""
        mine = self.material
        recoloured = self.augmenter.recoloured(_floats(mine.emoji[rows]), mine.emoji_may_turn[rows])
        placed, opaque = self.augmenter.pictograms(recoloured, self.augmenter.grounds(len(rows), photos))
        colours = dominant(placed, opaque).numpy()
        labels = mine.emoji_labels[rows].copy()
        labels[:, 2] = np.where(colours < 0, -1, colours + mine.concepts.index[f"colour:{COLOURS[0]}"])
        return placed, labels


def _floats(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Stored pictures as (B, C, H, W) in 0..1."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
