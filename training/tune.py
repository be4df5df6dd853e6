"""Fit the projection to the names as they are said, and tune the last stages of the tower.

    python -m training.tune WORK ZIP_OR_FOLDER...

Names stay where the text tower says them; pictures are drawn to them. `--steps 0` fits the projection alone. More steps
tune the last stages: small pictures, pen sketches and drawings are new to the starting network. What it knew is kept in
three ways: its opinion on the 1,000 ImageNet names and its pooled numbers are targets for every picture, the more the
surer it was, and the tuned weights are mixed with the old ones at the end (`--mix`, chosen by `evaluate`'s figures).
Reads the maps that `features` kept, so that the first stages never run. Keeps WORK/tuning.pt and goes on from it;
writes WORK/tuned.pt.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from training import features, packages
from training import material as pictures
from training.features import CHUNK
from training.names import said
from training.schedule import go_on
from training.sources import Archive
from training.space import NOISE, Seen, Space, losses, moved, opinion_lost, polish
from training.tail import Tail

if TYPE_CHECKING:
    from training.material import Material
if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 96
KEEP_EVERY = 50
KEPT_NUMBERS = 0.6
SETTLING, SETTLING_RATE = 300, 5e-4
"""Steps that fit the projection to the names as the text tower says them, before any stage is tuned."""
SEEN_AT_ONCE = 64


class Maps:
    """What reaches the last stages, on disk, for every view and row."""

    def __init__(self, work: Path) -> None:
        files = sorted((work / "maps").glob("*.npy"))
        self.chunks = {
            tuple(int(part) for part in file.stem.split("-")): np.load(file, mmap_mode="r") for file in files
        }

    def read(self, numbers: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        """Maps of these rows in these views: float32 (n, 112, 15, 15)."""
        found = [
            self.chunks[view, at // CHUNK][at % CHUNK]
            for at, view in zip(numbers.tolist(), views.tolist(), strict=True)
        ]
        return torch.from_numpy(np.stack(found)).float()


def whole(maps: Maps, tail: Callable[[torch.Tensor], torch.Tensor], numbers: torch.Tensor) -> torch.Tensor:
    """Pooled numbers of the plain pictures by a tail: float32 (n, 1280)."""
    parts = numbers.split(SEEN_AT_ONCE)
    with torch.inference_mode():
        return torch.cat([tail(maps.read(part, torch.zeros_like(part))) for part in parts])


def starting_tail(work: Path) -> Tail:
    """The last stages as the starting weights have them."""
    return Tail(features.tower(packages.start_weights(work)))


def tuned_tail(work: Path) -> Tail:
    """The last stages of WORK/tuned.pt."""
    tail = starting_tail(work)
    tail.load_state_dict(torch.load(work / "tuned.pt", weights_only=True)["tail"])
    return tail.eval()


def tuned_tower(work: Path) -> Any:
    """The starting tower of timm with the last stages of WORK/tuned.pt."""
    tower = features.tower(packages.start_weights(work))
    tuned_tail(work).write_into(tower)
    return tower


def mixed(old: dict[str, torch.Tensor], new: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """Weights between two states of the same shape."""
    return {name: torch.lerp(value.float(), new[name].float(), share).to(value.dtype) for name, value in old.items()}


class Run:
    """The tail, the projection and their optimizer."""

    def __init__(self, material: Material, maps: Maps, work: Path, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.material, self.maps, self.file, self.steps = material, maps, work / "tuning.pt", args.steps
        self.seed = args.seed
        self.settled: dict[str, torch.Tensor] = {}
        self.draws = np.random.default_rng(args.seed)
        self.weights = material.weights()
        self.tail = starting_tail(work)
        self.space = Space.restored(work)
        self.space.concepts.data = self.space.start = said(work, material.words.concepts)
        self.fake = moved(material, self.draws)
        self.spread = material.features[material.training].std(0).square().sum()
        rates = [args.rate, args.rate / 3, 2e-3]
        parts = [
            [value for value in self.tail.parameters() if value.requires_grad],
            list(self.space.projection.parameters()),
            [self.space.scales],
        ]
        groups = [{"params": part, "lr": rate} for part, rate in zip(parts, rates, strict=True)]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)
        self.rates = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, rates, args.steps + 1, pct_start=0.1)
        self.step = 0

    def once(self) -> float:
        """One step on pictures drawn by `Material.weights`, each in a view drawn at random."""
        numbers = torch.from_numpy(self.draws.choice(len(self.weights), BATCH, p=self.weights))
        views = torch.from_numpy(self.draws.integers(0, len(self.material.views), BATCH))
        known = self.material.views[views, numbers].float()
        opinion = self.material.opinion(known)
        with torch.autocast("cpu", torch.bfloat16):
            pooled = self.tail(self.maps.read(numbers, views)).float()
        apart = (pooled - known).square().sum(1) / self.spread
        seen = Seen(numbers, self.space.vectors(pooled, NOISE), opinion)
        loss = losses(self.space, self.material, seen) + KEPT_NUMBERS * (apart * opinion.max(1).values).mean()
        some = torch.from_numpy(self.draws.integers(0, len(self.fake[0]), BATCH // 2))
        fake = self.space.vectors(self.fake[0][some])
        loss = loss + opinion_lost(self.space, fake, self.fake[1][some]).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.tail.parameters(), 5.0)
        self.optimizer.step()
        self.rates.step()
        self.step += 1
        return loss.item()

    def save(self) -> None:
        """Write the checkpoint whole."""
        state = {
            "tail": self.tail.state_dict(), "projection": self.space.projection.state_dict(),
            "scales": self.space.scales.detach(), "optimizer": self.optimizer.state_dict(),
            "step": self.step, "settled": self.settled, "draws": self.draws.bit_generator.state,
        }  # fmt: skip
        torch.save(state, self.file.with_suffix(".part"))
        self.file.with_suffix(".part").replace(self.file)

    def resume(self) -> None:
        """Go on from a checkpoint; without one, fit the projection to the names first, on the untuned numbers."""
        if not self.file.exists():
            polish(self.space, self.material, SETTLING, self.seed, SETTLING_RATE)
            self.settled = {name: value.clone() for name, value in self.space.projection.state_dict().items()}
            self.save()
            return
        state: dict[str, Any] = torch.load(self.file, weights_only=True)
        self.tail.load_state_dict(state["tail"])
        self.space.projection.load_state_dict(state["projection"])
        self.settled = state["settled"]
        self.space.scales.data = state["scales"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.draws.bit_generator.state = state["step"], state["draws"]
        go_on(self.rates, self.step)

    def train(self) -> None:
        """Steps until the last."""
        self.resume()
        total = 0.0
        while self.step < self.steps:
            total += self.once()
            if self.step % KEEP_EVERY == 0 or self.step == self.steps:
                print(f"step {self.step} of {self.steps}: loss {total / KEEP_EVERY:.3f}", flush=True)
                total = 0.0
                self.save()


def write(work: Path, mix: float) -> None:
    """Write WORK/tuned.pt: tail and projection between those before the tuning (`mix` 0) and after it (1)."""
    tuned = torch.load(work / "tuning.pt", weights_only=True)
    start = {"tail": starting_tail(work).state_dict(), "projection": tuned["settled"]}
    torch.save({name: mixed(state, tuned[name], mix) for name, state in start.items()}, work / "tuned.pt")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("archives", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=2800)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--mix", type=float, default=0.9, help="share of the tuned weights in the written ones")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    material = pictures.load(args.work, [Archive(path) for path in args.archives])
    Run(material, Maps(args.work), args.work, args).train()
    write(args.work, args.mix)


if __name__ == "__main__":
    main()
