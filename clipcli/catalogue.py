"""What is known about models without loading anything: published figures, aliases, default tags, nearest names."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DEFAULT_MODEL = "ViT-B-32-256/datacomp_s34b_b86k"
"""72.8 % ImageNet top-1 for the cost of a ViT-B-32, MIT weights."""


@dataclass(frozen=True)
class Published:
    """One row of the figures that open_clip publishes with its models."""

    architecture: str
    tag: str
    parameters_millions: float
    gflops: float
    imagenet_top1: float
    """Zero-shot top-1 accuracy on ImageNet-1k, 0 to 1."""
    average_38: float
    """Mean over 38 data sets, 0 to 1."""

    @property
    def name(self) -> str:
        """The spec that `--model` takes."""
        return f"{self.architecture}/{self.tag}"

    @property
    def download_megabytes(self) -> int:
        """Size of the fp32 weights in 10^6 bytes: four bytes a parameter."""
        return round(self.parameters_millions * 4)


@dataclass(frozen=True)
class Alias:
    """A short name for a model, chosen for a use."""

    name: str
    model: str
    use: str


ALIASES = (
    Alias("tiny", "tiny", "embedded, offline: first steps, tests, demos"),
    Alias("fast", DEFAULT_MODEL, "the default: good answers on any machine"),
    Alias("balanced", "ViT-L-14/datacomp_xl_s13b_b90k", "clearly better, ten times the work: a GPU or patience"),
    Alias("best", "ViT-SO400M-14-SigLIP-384/webli", "the most accurate of general use: a GPU"),
)


def resolve_alias(name: str) -> str:
    """The model an alias stands for; any other name comes back unchanged."""
    return next((alias.model for alias in ALIASES if alias.name == name), name)


@cache
def published() -> tuple[Published, ...]:
    """Published figures, best ImageNet accuracy first."""
    with (Path(__file__).parent / "published.csv").open(encoding="utf-8", newline="") as stream:
        rows = [
            Published(
                row["name"],
                row["pretrained"],
                float(row["params_millions"]),
                float(row["gflops"]),
                float(row["imagenet_top1"]),
                float(row["average_38_datasets"]),
            )
            for row in csv.DictReader(stream)
        ]
    return tuple(sorted(rows, key=lambda row: (-row.imagenet_top1, row.name)))


def figures(architecture: str, tag: str) -> Published | None:
    """The published figures of one model, if there are any."""
    return next((row for row in published() if (row.architecture, row.tag) == (architecture, tag)), None)


def default_tag(architecture: str) -> str | None:
    """The tag with the best published accuracy for an architecture."""
    return next((row.tag for row in published() if row.architecture == architecture), None)
