"""The space that pictures and names share: a projection of the tower's numbers, and one vector for every concept.

    python -m training.space WORK ZIP_OR_FOLDER...

Two steps, a minute of work each. First in closed form, as linear discriminant analysis: the spread within classes is
made round, so that a class is where its pictures' mean is, and the rows of the starting classifier follow into the same
space; the 512 directions that tell most of the classes apart are kept. Then a few hundred steps of gradient descent:
each picture has to find its name among the names of its set and among unrelated ones, and has to keep the starting
network's opinion on the 1,000 ImageNet names. There are no ImageNet photos here, so the opinion is also kept on
features that were moved until the network is sure of a class that was drawn at random. Writes WORK/space.pt.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, normalize

from training import features, packages, vocabulary
from training.sources import Archive
from training.vocabulary import IMAGENET, Vocabulary
from training.words import keywords

if TYPE_CHECKING:
    from training.features import Row

DIM = 512
SHRINKAGE = 0.35
ENOUGH = 20
"""Pictures from which a class mean counts fully when the directions are chosen."""
NOISE = 0.5
SET_POWER = -0.35
EMOJI_SHARE = 0.5
BATCH, MOVED_BATCH, MOVED = 224, 96, 4000
DRAWN_OPINION = 0.15
"""What the opinion on a drawing counts: the starting network has hardly seen any."""


@dataclass
class Material:
    """Features with their names, and the starting classifier."""

    rows: list[Row]
    features: torch.Tensor
    labels: list[list[int]]
    """Concepts of each picture, broad to narrow."""
    classifier: torch.Tensor
    bias: torch.Tensor
    words: Vocabulary

    def __post_init__(self) -> None:
        self.training = torch.tensor([not row.held_out for row in self.rows])
        self.fine = torch.tensor([numbers[-1] for numbers in self.labels])
        self.broad = torch.tensor([numbers[0] for numbers in self.labels])
        self.sets = sorted({_set_of(row) for row in self.rows})
        self.set_of = torch.tensor([self.sets.index(_set_of(row)) for row in self.rows])
        self.drawn = torch.tensor(
            [row.set.startswith("emoji/") or "sketch" in row.set or "silhouettes" in row.set for row in self.rows]
        )
        self.middle = self.features[self.training].mean(0)
        self.choices = self._choices()
        self.related = _related(self.words)
        self.has_picture = self.choices.any(0)
        emoji = self.choices[[name.startswith("emoji") for name in self.sets]].any(0)
        self.emoji_only = emoji & ~self.choices[[not name.startswith("emoji") for name in self.sets]].any(0)
        self.emoji_only[:IMAGENET] = False

    def _choices(self) -> torch.Tensor:
        """Which concepts each set asks for: bool (sets, concepts)."""
        found = torch.zeros(len(self.sets), len(self.words.concepts), dtype=torch.bool)
        found[self.set_of, self.fine] = True
        found[self.set_of, self.broad] = True
        return found

    def weights(self) -> np.ndarray:
        """How often each picture is shown: small sets more often than their size, pictures kept out never."""
        sizes = Counter(self.set_of[self.training].tolist())
        weights = np.array([sizes[number] ** SET_POWER if number in sizes else 0.0 for number in self.set_of.tolist()])
        weights *= self.training.numpy() * np.where([row.set.startswith("emoji/") for row in self.rows], EMOJI_SHARE, 1)
        return weights / weights.sum()

    def opinion(self, values: torch.Tensor) -> torch.Tensor:
        """The starting network's probabilities of the 1,000 classes."""
        return (values @ self.classifier.T + self.bias).softmax(1)


def _set_of(row: Row) -> str:
    return "emoji" if row.set.startswith("emoji/") else row.set


def _related(words: Vocabulary) -> torch.Tensor:
    """Concepts that may mean the same thing and never compete: a shared word, a synonym, a kind and its members."""
    number = {name: at for at, name in enumerate(words.concepts)}
    holders: dict[str, list[int]] = {}
    for text, members in [*((name, [at]) for name, at in number.items()), *words.meanings.items()]:
        for word in keywords(text):
            holders.setdefault(word, []).extend(members)
    related = torch.eye(len(words.concepts), dtype=torch.bool)
    for at, name in enumerate(words.concepts):
        for word in keywords(name):
            related[at, holders[word]] = True
    for kind, members in words.kinds.items():
        if kind in number:
            related[number[kind], members] = True
    return related | related.T


class Space(nn.Module):
    """The projection and the vectors of the concepts."""

    def __init__(self, material: Material) -> None:
        super().__init__()
        weight, bias, concepts = discriminant(material)
        self.projection = nn.Linear(weight.shape[1], DIM)
        self.projection.weight.data, self.projection.bias.data = weight, bias
        self.start = concepts
        self.concepts = nn.Parameter(concepts.clone())
        self.scales = nn.Parameter(torch.tensor([20.0, 25.0]).log())

    def vectors(self, values: torch.Tensor, noise: float = 0.0) -> torch.Tensor:
        """Unit vectors of pictures."""
        raw = self.projection(values)
        shaken = raw + noise * torch.randn_like(raw) * raw.detach().norm(dim=1, keepdim=True) / DIM**0.5
        return normalize(shaken, dim=1)


def discriminant(material: Material) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Projection weight (512, 1280), bias (512,) and concept vectors (concepts, 512), in closed form."""
    values, labels = material.features[material.training], material.fine[material.training]
    size = len(material.words.concepts)
    counts = torch.bincount(labels, minlength=size).float()
    means = torch.zeros(size, values.shape[1]).index_add_(0, labels, values) / counts.clamp(min=1)[:, None]
    several = counts[labels] > 1
    apart = (values - means[labels])[several] * (counts[labels] / (counts[labels] - 1).clamp(min=1))[
        several, None
    ].sqrt()
    spread, axes = torch.linalg.eigh(apart.T @ apart / len(apart))
    spread = (1 - SHRINKAGE) * spread.clamp(min=0) + SHRINKAGE * spread.mean()
    whiten, widen = (axes * spread.rsqrt()) @ axes.T, (axes * spread.sqrt()) @ axes.T
    of_classes = normalize((means - material.middle) @ whiten, dim=1) * (counts > 0)[:, None]
    of_rows = normalize((material.classifier - material.classifier.mean(0)) @ widen, dim=1)
    stacked = torch.cat([of_classes * (counts.clamp(max=ENOUGH) / ENOUGH).sqrt()[:, None], 1.2 * of_rows])
    kept = torch.linalg.eigh(stacked.T @ stacked).eigenvectors[:, -DIM:]
    concepts = normalize(of_classes @ kept, dim=1)
    concepts[:IMAGENET] = normalize(normalize(of_rows @ kept, dim=1) + 0.7 * concepts[:IMAGENET], dim=1)
    weight = (whiten @ kept).T.contiguous()
    return weight, -(weight @ material.middle), concepts


def moved(material: Material, generator: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of training pictures, moved until the starting network sees another class, and its opinion then."""
    values = material.features[generator.choice(len(material.rows), MOVED, p=material.weights())].clone()
    aim = torch.arange(MOVED) % IMAGENET
    enough = torch.from_numpy(generator.uniform(0.1, 0.8, MOVED)).float()
    for _ in range(8):
        opinion = material.opinion(values)
        short = opinion.gather(1, aim[:, None])[:, 0] < enough
        upward = normalize(material.classifier[aim] - opinion @ material.classifier, dim=1)
        values = torch.where(short[:, None], (values + 2.2 * upward).clamp(0, 6), values)
    return values, material.opinion(values)


def losses(
    space: Space, material: Material, numbers: torch.Tensor, fake: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """The name among the set's, among all unrelated ones, and the starting network's opinion."""
    concepts = normalize(space.concepts, dim=1)
    cosines = space.vectors(material.features[numbers], NOISE) @ concepts.T
    rows = torch.arange(len(numbers))
    broad = torch.rand(len(numbers)) < 0.7
    right = torch.where(broad, material.broad[numbers], material.fine[numbers])
    choices = material.choices[material.set_of[numbers]] & ~material.related[right]
    choices[rows, right] = True
    scaled = cosines * space.scales[0].exp()
    in_set = cross_entropy(scaled.masked_fill(~choices, -1e4), right)
    others = ~material.related[right] & ~(material.emoji_only & ~material.choices[material.set_of[numbers]])
    others[:, IMAGENET:] &= material.has_picture[IMAGENET:]
    others[rows, right] = True
    in_all = cross_entropy(scaled.masked_fill(~others, -1e4), right)
    kept = _apart(cosines[:, :IMAGENET] * space.scales[1].exp(), material.opinion(material.features[numbers]))
    kept = (kept * torch.where(material.drawn[numbers], DRAWN_OPINION, 1.0)).mean()
    moved_kept = _apart(space.vectors(fake[0]) @ concepts[:IMAGENET].T * space.scales[1].exp(), fake[1]).mean()
    drift = (space.concepts - space.start).pow(2).sum(1).mean()
    return in_set + 0.3 * in_all + 0.7 * kept + moved_kept + 0.05 * drift


def _apart(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return kl_div(scores.log_softmax(1), wanted, reduction="none").sum(1)


def polish(space: Space, material: Material, steps: int, seed: int) -> None:
    """Gradient descent from the closed form."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    fake, weights = moved(material, generator), material.weights()
    groups = [
        {"params": space.projection.parameters(), "lr": 1e-4},
        {"params": [space.concepts], "lr": 2e-3},
        {"params": [space.scales], "lr": 5e-3},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, [group["lr"] for group in groups], steps, pct_start=0.1)
    for step in range(steps):
        numbers = torch.from_numpy(generator.choice(len(weights), BATCH, p=weights))
        some = torch.from_numpy(generator.integers(0, MOVED, MOVED_BATCH))
        loss = losses(space, material, numbers, (fake[0][some], fake[1][some]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)


def load(work: Path, archives: list[Archive]) -> Material:
    """Everything that `features` has computed so far."""
    rows, values = features.load(work)
    words = vocabulary.build((label for row in rows for label in row.labels), archives, work)
    weights = packages.start_weights(work)
    labels = [[words.number(label) for label in row.labels] for row in rows]
    return Material(rows, values, labels, weights["classifier.weight"], weights["classifier.bias"], words)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("archives", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    material = load(args.work, [Archive(path) for path in args.archives])
    space = Space(material)
    polish(space, material, args.steps, args.seed)
    known = material.has_picture.clone()
    known[:IMAGENET] = True
    concepts = normalize(space.concepts.detach(), dim=1) * known[:, None]
    state = {"projection": space.projection.state_dict(), "concepts": concepts, "words": material.words}
    torch.save(state, args.work / "space.pt")


if __name__ == "__main__":
    main()
