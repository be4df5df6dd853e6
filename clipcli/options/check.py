"""The options of `clipcli check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.options.option_types import ExcludeOption, IncludeOption, NullOption
from clipcli.options.shared import InputOptions, ModelOptions

if TYPE_CHECKING:
    from clipcli.inputs.sources.patterns import Globs


@dataclass(frozen=True)
class SelectionOptions:
    """Checks and images."""

    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGES",
            help="Check only these files and folders. Default: all images that the checks name.",
            show_default=False,
        ),
    ] = None
    config: Annotated[
        str | None,
        typer.Option(
            "--config", metavar="FILE", help="File with the checks.", show_default="clipcli.toml or pyproject.toml"
        ),
    ] = None
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Run only this check. Repeatable.")
    ] = None
    changed_since: Annotated[
        str | None,
        typer.Option("--changed-since", metavar="REF", help="Check only images that changed since this git commit."),
    ] = None
    include: IncludeOption = None
    exclude: ExcludeOption = None
    null: NullOption = False
    init: Annotated[bool, typer.Option("--init", help="Write a clipcli.toml to start from, and run no check.")] = False

    @property
    def globs(self) -> Globs:
        """Return the name filter of the command line, in addition to that of each check."""
        return InputOptions(include=self.include, exclude=self.exclude).globs


@dataclass(frozen=True)
class CheckModelOptions(ModelOptions):
    """Model and device."""

    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="MODEL", help="Use one model for all checks.", show_default="as the file says"
        ),
    ] = ""
