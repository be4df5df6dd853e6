"""The training material in memory, and batches drawn from it by set."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from training.augment import DRAWING, Augmenter, normalised
from training.concepts import COLUMNS, Concepts, labels_of
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
    emoji = np.load(work / "emoji.npy")
    drawn, triples = drawings(SHAPES_DRAWN, emoji.shape[1], seed)
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
        emoji,
        emoji_labels,
        drawn,
        np.array(shape_labels),
        teacher,
    )


@dataclass
class Batch:
    """Normalised pixels, up to three concepts a picture, and the teacher's vectors (zeros: none)."""

    pixels: torch.Tensor
    labels: torch.Tensor
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
        grounds = self.augmenter.grounds(len(emoji), photos)
        placed = self.augmenter.pictograms(_floats(mine.emoji[emoji]), grounds)
        labels = np.concatenate([mine.photo_labels[picked], mine.shape_labels[shapes], mine.emoji_labels[emoji]])
        known = torch.zeros(len(labels), 0 if mine.teacher is None else mine.teacher.shape[1])
        if mine.teacher is not None:
            known[: len(picked)] = torch.from_numpy(mine.teacher[picked].astype(np.float32))
        return Batch(normalised(torch.cat([photos, drawn, placed])), torch.from_numpy(labels).view(-1, COLUMNS), known)


def _floats(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Stored pictures as (B, C, H, W) in 0..1."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
