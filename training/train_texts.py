"""Train the text tower towards the concept vectors of the image run, and write the OpenCLIP model.

    python -m training.train_texts WORK OUT --templates prompts/*.txt

May run beside train_images.py: it reads WORK/images.pt again whenever that changes and writes OUT (a link to a model
folder) at the same pace. Keeps WORK/texts.pt and continues from it. Ends after --steps steps.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from training.data import load
from training.model import build, write
from training.texts import Texts, encode, text_loss

SAVE_SECONDS = 150
START_SCALE = 25.0


def read_templates(files: list[Path]) -> list[str]:
    """The lines of template files that hold a {}."""
    lines = [line.strip() for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if "{}" in line and not line.startswith("#")]


class TextRun:
    """The text tower, its optimizer, and the image run it follows."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.args = args
        self.texts = Texts(load(args.work, args.seed), read_templates(args.templates), args.seed)
        self.model = build(args.size)
        names = [(n, p) for n, p in self.model.named_parameters() if not n.startswith("visual.") and n != "logit_scale"]
        self.parameters = [p for _, p in names]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=args.rate, weight_decay=0.0, fused=True)
        self.step = 0
        self.seen_at = 0.0
        self.used = torch.zeros(len(self.model.token_embedding.weight), dtype=torch.bool)
        self.file = args.work / "texts.pt"

    def follow(self) -> None:
        """Take the image run's averaged tower and vectors if it has written new ones."""
        file = self.args.work / "images.pt"
        changed = file.stat().st_mtime
        if changed == self.seen_at:
            return
        state = torch.load(file, weights_only=True)["average"]
        visual = {name.removeprefix("visual."): value for name, value in state.items() if name.startswith("visual.")}
        self.model.visual.load_state_dict(visual)
        table = torch.cat([state["concepts"], state["names"]])
        self.prototypes = nn.functional.normalize(table, dim=-1)
        self.seen_at = changed

    def once(self, learning_rate: float) -> float:
        """One step."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        tokens, mixes = self.texts.draw(self.args.batch)
        self.used[tokens.unique()] = True
        value = text_loss(encode(self.model, tokens), mixes, self.prototypes, self.texts.concepts)
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        return value.item()

    def save(self) -> None:
        """Checkpoint and model folder."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        state |= {"step": self.step, "used": self.used}
        torch.save(state, self.file.with_suffix(".part"))
        self.file.with_suffix(".part").replace(self.file)
        weights = dict(self.model.state_dict())
        table = weights["token_embedding.weight"].clone()
        table[~self.used] = table[self.used].mean(0)  # words never met all mean the same: nothing in particular
        weights["token_embedding.weight"] = table
        weights["logit_scale"] = torch.tensor(np.log(self.args.scale), dtype=torch.float32)
        write(weights, self.args.size, self.args.out)

    def resume(self) -> None:
        """Continue an earlier run."""
        if self.file.exists():
            state: dict[str, Any] = torch.load(self.file, weights_only=True)
            self.model.load_state_dict(state["model"])
            if "optimizer" in state:  # a reopened model has none
                self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.used = state["step"], state["used"]


def train(run: TextRun, args: argparse.Namespace) -> None:
    """Steps until the last, following the image run."""
    run.resume()
    saved, recent = time.monotonic(), []
    while run.step < args.steps:
        run.follow()
        left = (args.steps - run.step) / max(1.0, args.steps * args.fall)
        recent.append(run.once(args.rate * min(1.0, (run.step + 1) / 100, left)))
        if run.step % 25 == 0:
            print(json.dumps({"step": run.step, "loss": round(float(np.mean(recent)), 4)}), flush=True)
            recent.clear()
        if time.monotonic() - saved > SAVE_SECONDS:
            run.save()
            saved = time.monotonic()
    run.follow()
    run.save()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--templates", type=Path, nargs="*", default=[])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--size", type=int, default=64, help="image size that the written model asks for")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--fall", type=float, default=0.25)
    parser.add_argument("--scale", type=float, default=START_SCALE, help="logit scale of the written model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(TextRun(args), args)


if __name__ == "__main__":
    main()
