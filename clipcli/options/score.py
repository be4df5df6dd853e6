"""The options of `clipcli score`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.models.catalogue import ALIAS_NAMES
from clipcli.options.shared import InputOptions, ModelOptions

if TYPE_CHECKING:
    from clipcli.models.spec import Choice


@dataclass(frozen=True)
class PairOptions(InputOptions):
    """Inputs."""

    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PAIRS",
            help="Tar shards, tables (.csv, .tsv, .jsonl, .parquet), or folders with a text file beside each image.",
            show_default=False,
        ),
    ] = None
    column: Annotated[
        str | None,
        typer.Option(
            "--image", "--column", metavar="NAME",
            help="Column of a table that holds images, or their paths or URLs. By default image, image_url, path, …",
        ),
    ] = None  # fmt: skip
    text: Annotated[
        str | None,
        typer.Option(
            "--text", metavar="NAME",
            help="Column of a table with the texts. In shards and folders, the extension of text files. "
            "The default is text, caption, title, …; txt.",
        ),
    ] = None  # fmt: skip
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            "--prompts", "-p", metavar="NAME|FILE",
            help="Put each text into these templates and average the vectors. Repeatable.", show_default="none",
        ),
    ] = None  # fmt: skip


@dataclass(frozen=True)
class ScoreLimitOptions:
    """Pairs to write, and checks for CI."""

    min_score: Annotated[
        float | None,
        typer.Option("--min-score", metavar="S", min=-1.0, max=1.0, help="Write only pairs with at least this score."),
    ] = None
    top_share: Annotated[
        float | None,
        typer.Option(
            "--top-share", metavar="SHARE", min=0.0, max=1.0, help="Write only the best pairs, this share of all."
        ),
    ] = None
    min_share: Annotated[
        float | None,
        typer.Option(
            "--fail-under", metavar="SHARE", min=0.0, max=1.0,
            help="Exit with 1 if a smaller share of all pairs reaches --min-score. All pairs are written then.",
        ),
    ] = None  # fmt: skip


@dataclass(frozen=True)
class SeveralModelOptions(ModelOptions):
    """Model and device."""

    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", metavar="MODEL", envvar="CLIPCLI_MODEL",
            help=f"{', '.join(ALIAS_NAMES)}, ARCH/TAG or a bundle. Repeat it for a score from each model.",
            show_default="fast; tiny without torch",
        ),
    ] = None  # type: ignore[assignment]  # several, where other commands take one  # fmt: skip

    def choices(self) -> list[Choice]:
        """Return one choice per model. Raises UsageError."""
        from dataclasses import fields

        shared_options = {
            option.name: getattr(self, option.name) for option in fields(ModelOptions) if option.name != "model"
        }
        names = dict.fromkeys(self.model or [])
        if not names:
            return [ModelOptions(**shared_options).choice()]
        return [ModelOptions(model=name, **shared_options).choice() for name in names]
