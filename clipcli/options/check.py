"""The options of `clipcli check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.options.shared import ExcludeOption, IncludeOption, InputOptions, ModelOptions

if TYPE_CHECKING:
    from clipcli.inputs.sources.globs import Globs


@dataclass(frozen=True)
class SelectionOptions:
    """Which checks, over which images."""

    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGES",
            help="Only these files and folders, as far as a check is about them.",
            show_default=False,
        ),
    ] = None
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="FILE", help="The checks.", show_default="clipcli.toml or pyproject.toml"),
    ] = None
    only: Annotated[list[str] | None, typer.Option("--only", metavar="NAME", help="Only this check; repeatable.")] = (
        None
    )
    changed_since: Annotated[
        str | None,
        typer.Option("--changed-since", metavar="REF", help="Only images that differ from this commit, as git says."),
    ] = None
    include: IncludeOption = None
    exclude: ExcludeOption = None
    null: Annotated[bool, typer.Option("--null", "-0", help="Lists of paths, read and written, are NUL-separated.")] = (
        False
    )
    init: Annotated[bool, typer.Option("--init", help="Write a clipcli.toml to start from, and check nothing.")] = False

    @property
    def globs(self) -> Globs:
        """Which names take part, besides what each check says."""
        return InputOptions(include=self.include, exclude=self.exclude).globs


@dataclass(frozen=True)
class CheckModelOptions(ModelOptions):
    """Which model, where the file is to be overruled."""

    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="MODEL", help="One model for all checks.", show_default="as the file says"
        ),
    ] = ""
