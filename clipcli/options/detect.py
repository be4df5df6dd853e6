"""The options of `clipcli detect`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True)
class DetectOptions:
    """Boxes."""

    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold", metavar="T", min=0.0, max=1.0, help="Leave out boxes that score below T.",
            show_default="0.5; 0.1 for OWL models, 0.25 for Grounding DINO",
        ),
    ] = None  # fmt: skip
    multi_label: Annotated[
        bool,
        typer.Option(
            "--multi-label",
            help="Give a box every label whose own score is high enough, not the best one only.",
        ),
    ] = False
    crops: Annotated[
        str | None,
        typer.Option("--crops", metavar="DIR", help="Also write what is in each box to this folder, as PNG."),
    ] = None
