"""Facts about models that need no loading: published figures, aliases, default tags."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

DEFAULT_MODEL = "ViT-B-32-256/datacomp_s34b_b86k"
"""72.8 % ImageNet top-1 for the cost of a ViT-B-32, MIT weights."""


class Published(NamedTuple):
    """The published facts about a model."""

    architecture: str
    tag: str
    parameters_millions: float | None
    gflops: float | None
    """Floating-point operations for one image and one text, in 10^9; None if unknown."""
    imagenet_top1: float | None
    """Zero-shot top-1 accuracy on ImageNet-1k, 0 to 1; None if not published."""
    average_38: float | None
    """Mean accuracy over 38 data sets, 0 to 1."""
    source: str
    """The publication of the accuracies."""
    licence: str
    """The licence of the weights, from their model card."""

    @property
    def name(self) -> str:
        """Return the name for `--model`."""
        return f"{self.architecture}/{self.tag}"

    @property
    def download_megabytes(self) -> int | None:
        """Return the size of the fp32 weights in 10^6 bytes: four bytes per parameter."""
        return None if self.parameters_millions is None else round(self.parameters_millions * 4)


class Alias(NamedTuple):
    """A short name for a model, recommended for a use."""

    name: str
    model: str
    use: str


ALIASES = (
    Alias("tiny", "tiny", "embedded, offline: first steps, tests, demos"),
    Alias("fast", DEFAULT_MODEL, "the default: good answers on any machine"),
    Alias("balanced", "ViT-B-16-SigLIP2-256/webli", "clearly better for three times the work, in many languages"),
    Alias("best", "ViT-gopt-16-SigLIP2-384/webli", "the most accurate that may be used for anything: a GPU"),
)


ALIAS_NAMES = tuple(alias.name for alias in ALIASES)


def resolve_alias(name: str) -> str:
    """Return the model of an alias; other names are returned unchanged."""
    return next((alias.model for alias in ALIASES if alias.name == name), name)


@cache
def published() -> tuple[Published, ...]:
    """Return all published models by ImageNet accuracy, best first; those without a figure come last."""
    with (Path(__file__).parent / "published.csv").open(encoding="utf-8", newline="") as stream:
        rows = [
            Published(
                row["name"],
                row["pretrained"],
                _number(row["params_millions"]),
                _number(row["gflops"]),
                _number(row["imagenet_top1"]),
                _number(row["average_38_datasets"]),
                row["source"],
                row["licence"],
            )
            for row in csv.DictReader(stream)
        ]
    return tuple(sorted(rows, key=lambda row: (-(row.imagenet_top1 or 0), row.name)))


def _number(text: str) -> float | None:
    return float(text) if text else None


def figures(architecture: str, tag: str) -> Published | None:
    """Return the published figures of a model, or None."""
    return next((row for row in published() if (row.architecture, row.tag) == (architecture, tag)), None)


def default_tag(architecture: str) -> str | None:
    """Return the tag with the best published accuracy for an architecture, or None."""
    tags = (row.tag for row in published() if row.architecture == architecture and row.imagenet_top1 is not None)
    return next(tags, None)
