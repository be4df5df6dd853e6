"""The options of `clipcli detect`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from clipcli.options.shared import ModelOptions, OutputOptions, default_format
from clipcli.output.formats import spoken_formats

_OWN_FORMATS = ("coco",)


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
            help="Give a box every label with a high enough score, not only the best.",
        ),
    ] = False
    crops: Annotated[
        str | None,
        typer.Option("--crops", metavar="DIR", help="Also write the contents of each box to DIR, as PNG."),
    ] = None
    report: Annotated[
        str | None,
        typer.Option("--report", metavar="FILE", help="Write a page with the boxes drawn (.html)."),
    ] = None


@dataclass(frozen=True)
class DetectModelOptions(ModelOptions):
    """Model and device."""

    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="MODEL", envvar="CLIPCLI_MODEL",
            help="Detection model: owlv2, owlv2-large, owlvit, grounding-dino or org/name. "
            "Or any model of classify, for coarse boxes.",
            show_default="fast; tiny without torch",
        ),
    ] = ""  # fmt: skip


@dataclass(frozen=True)
class BoxOutputOptions(OutputOptions):
    """Output."""

    own_formats: ClassVar[tuple[str, ...]] = _OWN_FORMATS
    format: Annotated[
        str,
        typer.Option(
            "--format", "-f", metavar="FORMAT", envvar="CLIPCLI_FORMAT", callback=default_format,
            help=f"{spoken_formats(_OWN_FORMATS)}. coco is one JSON document of images, boxes and labels.",
        ),
    ] = "auto"  # fmt: skip
