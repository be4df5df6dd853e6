"""The options of `clipcli dedupe`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.options.shared import ReportOptions


@dataclass(frozen=True)
class DuplicateOptions:
    """What counts as a duplicate, and which file of a group is kept."""

    level: Annotated[
        str,
        typer.Option("--level", metavar="LEVEL", help="The loosest level to look for: exact, near, edited or similar."),
    ] = "similar"
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="DIR|VECTORS", help="Compare with this set only, never within the inputs."),
    ] = None
    empty: Annotated[
        bool, typer.Option("--empty", help="Files of zero bytes are duplicates of each other, and no errors.")
    ] = False
    turns: Annotated[bool, typer.Option("--turns", help="Also find pictures that were turned or mirrored.")] = False
    similar: Annotated[
        float | None,
        typer.Option("--min-similarity", metavar="COSINE", min=0.0, max=1.0, help="From where on pictures are similar.",
                     show_default="by model"),
    ] = None  # fmt: skip
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep", metavar="RULES",
            help="Which file stays: camera, real-detail, most-pixels, fewest-pixels, color, largest-file, "
            "smallest-file, plain-name, oldest, newest, shortest-path, longest-path, in:DIR, format:NAME; "
            "the first rule that decides counts.",
            show_default="camera,real-detail,most-pixels,color,largest-file,plain-name,oldest",
        ),
    ] = None  # fmt: skip
    protect: Annotated[
        list[str] | None,
        typer.Option("--protect", metavar="DIR", help="Files in DIR always stay, whatever any rule says."),
    ] = None
    remove: Annotated[
        str,
        typer.Option("--remove", metavar="LEVEL", help="The loosest level whose files a plan may remove."),
    ] = "near"
    ignore_file: Annotated[
        list[str] | None,
        typer.Option("--ignore-file", metavar="FILE", help="Pairs that were decided to be different pictures."),
    ] = None
    fail_found: Annotated[
        str | None,
        typer.Option("--fail-found", metavar="LEVEL", help="Exit with 1 when there is any duplicate of this level."),
    ] = None


@dataclass(frozen=True)
class ActionWords:
    """Words of other programs, that are looked for here and belong to `apply`; hidden, and answered with the way."""

    delete: Annotated[bool, typer.Option("--delete", "--remove-duplicates", hidden=True)] = False
    trash: Annotated[bool, typer.Option("--trash", hidden=True)] = False
    move_to: Annotated[str | None, typer.Option("--move-to", "--move", metavar="DIR", hidden=True)] = None
    hardlink: Annotated[bool, typer.Option("--hardlink", "--link", hidden=True)] = False
    symlink: Annotated[bool, typer.Option("--symlink", hidden=True)] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", hidden=True)] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", hidden=True)] = False

    @property
    def given(self) -> dict[str, str]:
        """Option → what `apply` takes in its place."""
        words = {
            "--delete": (self.delete, " --action delete"),
            "--trash": (self.trash, " --action trash"),
            "--move-to": (self.move_to is not None, f" --action move:{self.move_to}"),
            "--hardlink": (self.hardlink, " --action hardlink"),
            "--symlink": (self.symlink, " --action symlink"),
            "--dry-run": (self.dry_run, " (which only says what it would do, without --yes)"),
            "--yes": (self.yes, " --yes"),
        }
        return {option: action for option, (given, action) in words.items() if given}


@dataclass(frozen=True)
class DuplicateReportOptions(ReportOptions):
    """A page to choose on, and what CI is told."""

    report: Annotated[
        list[str] | None,
        typer.Option(
            "--report", metavar="FILE",
            help="Also a page to look at and to choose on (.html), or a report for CI (.xml, .sarif, .md); repeatable.",
        ),
    ] = None  # fmt: skip
