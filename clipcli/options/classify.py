"""The options of `clipcli classify`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True)
class ScoreOptions:
    """How scores are made and shown."""

    top_k: Annotated[
        int,
        typer.Option("--top-k", "-k", metavar="K", min=0, help="Labels shown for each image; 0 is all."),
    ] = 1
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", metavar="T", min=-1.0, max=1.0, help="No label where the score is below T."),
    ] = None
    thresholds: Annotated[
        str | None,
        typer.Option(
            "--thresholds", metavar="FILE", help="A threshold a label and a temperature, of clipcli calibrate."
        ),
    ] = None
    multi_label: Annotated[
        bool,
        typer.Option("--multi-label", help="Every label whose own score reaches the threshold (0.5)."),
    ] = False
    none: Annotated[
        str | None,
        typer.Option(
            "--none",
            metavar="NAME",
            help="Answer NAME when the image looks like none of the labels.",
        ),
    ] = None
    background: Annotated[
        list[str] | None,
        typer.Option(
            "--background",
            metavar="TEXT",
            help="What 'none of these' looks like, for --none and --multi-label.",
        ),
    ] = None
    similarity: Annotated[bool, typer.Option("--similarity", help="Raw cosine similarities as scores.")] = False
    groups: Annotated[
        str | None,
        typer.Option(
            "--groups",
            metavar="FILE",
            help="Add up labels under group names: lines of 'group: label; label'.",
        ),
    ] = None


@dataclass(frozen=True)
class CheckOptions:
    """What is expected, for CI."""

    expect: Annotated[
        str | None,
        typer.Option("--expect", metavar="LABEL", help="Every image should get LABEL."),
    ] = None
    expect_from: Annotated[
        str | None,
        typer.Option(
            "--expect-from", metavar="parent|FILE",
            help="The folder's name is the label (parent), or a .csv or .jsonl of path and label.",
        ),
    ] = None  # fmt: skip
    min_accuracy: Annotated[
        float | None,
        typer.Option(
            "--min-accuracy", metavar="SHARE", min=0.0, max=1.0,
            help="Exit with 1 when a smaller share of images is right.", show_default="1.0",
        ),
    ] = None  # fmt: skip
    forbid: Annotated[
        list[str] | None,
        typer.Option("--forbid", metavar="LABEL", help="No image should get LABEL; repeatable."),
    ] = None
