"""The pictures of the recipe as numbers: what the starting tower sees in them, how they are called, how often shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from training import features, packages, vocabulary
from training.vocabulary import IMAGENET, Vocabulary
from training.words import keywords

if TYPE_CHECKING:
    from pathlib import Path

    from training.rows import Row
    from training.sources import Archive

SET_POWER = -0.35
EMOJI_SHARE = 0.5


@dataclass
class Material:
    """Features with their names, and the starting classifier."""

    rows: list[Row]
    views: torch.Tensor
    """What the starting tower sees: float16 (views, rows, 1280); the first view is the plain picture."""
    labels: list[list[int]]
    """Concepts of each picture, broad to narrow."""
    classifier: torch.Tensor
    bias: torch.Tensor
    words: Vocabulary

    def __post_init__(self) -> None:
        self.features = self.views[0].float()
        self.training = torch.tensor([not row.held_out for row in self.rows])
        self.fine = torch.tensor([numbers[-1] for numbers in self.labels])
        self.broad = torch.tensor([numbers[0] for numbers in self.labels])
        sets = _sets(self.rows)
        self.sets = sorted(set(sets))
        self.set_of = torch.tensor([self.sets.index(name) for name in sets])
        self.drawn = torch.tensor([row.kind != "photo" for row in self.rows])
        self.middle = self.features[self.training].mean(0)
        self.broad_choices, self.fine_choices = self._choices(self.broad), self._choices(self.fine)
        self.related, self.same = related(self.words), alike(self.words)
        in_sets = self.broad_choices | self.fine_choices
        self.has_picture = in_sets.any(0)
        drawn = torch.tensor([name == "emoji" for name in self.sets])
        self.emoji_only = in_sets[drawn].any(0) & ~in_sets[~drawn].any(0)
        self.emoji_only[:IMAGENET] = False

    def _choices(self, labels: torch.Tensor) -> torch.Tensor:
        """Which concepts each set asks for: bool (sets, concepts)."""
        found = torch.zeros(len(self.sets), len(self.words.concepts), dtype=torch.bool)
        found[self.set_of, labels] = True
        return found

    def weights(self) -> np.ndarray:
        """How often each picture is shown: small sets more often than their size, pictures kept out never."""
        sizes = Counter(self.set_of[self.training].tolist())
        weights = np.array([sizes[number] ** SET_POWER if number in sizes else 0.0 for number in self.set_of.tolist()])
        weights *= self.training.numpy() * np.where([row.set.startswith("emoji/") for row in self.rows], EMOJI_SHARE, 1)
        return weights / weights.sum()

    def draw(self, numbers: torch.Tensor) -> torch.Tensor:
        """The numbers of these pictures, each in a view drawn at random."""
        return self.views[torch.randint(len(self.views), (len(numbers),)), numbers].float()

    def opinion(self, values: torch.Tensor) -> torch.Tensor:
        """The starting network's probabilities of the 1,000 classes."""
        return (values @ self.classifier.T + self.bias).softmax(1)


def _sets(rows: list[Row]) -> list[str]:
    """The set of each picture: all styles of emoji are one, and an icon belongs where sketches of its kind are."""
    names: dict[str, set[str]] = {}
    for row in rows:
        names.setdefault(row.set, set()).update(row.labels)
    homes = {label: row.set for row in sorted(rows, key=lambda row: len(names[row.set])) for label in row.labels
             if not row.set.startswith("icons/")}  # fmt: skip
    found = [homes[row.labels[0]] if row.set.startswith("icons/") else row.set for row in rows]
    return ["emoji" if name.startswith("emoji/") else name for name in found]


def related(words: Vocabulary) -> torch.Tensor:
    """Concepts of different sets that may mean the same thing: a shared word, a synonym, a kind and its members."""
    holders: dict[str, list[int]] = {}
    for text, members in [*((name, [at]) for at, name in enumerate(words.concepts)), *words.meanings.items()]:
        for word in keywords(text):
            holders.setdefault(word, []).extend(members)
    found = torch.zeros(len(words.concepts), len(words.concepts), dtype=torch.bool)
    for at, name in enumerate(words.concepts):
        for word in keywords(name):
            found[at, holders[word]] = True
    return found | found.T | alike(words)


def alike(words: Vocabulary) -> torch.Tensor:
    """Concepts of which one text means both, and a kind with its members: they never compete, in no set."""
    number = {name: at for at, name in enumerate(words.concepts)}
    found = torch.eye(len(words.concepts), dtype=torch.bool)
    for members in words.meanings.values():
        if len(members) > 1:
            found[torch.tensor(members)[:, None], torch.tensor(members)] = True
    for kind, members in words.kinds.items():
        if kind in number:
            found[number[kind], members] = True
    return found | found.T


def load(work: Path, archives: list[Archive], views: int = features.VIEWS) -> Material:
    """Everything that `features` has computed."""
    rows, plain = features.load(work)
    values = torch.empty(views, *plain.shape, dtype=torch.float16)
    values[0] = plain
    for number in range(1, views):
        values[number] = features.load(work, number)[1]
    words = vocabulary.build((label for row in rows for label in row.labels), archives, work)
    weights = packages.start_weights(work)
    labels = [[words.number(label) for label in row.labels] for row in rows]
    return Material(rows, values, labels, weights["classifier.weight"], weights["classifier.bias"], words)
