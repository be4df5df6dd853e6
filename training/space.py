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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, normalize

from training import material as pictures
from training.sources import Archive
from training.vocabulary import IMAGENET

if TYPE_CHECKING:
    from training.material import Material

DIM = 512
SHRINKAGE = 0.35
ENOUGH = 20
"""Pictures from which a class mean counts fully when the directions are chosen."""
NOISE = 0.5
BATCH, MOVED_BATCH, MOVED = 256, 96, 4000
BROAD = 0.7
"""How often a picture with a broad and a fine name is asked for the broad one."""
DRAWN_OPINION = 0.15
"""What the opinion on a drawing counts: the starting network has hardly seen any."""


class Space(nn.Module):
    """The projection and the vectors of the concepts."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, concepts: torch.Tensor) -> None:
        super().__init__()
        self.projection = nn.Linear(weight.shape[1], DIM)
        self.projection.weight.data, self.projection.bias.data = weight, bias
        self.start = concepts
        self.concepts = nn.Parameter(concepts.clone())
        self.scales = nn.Parameter(torch.tensor([20.0, 25.0]).log())

    @classmethod
    def restored(cls, work: Path) -> Space:
        """What WORK/space.pt holds; the concepts stay there from now on."""
        state = torch.load(work / "space.pt", weights_only=False)
        made = cls(state["projection"]["weight"], state["projection"]["bias"], state["concepts"])
        made.concepts.requires_grad_(requires_grad=False)
        made.scales.data = state["scales"]
        return made

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


@dataclass
class Seen:
    """A batch: which pictures, their unit vectors, and the starting network's probabilities of the 1,000 classes."""

    numbers: torch.Tensor
    vectors: torch.Tensor
    opinion: torch.Tensor


def losses(space: Space, material: Material, seen: Seen) -> torch.Tensor:
    """The name among the set's, among all unrelated ones, and the starting network's opinion."""
    concepts = normalize(space.concepts, dim=1)
    cosines = seen.vectors @ concepts.T
    scaled = cosines * space.scales[0].exp()
    sets, rows = material.set_of[seen.numbers], torch.arange(len(cosines))
    broad = torch.rand(len(cosines)) < BROAD
    right = torch.where(broad, material.broad[seen.numbers], material.fine[seen.numbers])
    choices = torch.where(broad[:, None], material.broad_choices[sets], material.fine_choices[sets])
    choices &= ~material.same[right]
    choices[rows, right] = True
    in_set = cross_entropy(scaled.masked_fill(~choices, -1e4), right)
    others = ~material.related[right] & ~(material.emoji_only & ~material.fine_choices[sets])
    others[:, IMAGENET:] &= material.has_picture[IMAGENET:]
    others[rows, right] = True
    in_all = cross_entropy(scaled.masked_fill(~others, -1e4), right)
    kept = opinion_lost(space, seen.vectors, seen.opinion) * torch.where(
        material.drawn[seen.numbers], DRAWN_OPINION, 1.0
    )
    drift = (space.concepts - space.start).pow(2).sum(1).mean()
    return in_set + 0.3 * in_all + 0.7 * kept.mean() + 0.05 * drift


def opinion_lost(space: Space, vectors: torch.Tensor, opinion: torch.Tensor) -> torch.Tensor:
    """How far the 1,000 names are from the starting network's opinion: a divergence for each picture."""
    scores = vectors @ normalize(space.concepts[:IMAGENET], dim=1).T * space.scales[1].exp()
    return kl_div(scores.log_softmax(1), opinion, reduction="none").sum(1)


def polish(space: Space, material: Material, steps: int, seed: int, rate: float = 1e-4) -> None:
    """Gradient descent; names that are fixed stay."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    fake, weights = moved(material, generator), material.weights()
    groups = [
        {"params": list(space.projection.parameters()), "lr": rate},
        {"params": [space.scales], "lr": 5e-3},
    ]
    if space.concepts.requires_grad:
        groups.append({"params": [space.concepts], "lr": 2e-3})
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, [group["lr"] for group in groups], steps, pct_start=0.1)
    for step in range(steps):
        numbers = torch.from_numpy(generator.choice(len(weights), BATCH, p=weights))
        some = torch.from_numpy(generator.integers(0, MOVED, MOVED_BATCH))
        values = material.draw(numbers)
        seen = Seen(numbers, space.vectors(values, NOISE), material.opinion(values))
        loss = losses(space, material, seen) + opinion_lost(space, space.vectors(fake[0][some]), fake[1][some]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("archives", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    material = pictures.load(args.work, [Archive(path) for path in args.archives])
    space = Space(*discriminant(material))
    polish(space, material, args.steps, args.seed)
    known = material.has_picture.clone()
    known[:IMAGENET] = True
    concepts = normalize(space.concepts.detach(), dim=1) * known[:, None]
    state = {
        "projection": space.projection.state_dict(),
        "concepts": concepts,
        "words": material.words,
        "scales": space.scales.detach(),
    }
    torch.save(state, args.work / "space.pt")


if __name__ == "__main__":
    main()
