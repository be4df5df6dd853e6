"""Train the image tower; continue where the last run stopped.

    python -m training.train_images WORK --steps 6000
    python -m training.train_images WORK --steps 9000 --settled

Keeps WORK/images.pt (every two minutes and at the end). A later run with more steps goes on; the learning rate is level
and falls over the last part of the steps, so a longer run is the same run continued, not a new one.

With --settled the concept vectors are those that the text tower of WORK/texts.pt gives their names, and stay: the image
tower then learns what the texts really say, so that nothing is lost between the two.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed, nn

from training.concepts import rivals
from training.data import Batches, Material, load
from training.losses import loss
from training.model import Student, build
from training.texts import said

SAVE_SECONDS = 120
AVERAGE = 0.99
WARM_UP = 150


def rate(step: int, steps: int, peak: float, fall: float) -> float:
    """Learning rate: a short rise, level, then a straight fall over the last `fall` of the steps."""
    left = (steps - step) / max(1.0, steps * fall)
    return peak * min(1.0, (step + 1) / WARM_UP, max(left, 0.0) + 1e-3)


class Run:
    """A student with its optimizer, its running average and its random numbers."""

    def __init__(self, args: argparse.Namespace, material: Material) -> None:
        torch.manual_seed(args.seed)
        names = args.work / "teacher_names.npy"
        use_teacher = material.teacher is not None and names.exists()
        self.names = torch.from_numpy(np.load(names)).float() if use_teacher else None
        shape = self.names.shape if self.names is not None else (1, 1)
        self.student = Student(build(args.size).visual, len(material.concepts.names), shape[1], shape[0])
        self.student.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.student).eval()
        self.generator = torch.Generator().manual_seed(args.seed + 1000 * args.rank)
        self.rank = args.rank
        self.batches = Batches(material, args.size, args.batch, self.generator)
        self.rivals = torch.from_numpy(rivals(material.concepts))
        self.optimizer = torch.optim.AdamW(groups(self.student, args.decay), lr=args.rate, fused=True)
        self.half = args.bf16
        self.material = material
        self.step = 0
        self.file = args.work / "images.pt"

    def save(self) -> None:
        """Write the checkpoint; a run that is killed meanwhile leaves the last one whole."""
        state = {"student": self.student.state_dict(), "average": self.average.state_dict()}
        state |= {"optimizer": self.optimizer.state_dict(), "step": self.step, "random": self.generator.get_state()}
        torch.save(state, self.file.with_suffix(".part"))
        self.file.with_suffix(".part").replace(self.file)

    def resume(self) -> None:
        """Go on from the checkpoint if there is one."""
        if self.file.exists():
            state: dict[str, Any] = torch.load(self.file, weights_only=True)
            self.student.load_state_dict(state["student"])
            self.average.load_state_dict(state["average"])
            if "optimizer" not in state:  # a reopened model
                return
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
            if self.rank == 0:
                self.generator.set_state(state["random"])
            else:
                self.generator.manual_seed(1_000_003 * self.step + self.rank)

    def settle(self) -> None:
        """Take the text tower's vectors for the concepts, and leave them as they are."""
        state: dict[str, Any] = torch.load(self.file.with_name("texts.pt"), weights_only=True)
        tower = build(self.batches.augmenter.size)
        tower.load_state_dict(state["model"])
        for student in (self.student, self.average):
            kept = nn.functional.normalize(student.concepts.detach(), dim=-1)
            concepts, names = said(tower, self.material.concepts, kept)
            for table, vectors in ((student.concepts, concepts), (student.names, names)):
                if len(table) == len(vectors):
                    table.requires_grad_(requires_grad=False).copy_(vectors)

    def once(self, learning_rate: float) -> tuple[float, float]:
        """One step; the loss and the share of right guesses."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        batch = self.batches.draw()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            value, right = loss(self.student, batch, self.rivals, self.names)
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        share_gradients(self.student)
        nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        self.follow()
        return value.item(), right

    @torch.no_grad()
    def follow(self) -> None:
        """Move the running average towards the student."""
        share = min(AVERAGE, (1 + self.step) / (10 + self.step))
        for mine, theirs in zip(self.average.state_dict().values(), self.student.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1 - share)
            else:
                mine.copy_(theirs)


def share_gradients(student: nn.Module) -> None:
    """Average the gradients of all processes, if there are several."""
    if not distributed.is_initialized():
        return
    gradients = [p.grad for p in student.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def groups(student: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases, norms and the scale do not."""
    matrices = [p for p in student.parameters() if p.ndim > 1]
    others = [p for p in student.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def train(run: Run, args: argparse.Namespace) -> None:
    """Steps until the last, with a line and a checkpoint now and then."""
    run.resume()
    if args.settled:
        run.settle()
    run.student.train()
    began = saved = time.monotonic()
    start, recent = run.step, []
    while run.step < args.steps:
        recent.append(run.once(rate(run.step, args.steps, args.rate, args.fall)))
        if run.step % 25 == 0 and args.rank == 0:
            speed = (run.step - start) * args.batch * args.world / (time.monotonic() - began)
            value, right = np.mean(recent, axis=0)
            print(
                json.dumps(
                    {"step": run.step, "loss": round(value, 3), "right": round(right, 3), "per_s": round(speed)}
                ),
                flush=True,
            )
            recent.clear()
        if time.monotonic() - saved > SAVE_SECONDS and args.rank == 0:
            run.save()
            saved = time.monotonic()
    if args.rank == 0:
        run.save()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--decay", type=float, default=0.05)
    parser.add_argument("--fall", type=float, default=0.35, help="last part of the steps in which the rate falls")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--world", type=int, default=1, help="number of processes that train together")
    parser.add_argument("--rank", type=int, default=0, help="this one's number")
    parser.add_argument("--settled", action="store_true", help="the concepts' vectors are the text tower's, and stay")
    parser.add_argument("--bf16", action="store_true", help="forward pass in bfloat16, for processors that have it")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.world > 1:
        meeting = (args.work / "meeting").resolve().as_uri()
        distributed.init_process_group("gloo", init_method=meeting, world_size=args.world, rank=args.rank)
    train(Run(args, load(args.work, args.seed)), args)


if __name__ == "__main__":
    main()
