"""The options of `clipcli detect`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True)
class DetectOptions:
    """Boxes."""

    threshold: Annotated[
        float, typer.Option("--threshold", metavar="T", min=0.0, max=1.0, help="Leave out boxes that score below T.")
    ] = 0.5
    crops: Annotated[
        str | None,
        typer.Option("--crops", metavar="DIR", help="Also write what is in each box to this folder, as PNG."),
    ] = None
