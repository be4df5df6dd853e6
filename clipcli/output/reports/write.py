"""Check which reports are requested, and write them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from clipcli.core.files import is_folder
from clipcli.errors import OutputError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from clipcli.output.reports.findings import CheckReport
    from clipcli.output.targets import Target

    Write: TypeAlias = Callable[[Target, Sequence[CheckReport]], None]


def _junit(target: Target, checks: Sequence[CheckReport]) -> None:
    from clipcli.output.reports.junit import write_junit

    write_junit(target, checks)


def _sarif(target: Target, checks: Sequence[CheckReport]) -> None:
    from clipcli.output.reports.sarif import write_sarif

    write_sarif(target, checks)


def _html(target: Target, checks: Sequence[CheckReport]) -> None:
    from clipcli.output.reports.html import write_html

    write_html(target, checks)


def _markdown(target: Target, checks: Sequence[CheckReport]) -> None:
    from clipcli.output.reports.markdown import write_markdown

    write_markdown(target, checks)


@dataclass(frozen=True)
class ReportFormat:
    """A format of reports."""

    suffixes: tuple[str, ...]
    """The usual one first."""
    write: Write
    """Imports its module on use, since most runs write no report."""
    name: str = ""
    """The name of the format, if the suffix does not show it."""
    is_page: bool = False
    """True if commands may write a page of their own instead."""


REPORTS: Final = (
    ReportFormat((".html", ".htm"), _html, is_page=True),
    ReportFormat((".xml",), _junit, "JUnit"),
    ReportFormat((".sarif", ".sarif.json"), _sarif),
    ReportFormat((".md",), _markdown),
)
"""All formats of `--report`; help texts and hints are made from it."""
ANNOTATE = ("auto", "github", "none")


@dataclass(frozen=True)
class Reporting:
    """The requested reports, checked."""

    paths: tuple[str, ...] = ()
    annotate: bool = False
    collect: bool = False
    """Whether the caller itself needs every finding."""

    def needs(self, *, ok: bool) -> bool:
        """Return whether a finding is used: reports contain all images, annotations only failing ones."""
        return self.collect or bool(self.paths) or (self.annotate and not ok)

    @property
    def pages(self) -> tuple[str, ...]:
        """Return the files of pages, for a command with its own kind of page."""
        return tuple(path for path in self.paths if format_of_report(path).is_page)

    def without_pages(self) -> Reporting:
        """Return the reports without pages."""
        return replace(self, paths=tuple(path for path in self.paths if path not in self.pages))

    def write(self, checks: Sequence[CheckReport]) -> None:
        """Write every report atomically, and the annotations to stderr, which runners read too.

        Raises:
            OutputError: a report cannot be written.
        """
        from clipcli.output.reports.annotations import write_annotations  # options import this module for their help
        from clipcli.output.targets import Target, open_target

        if self.annotate:
            sys.stderr.flush()
            write_annotations(Target("standard error", sys.stderr.buffer), checks)
        for path in self.paths:
            with open_target(path) as target:
                format_of_report(path).write(target, checks)


def spoken_reports() -> str:
    """Return the suffixes and names for a help text: ".html, .xml, .sarif or .md. JUnit is .xml"."""
    *suffixes, last = [kind.suffixes[0] for kind in REPORTS]
    names = [f"{kind.name} is {kind.suffixes[0]}" for kind in REPORTS if kind.name]
    return ". ".join([f"{', '.join(suffixes)} or {last}", *names])


def spoken_check_reports() -> str:
    """Return the reports of checks, pages left out, for a help text: ".xml (JUnit), .sarif or .md"."""
    kinds = [kind for kind in REPORTS if not kind.is_page]
    *suffixes, last = [kind.suffixes[0] + (f" ({kind.name})" if kind.name else "") for kind in kinds]
    return f"{', '.join(suffixes)} or {last}"


def format_of_report(path: str) -> ReportFormat:
    """Return the format for a file's suffix. Raises UsageError for an unknown suffix."""
    for kind in REPORTS:
        if path.lower().endswith(kind.suffixes):
            return kind
    hint = "a name that ends in one of " + ", ".join(suffix for kind in REPORTS for suffix in kind.suffixes)
    raise UsageError(f"cannot tell what kind of report {path} is", hint=hint)


def parse_reporting(paths: Sequence[str], annotate: str = "auto") -> Reporting:
    """Check the options of reports before any work starts.

    Raises:
        UsageError: an unknown suffix, a file given twice, or an unknown kind of annotation.
        OutputError: the folder of a report does not exist.
    """
    if annotate not in ANNOTATE:
        hint = f"{did_you_mean(annotate, ANNOTATE)} one of {', '.join(ANNOTATE)}".strip()
        raise UsageError(f"no annotations called {annotate!r}", hint=hint)
    for path in paths:
        format_of_report(path)
        if not is_folder(Path(path).absolute().parent):
            raise OutputError(f"cannot write {path}: its folder does not exist", hint="make the folder first")
    if len({os.path.abspath(path) for path in paths}) < len(paths):  # noqa: PTH100 - any bytes included
        raise UsageError("a report was given twice", hint="give each file once")
    on_github = annotate == "auto" and os.environ.get("GITHUB_ACTIONS") == "true"
    return Reporting(tuple(paths), annotate == "github" or on_github)
