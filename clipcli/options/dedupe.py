"""The options of `clipcli dedupe`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from clipcli.options.shared import OutputOptions, ReportOptions, default_format
from clipcli.output.formats import spoken_formats
from clipcli.output.reports import spoken_check_reports
from clipcli.tasks.dedupe.keep import DEFAULT, KNOWN


@dataclass(frozen=True)
class DuplicateOptions:
    """Duplicates, and which file of a group to keep."""

    level: Annotated[
        str,
        typer.Option(
            "--level",
            metavar="LEVEL",
            help="Loosest level: exact, near, edited or similar. Only similar needs a model.",
        ),
    ] = "similar"
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="DIR|VECTORS",
            help="Compare with this set only. The inputs are not compared with each other.",
        ),
    ] = None
    empty: Annotated[
        bool, typer.Option("--empty", help="Treat empty files as duplicates of each other instead of as errors.")
    ] = False
    rotations: Annotated[bool, typer.Option("--rotations", help="Also find rotated and mirrored pictures.")] = False
    similar: Annotated[
        float | None,
        typer.Option(
            "--min-similarity", metavar="COSINE", min=0.0, max=1.0,
            help="Smallest cosine that counts as similar. The default depends on the model.",
        ),
    ] = None  # fmt: skip
    target_share: Annotated[
        float | None,
        typer.Option(
            "--target-share", metavar="SHARE", min=0.0, max=1.0,
            help="For files of vectors: find the --min-similarity that leaves out at most this share.",
        ),
    ] = None  # fmt: skip
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep", metavar="RULES",
            help=f"Rules for which file to keep. The first rule that decides counts: {', '.join(KNOWN)}. "
            f"The default is {','.join(DEFAULT)}.",
        ),
    ] = None  # fmt: skip
    keep_columns: Annotated[
        list[str] | None,
        typer.Option(
            "--keep-columns", metavar="A,B,...|all",
            help="Columns of the input table to add to every row, comma-separated.",
        ),
    ] = None  # fmt: skip
    protect: Annotated[
        list[str] | None,
        typer.Option("--protect", metavar="DIR", help="Always keep files in DIR. Repeatable."),
    ] = None
    remove: Annotated[
        str,
        typer.Option("--remove", metavar="LEVEL", help="Loosest level that plans remove."),
    ] = "near"
    ignore_file: Annotated[
        list[str] | None,
        typer.Option("--ignore-file", metavar="FILE", help="Pairs already decided to be different."),
    ] = None
    fail_on: Annotated[
        str | None,
        typer.Option("--fail-on", metavar="LEVEL", help="Exit with 1 on a duplicate of this level."),
    ] = None


_OWN_FORMATS = ("groups",)


@dataclass(frozen=True)
class PlanOutputOptions(OutputOptions):
    """Output."""

    own_formats: ClassVar[tuple[str, ...]] = _OWN_FORMATS
    format: Annotated[
        str,
        typer.Option(
            "--format", "-f", metavar="FORMAT", envvar="CLIPCLI_FORMAT", callback=default_format,
            help=f"{spoken_formats(_OWN_FORMATS)}. groups writes paths, with a blank line after each group.",
        ),
    ] = "auto"  # fmt: skip


@dataclass(frozen=True)
class ActionWords:
    """Hidden options of other programs that belong to `apply`; the error message names the right command."""

    delete: Annotated[bool, typer.Option("--delete", "--remove-duplicates", hidden=True)] = False
    trash: Annotated[bool, typer.Option("--trash", hidden=True)] = False
    move_to: Annotated[str | None, typer.Option("--move-to", "--move", metavar="DIR", hidden=True)] = None
    hardlink: Annotated[bool, typer.Option("--hardlink", "--link", hidden=True)] = False
    symlink: Annotated[bool, typer.Option("--symlink", hidden=True)] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", hidden=True)] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", hidden=True)] = False

    @property
    def apply_options(self) -> dict[str, str]:
        """Return option → the equivalent of `apply`."""
        words = {
            "--delete": (self.delete, " --action delete"),
            "--trash": (self.trash, " --action trash"),
            "--move-to": (self.move_to is not None, f" --action move:{self.move_to}"),
            "--hardlink": (self.hardlink, " --action hardlink"),
            "--symlink": (self.symlink, " --action symlink"),
            "--dry-run": (self.dry_run, " (a dry run without --yes)"),
            "--yes": (self.yes, " --yes"),
        }
        return {option: action for option, (is_set, action) in words.items() if is_set}


@dataclass(frozen=True)
class DuplicateReportOptions(ReportOptions):
    """Reports."""

    report: Annotated[
        list[str] | None,
        typer.Option(
            "--report", metavar="FILE",
            help=f"Write a review page (.html) or a report. Reports are {spoken_check_reports()}. Repeatable.",
        ),
    ] = None  # fmt: skip
