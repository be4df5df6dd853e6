"""Teach the projection the drawings in examples/ and plain colours, in closed form, with hardly any change to others.

    python -m training.drawings WORK

Adds the smallest matrix (ridge regression in the metric of the other pictures) that moves the twelve drawings,
each in four views, to the vectors of their names, and a little to those of nothing in particular, which any other name
then loses to. Pictures of one colour show nothing: they move to the same texts. Changes WORK/tuned.pt once; the texts
must be trained.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import normalize

from clipcli.runs.classify.run import BACKGROUND
from training import features
from training.names import Names
from training.tune import Maps, tuned_tail, tuned_tower, whole
from training.views import IMAGE_SIZE, prepare

EXAMPLES = Path(__file__).parent.parent / "examples"
PUSH, PUSH_OF_BLANKS = 0.25, 0.5
COLOURS = (
    "white", "black", "#7a7d82", "silver", "dimgray", "whitesmoke", "red", "green", "blue", "yellow", "orange",
    "brown", "beige", "skyblue", "purple", "pink", "darkgreen", "navy", "tan",
)  # fmt: skip
"""One colour each: pictures that show nothing."""
COST, FLOOR = 8.0, 1e-3
OTHERS = 4096
"""How many of the first rows stand for all pictures: their order is random."""


def shown_as(image: Image.Image) -> list[Image.Image]:
    """A drawing as it is, cropped, with a margin, and turned a little."""
    width, height = image.size
    margin = Image.new("RGB", (int(width * 1.3), int(height * 1.3)), "white")
    margin.paste(image, (int(width * 0.15), int(height * 0.15)))
    cropped = image.crop((int(width * 0.06), int(height * 0.06), int(width * 0.94), int(height * 0.94)))
    return [image, cropped, margin, image.rotate(8, fillcolor="white")]


def correction(weight: torch.Tensor, values: torch.Tensor, wanted: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """What to add to `weight` (512, n) so that centred `values` (k, n) move by `wanted` (k, 512) and `others` stay."""
    spread = others.T @ others / len(others)
    inverse = torch.linalg.inv(COST * spread + FLOOR * torch.eye(weight.shape[1]))
    kernel = values @ inverse @ values.T
    return torch.linalg.solve(kernel + torch.eye(len(values)), wanted).T @ (values @ inverse)


def teach(work: Path) -> None:
    """Change the projection of WORK/tuned.pt."""
    state = torch.load(work / "tuned.pt", weights_only=True)
    if state.get("drawings"):
        return
    body = features.Body(tuned_tower(work)).eval()
    files = sorted(EXAMPLES.glob("*.png"))
    blanks = [prepare(Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), colour)) for colour in COLOURS]
    pixels = [prepare(shown) for file in files for shown in shown_as(Image.open(file).convert("RGB"))]
    with torch.inference_mode():
        _, values = body(torch.from_numpy(np.stack(pixels + blanks)))
        said = Names(work)
        names = said([file.stem.replace("-", " ") for file in files], ["a photo of a {}.", "a picture of a {}."])
        nothing = normalize(said(list(BACKGROUND), ["{}"]).mean(0), dim=0)
        wanted = normalize(names - 0.5 * names.mean(0) + 0.6 * nothing, dim=1)
        wanted = PUSH * wanted.repeat_interleave(len(pixels) // len(files), dim=0)
        wanted = torch.cat([wanted, PUSH_OF_BLANKS * nothing.repeat(len(blanks), 1)])
        others = whole(Maps(work), tuned_tail(work), torch.arange(OTHERS))
        middle = others.mean(0)
        weight, bias = state["projection"]["weight"], state["projection"]["bias"]
        length = (values @ weight.T + bias).norm(dim=1, keepdim=True)
        added = correction(weight, values - middle, length * wanted, others - middle)
    state["projection"] = {"weight": weight + added, "bias": bias - added @ middle}
    torch.save(state | {"drawings": True}, work / "tuned.pt")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    teach(parser.parse_args().work)


if __name__ == "__main__":
    main()
