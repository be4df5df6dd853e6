"""Check which reports are requested, and write them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.core.files import is_folder
from clipcli.core.suggest import did_you_mean
from clipcli.errors import OutputError, UsageError
from clipcli.output.reports.annotations import write_annotations
from clipcli.output.targets import Target, open_target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from clipcli.output.reports.findings import CheckReport

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


WRITERS: Mapping[str, Write] = {
    ".xml": _junit,
    ".sarif": _sarif,
    ".sarif.json": _sarif,
    ".html": _html,
    ".htm": _html,
    ".md": _markdown,
}
"""Suffix → writer; its module is imported on use, since most runs write no report."""
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
        return tuple(path for path in self.paths if writer_for(path) is _html)

    def without_pages(self) -> Reporting:
        """Return the reports without pages."""
        return replace(self, paths=tuple(path for path in self.paths if path not in self.pages))

    def write(self, checks: Sequence[CheckReport]) -> None:
        """Write every report atomically, and the annotations to stderr, which runners read too.

        Raises:
            OutputError: a report cannot be written.
        """
        if self.annotate:
            sys.stderr.flush()
            write_annotations(Target("standard error", sys.stderr.buffer), checks)
        for path in self.paths:
            with open_target(path) as target:
                writer_for(path)(target, checks)


def writer_for(path: str) -> Write:
    """Return the writer for a file's suffix. Raises UsageError for an unknown suffix."""
    writer = next((write for suffix, write in WRITERS.items() if path.lower().endswith(suffix)), None)
    if writer is None:
        hint = "a name that ends in one of " + ", ".join(WRITERS)
        raise UsageError(f"cannot tell what kind of report {path} is", hint=hint)
    return writer


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
        writer_for(path)
        if not is_folder(Path(path).absolute().parent):
            raise OutputError(f"cannot write {path}: its folder does not exist", hint="make the folder first")
    if len({os.path.abspath(path) for path in paths}) < len(paths):  # noqa: PTH100 - any bytes included
        raise UsageError("a report was given twice", hint="give each file once")
    on_github = annotate == "auto" and os.environ.get("GITHUB_ACTIONS") == "true"
    return Reporting(tuple(paths), annotate == "github" or on_github)
