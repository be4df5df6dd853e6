"""The options of `clipcli classify`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.options.option_types import EXPECT_FROM


@dataclass(frozen=True)
class ScoreOptions:
    """Scores and answers."""

    top_k: Annotated[
        int,
        typer.Option("--top-k", "-k", metavar="K", min=0, help="Labels per image. 0 shows all."),
    ] = 1
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", metavar="T", min=-1.0, max=1.0, help="Give no label when its score is below T."),
    ] = None
    thresholds: Annotated[
        str | None,
        typer.Option("--thresholds", metavar="FILE", help="Per-label thresholds from clipcli calibrate."),
    ] = None
    head: Annotated[
        list[str] | None,
        typer.Option(
            "--head",
            metavar="FILE",
            help="Head from clipcli fit, or a predictor. Repeatable for predictors.",
        ),
    ] = None
    multi_label: Annotated[
        bool,
        typer.Option(
            "--multi-label",
            help="Give every label whose own score is high enough. The threshold is 0.5, or --threshold.",
        ),
    ] = False
    none: Annotated[
        str | None,
        typer.Option("--none", metavar="NAME", help="Answer NAME when no label fits the image."),
    ] = None
    background: Annotated[
        list[str] | None,
        typer.Option(
            "--background", metavar="TEXT",
            help="Description of 'none of these', for --none and --multi-label. Repeatable.",
        ),
    ] = None  # fmt: skip
    similarity: Annotated[bool, typer.Option("--similarity", help="Use raw cosine similarities as scores.")] = False
    groups: Annotated[
        str | None,
        typer.Option(
            "--groups",
            metavar="FILE",
            help="Report groups of labels and add their scores. FILE has lines of 'group: label; label'.",
        ),
    ] = None


@dataclass(frozen=True)
class RegionOptions:
    """Inputs."""

    boxes: Annotated[
        str | None,
        typer.Option(
            "--boxes", metavar="FILE",
            help="Label boxes instead of images: rows of clipcli detect (.jsonl), or a COCO file (.json).",
        ),
    ] = None  # fmt: skip


@dataclass(frozen=True)
class CheckOptions:
    """Checks for CI."""

    expect: Annotated[
        str | None,
        typer.Option("--expect", metavar="LABEL", help="Every image should get LABEL."),
    ] = None
    expect_from: Annotated[str | None, EXPECT_FROM] = None
    min_accuracy: Annotated[
        float | None,
        typer.Option(
            "--min-accuracy", metavar="SHARE", min=0.0, max=1.0,
            help="Exit with 1 below this accuracy.", show_default="1.0",
        ),
    ] = None  # fmt: skip
    forbid: Annotated[
        list[str] | None,
        typer.Option("--forbid", metavar="LABEL", help="No image should get LABEL. Repeatable."),
    ] = None
    lowest: Annotated[
        list[str] | None,
        typer.Option("--min", metavar="NAME=X", help="The score of predictor NAME should be at least X. Repeatable."),
    ] = None
    highest: Annotated[
        list[str] | None,
        typer.Option("--max", metavar="NAME=X", help="The score of predictor NAME should be at most X. Repeatable."),
    ] = None
