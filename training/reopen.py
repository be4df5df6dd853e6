"""Make checkpoints from a bundle, so that training goes on from the weights that ship.

    python -m training.reopen WORK BUNDLE [--size 64]

Writes WORK/images.pt and WORK/texts.pt. A bundle holds no concept vectors, no batch norms (they are part of the
convolutions) and no optimizer: concepts start as what the text tower says of their names, each norm is made anew from
the statistics of training pictures so that it changes nothing, the bridge to the teacher is fitted, and the optimizers
start afresh.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from training.data import Batch, Batches, Material, load
from training.model import Student, build
from training.texts import said

PICTURES = 2048  # for the statistics of the norms
Weights = dict[str, torch.Tensor]


def stored(file: Path) -> Weights:
    """What a tower's file holds, half precision widened."""
    arrays = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in onnx.load(file).graph.initializer}
    return {name: value.float() if value.is_floating_point() else value for name, value in arrays.items()}


def text_weights(held: Weights, tower: nn.Module) -> Weights:
    """The text tower's parameters; matrices that the exporter turned and renamed are told by their shape and order."""
    found = {name.removeprefix("tower."): value for name, value in held.items() if name.startswith("tower.")}
    rows = found.pop("token_embedding.weight_row", None)
    if rows is not None:  # equal rows are stored once
        found["token_embedding.weight"] = found["token_embedding.weight"][rows.long()]
    nameless = [value for name, value in held.items() if not name.startswith("tower.") and value.ndim > 1]
    for name, parameter in tower.named_parameters():
        if name not in found and not name.startswith("visual.") and parameter.ndim > 1:
            turned = next(i for i, value in enumerate(nameless) if value.T.shape == parameter.shape)
            found[name] = nameless.pop(turned).T.contiguous()
    return {name: value for name, value in found.items() if name in dict(tower.named_parameters())}


class Unfolding:
    """While it is open, each norm takes over the bias of the convolution before it and undoes its own effect."""

    def __init__(self, visual: nn.Module, held: Weights) -> None:
        self.hooks = []
        self.bias = torch.zeros(0)
        for name, module in visual.named_modules():
            if isinstance(module, nn.Conv2d):
                weight = f"model.visual.{name}.weight"
                module.weight.data.copy_(held[weight])
                self.hooks.append(module.register_forward_hook(self._remember(held[f"{weight}_bias"])))
            elif isinstance(module, nn.BatchNorm2d):
                self.hooks.append(module.register_forward_pre_hook(self._undo))

    def _remember(self, bias: torch.Tensor):  # noqa: ANN202 – a hook has torch's own type
        def hook(*_: object) -> None:
            self.bias = bias

        return hook

    def _undo(self, norm: nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.data.copy_((variance + norm.eps).sqrt())
        norm.bias.data.copy_(mean + self.bias)

    def close(self) -> None:
        """Leave the modules as they are now."""
        for hook in self.hooks:
            hook.remove()


@torch.no_grad()
def image_tower(visual: nn.Module, held: Weights, pixels: torch.Tensor) -> None:
    """Fill an image tower with a bundle's weights; `pixels` are (B, 3, H, W) of the training's own kind."""
    visual.eval()
    head = {name: held[f"model.visual.trunk.classifier.{name}"] for name in ("weight", "bias")}
    visual.trunk.classifier.load_state_dict(head)
    unfolding = Unfolding(visual, held)
    visual(pixels)
    unfolding.close()


@torch.no_grad()
def fit_bridge(student: Student, batch: Batch) -> None:
    """The bridge that leads closest to the teacher's vectors, by least squares."""
    known = batch.teacher.any(-1)
    if known.any():
        mine = student(batch.pixels[known])
        student.bridge.weight.copy_(torch.linalg.lstsq(mine, batch.teacher[known]).solution.T)


def reopened(bundle: Path, material: Material, names: int, size: int) -> tuple[Student, nn.Module]:
    """The student and the whole model of a bundle."""
    model = build(size)
    model.load_state_dict(text_weights(stored(bundle / "text.onnx"), model), strict=False)
    teacher_dim = 1 if material.teacher is None else material.teacher.shape[-1]
    student = Student(model.visual, len(material.concepts.names), teacher_dim, names)
    batch = Batches(material, size, PICTURES, torch.Generator().manual_seed(0)).draw()
    image_tower(model.visual, stored(bundle / "image.onnx"), batch.pixels)
    shown = [student(batch.pixels[(batch.labels == index).any(-1)]).mean(0) for index in range(len(student.concepts))]
    seen = nn.functional.normalize(torch.stack(shown).nan_to_num(), dim=-1).detach()
    concepts, vectors = said(model, material.concepts, seen)
    student.concepts.data.copy_(concepts)
    if len(student.names) == len(vectors):
        student.names.data.copy_(vectors)
    fit_bridge(student, batch)
    return student, model


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    file = args.work / "teacher_names.npy"
    names = len(np.load(file)) if file.exists() else 1
    student, model = reopened(args.bundle, load(args.work, args.seed), names, args.size)
    state = student.state_dict()
    torch.save({"student": state, "average": state, "step": 0}, args.work / "images.pt")
    table = model.token_embedding.weight
    blank = table.detach().unique(dim=0, return_inverse=True, return_counts=True)
    used = blank[2][blank[1]] == 1  # words that training never met share one vector
    torch.save({"model": model.state_dict(), "step": 0, "used": used}, args.work / "texts.pt")


if __name__ == "__main__":
    main()
