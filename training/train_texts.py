"""Train the text tower towards its targets.

    python -m training.train_texts WORK --templates prompts/*.txt

A text is often said in a template, and then has the same target: the tower has to learn that "a photo of a dog" is a
dog. It starts in closed form, near its targets already; `--steps 0` leaves it there. Keeps WORK/texts.pt and goes on
from it; ends after --steps steps.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import kl_div

from clipcli.prompts.sets import imagenet_templates
from training import targets
from training.features import load_rows
from training.schedule import go_on
from training.targets import KINDS, NAMES, OTHER_NAMES, OTHERS, PLURALS, RARE_NAMES, Targets, rare_names
from training.text_tower import END, LONGEST, START, TextTower, padded

BATCH = 384
SHARES = {NAMES: 0.40, RARE_NAMES: 0.10, OTHER_NAMES: 0.32, KINDS: 0.04, PLURALS: 0.04, OTHERS: 0.10}
SAID_IN_TEMPLATE = {NAMES: 0.7, RARE_NAMES: 0.5, OTHER_NAMES: 0.7, KINDS: 0.3, PLURALS: 0.3, OTHERS: 0.3}
START_WEIGHTS = {NAMES: 3.0, RARE_NAMES: 1.5, OTHER_NAMES: 1.3, KINDS: 1.0, PLURALS: 1.0, OTHERS: 1.0}
START_TEMPLATES = 4
DEFAULT_SET, DEFAULT_WEIGHT, OTHER_WEIGHT = "photo", 3.0, 0.5
COMMON = (
    "a {}",
    "an {}",
    "the {}",
    "{}.",
    "a photo of an {}.",
    "a photo of the {}.",
    "an image of a {}",
    "this is a {}",
)
SHARPNESS = 40.0
KEEP_EVERY = 100


def read_templates(files: list[Path]) -> tuple[list[str], np.ndarray]:
    """Templates of the files, of ImageNet's list and some common ones, and how often each is taken."""
    found = [(template, OTHER_WEIGHT) for template in imagenet_templates()] + [(template, 1.0) for template in COMMON]
    for file in files:
        weight = DEFAULT_WEIGHT if file.stem == DEFAULT_SET else OTHER_WEIGHT
        lines = file.read_text(encoding="utf-8").splitlines()
        found += [(line.strip(), weight) for line in lines if "{}" in line and not line.startswith("#")]
    weights = np.array([weight for _, weight in found])
    return [template for template, _ in found], weights / weights.sum()


class Texts:
    """Draws batches of texts, some in templates, as token ids."""

    def __init__(self, wanted: Targets, templates: tuple[list[str], np.ndarray], seed: int) -> None:
        from open_clip import SimpleTokenizer

        self.wanted, (self.templates, self.often) = wanted, templates
        self.tokenizer = SimpleTokenizer()
        self.generator = np.random.default_rng(seed)
        self.by_group = {group: np.flatnonzero(wanted.groups == group) for group in SHARES}

    def ids(self, text: str) -> list[int]:
        """The tokens of one text between the two that open and close it."""
        return [START, *self.tokenizer.encode(text)[:LONGEST], END]

    def examples(self) -> tuple[list[list[int]], np.ndarray]:
        """Every text bare, names in some templates too: tokens without the two that open and close, and row numbers."""
        ids, rows = [], []
        for row, (text, group) in enumerate(zip(self.wanted.texts, self.wanted.groups, strict=True)):
            said = [text]
            if group <= OTHER_NAMES:
                drawn = self.generator.choice(len(self.often), START_TEMPLATES, p=self.often)
                said += [self.templates[at].replace("{}", text) for at in drawn]
            ids += [self.ids(phrase)[1:-1] for phrase in said]
            rows += [row] * len(said)
        return ids, np.array(rows)

    def draw(self) -> tuple[np.ndarray, list[list[int]]]:
        """Row numbers and ids, short texts first."""
        rows = np.concatenate([
            self.generator.choice(self.by_group[group], round(BATCH * share))
            for group, share in SHARES.items() if len(self.by_group[group])
        ])  # fmt: skip
        said = []
        for row in rows:
            text = self.wanted.texts[row]
            if self.generator.random() < SAID_IN_TEMPLATE[self.wanted.groups[row]]:
                text = self.templates[self.generator.choice(len(self.often), p=self.often)].replace("{}", text)
            said.append(self.ids(text))
        order = np.argsort([len(text) for text in said], kind="stable")
        return rows[order], [said[at] for at in order]


class Run:
    """The tower, its optimizer and what it has to learn."""

    def __init__(self, texts: Texts, concepts: torch.Tensor, file: Path, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.texts, self.concepts, self.file, self.steps = texts, concepts, file, args.steps
        self.tower = TextTower()
        self.used = torch.zeros(len(self.tower.tokens.weight), dtype=torch.bool)
        if not file.exists():
            self.start()
        slow = [tensor for name, tensor in self.tower.named_parameters() if name != "tokens.weight"]
        self.optimizers = [
            torch.optim.AdamW(slow, lr=args.rate, betas=(0.9, 0.98), weight_decay=0.0),
            torch.optim.SparseAdam([self.tower.tokens.weight], lr=1.5 * args.rate, betas=(0.9, 0.98)),
        ]
        self.rates = [
            torch.optim.lr_scheduler.OneCycleLR(
                optimizer, optimizer.param_groups[0]["lr"], args.steps + 1, pct_start=0.1, cycle_momentum=False
            )
            for optimizer in self.optimizers
        ]
        self.slow = slow
        self.step = 0

    def start(self) -> None:
        """The closed form: near every target already."""
        ids, rows = self.texts.examples()
        weights = np.array([START_WEIGHTS[group] for group in self.texts.wanted.groups[rows]]) ** 0.5
        self.tower.start_from_words(ids, self.texts.wanted.vectors[rows], weights)
        self.tower.correct(ids, self.texts.wanted.vectors[rows], weights)
        self.used[torch.tensor([START, END, *(token for text in ids for token in text)])] = True

    def once(self) -> float:
        """One step: near the target, and as far from every known concept as the target is."""
        rows, said = self.texts.draw()
        self.used[torch.tensor([token for text in said for token in text])] = True
        half = 2 * len(said) // 3
        given = torch.cat([self.tower(*padded(said[:half])), self.tower(*padded(said[half:]))])
        wanted = self.texts.wanted.vectors[rows]
        sure = torch.from_numpy(self.texts.wanted.groups[rows] != OTHERS)
        scores = (SHARPNESS * given[sure] @ self.concepts.T).log_softmax(1)
        right = (SHARPNESS * wanted[sure] @ self.concepts.T).log_softmax(1)
        loss = 4 * (1 - (given * wanted).sum(1)).mean() + kl_div(scores, right, log_target=True, reduction="batchmean")
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.slow, 1.0)
        for part in (*self.optimizers, *self.rates):
            part.step()
        self.step += 1
        return loss.item()

    def save(self) -> None:
        """Write the checkpoint whole."""
        state = {
            "tower": self.tower.state_dict(), "step": self.step, "used": self.used,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "draws": self.texts.generator.bit_generator.state,
        }  # fmt: skip
        torch.save(state, self.file.with_suffix(".part"))
        self.file.with_suffix(".part").replace(self.file)

    def resume(self) -> None:
        """Go on from a checkpoint, if there is one."""
        if not self.file.exists():
            return
        state: dict[str, Any] = torch.load(self.file, weights_only=True)
        self.tower.load_state_dict(state["tower"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.step, self.used = state["step"], state["used"]
        for schedule in self.rates:
            go_on(schedule, self.step)
        self.texts.generator.bit_generator.state = state["draws"]

    def train(self) -> None:
        """Steps until the last."""
        self.resume()
        if self.step == 0:
            self.save()
        while self.step < self.steps:
            loss = self.once()
            if self.step % KEEP_EVERY == 0 or self.step == self.steps:
                print(f"step {self.step} of {self.steps}: loss {loss:.3f}", flush=True)
                self.save()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--templates", type=Path, nargs="*", default=[])
    parser.add_argument("--steps", type=int, default=4200)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    space = torch.load(args.work / "space.pt", weights_only=False)
    wanted = targets.build(space["words"], space["concepts"], rare_names(load_rows(args.work)), args.work)
    concepts = space["concepts"][space["concepts"].norm(dim=1) > 0]
    Run(Texts(wanted, read_templates(args.templates), args.seed), concepts, args.work / "texts.pt", args).train()


if __name__ == "__main__":
    main()
