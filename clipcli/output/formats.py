"""The tables of formats, of rows and of reports: name → suffixes and writer; the options that choose among them."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from clipcli.core.files import STDOUT, descriptor_of, is_file, is_folder, is_there
from clipcli.core.optional_packages import require_packages
from clipcli.errors import OutputError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from clipcli.core.optional_packages import Extra
    from clipcli.output.reports.findings import CheckReport
    from clipcli.output.rows import BlockWriter, Writer
    from clipcli.output.targets import Target

    OpenWriter: TypeAlias = Callable[[Target, "Output"], Writer]
    WriteReport: TypeAlias = Callable[[Target, Sequence[CheckReport]], None]

_OTHER_NAMES: Final = {"ndjson": "jsonl"}
ANNOTATE = ("auto", "github", "none")


class RowFormat(NamedTuple):
    """One format: its suffixes for `-o FILE`, and its writer."""

    suffixes: tuple[str, ...]
    open: OpenWriter
    """Creates the writer; imports its module on first use."""
    is_general: bool = True
    """Whether every command has it; a command lists its other formats itself."""
    is_delimited: bool = False
    """Whether `--escape-formulas` applies."""
    package: Extra | None = None
    """The set of optional packages that a binary format needs."""


@dataclass(frozen=True)
class Output:
    """The options of the output."""

    format: str = "auto"
    """`auto`, or a name of `FORMATS`."""
    path: str | None = None
    """`-o FILE`; None or `-` is stdout."""
    paths: bool = False
    """Write bare paths instead of rows."""
    null: bool = False
    """End paths with NUL instead of a newline."""
    escape_formulas: bool = False
    """Escape cells in CSV and TSV that a spreadsheet would run as a formula."""
    header: bool = False
    """Write the names of the columns above tab-separated rows."""


def _table(target: Target, _: Output) -> Writer:
    from clipcli.output.writers import TableWriter

    return TableWriter(target)


def _tsv(target: Target, output: Output) -> Writer:
    from clipcli.output.writers import TsvWriter

    return TsvWriter(target, header=output.header, escape_formulas=output.escape_formulas)


def _csv(target: Target, output: Output) -> Writer:
    from clipcli.output.writers import CsvWriter

    return CsvWriter(target, escape_formulas=output.escape_formulas)


def _jsonl(target: Target, _: Output) -> Writer:
    from clipcli.output.writers import JsonLinesWriter

    return JsonLinesWriter(target)


def _json(target: Target, _: Output) -> Writer:
    from clipcli.output.writers import JsonArrayWriter

    return JsonArrayWriter(target)


def _parquet(target: Target, _: Output) -> Writer:
    from clipcli.output.parquet_rows import ParquetRowsWriter

    return ParquetRowsWriter(target)


def _groups(target: Target, output: Output) -> Writer:
    from clipcli.output.writers import GroupsWriter

    return GroupsWriter(target, null=output.null)


def _paths(target: Target, output: Output) -> Writer:
    from clipcli.output.writers import PathsWriter

    return PathsWriter(target, null=output.null)


FORMATS: Final[dict[str, RowFormat]] = {
    "table": RowFormat((".txt",), _table),
    "tsv": RowFormat((".tsv",), _tsv, is_delimited=True),
    "csv": RowFormat((".csv",), _csv, is_delimited=True),
    "jsonl": RowFormat((".jsonl", ".ndjson"), _jsonl),
    "json": RowFormat((".json",), _json),
    "parquet": RowFormat((".parquet", ".pq"), _parquet, package="parquet"),
    "groups": RowFormat((), _groups, is_general=False),
}


def format_names(also: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the values of `--format`: `auto`, the formats of every command, and `also`, those of one command."""
    return ("auto", *(name for name, row_format in FORMATS.items() if row_format.is_general), *also)


def spoken_formats(also: tuple[str, ...] = ()) -> str:
    """Return the names for a help text: "auto, table, … or parquet"."""
    *names, last = format_names(also)
    return f"{', '.join(names)} or {last}"


def _by_suffix(also: tuple[str, ...]) -> dict[str, str]:
    names = (name for name in format_names(also) if name in FORMATS)
    return {suffix: name for name in names for suffix in FORMATS[name].suffixes}


def parse_output(
    name: str,
    path: str | None,
    *,
    paths: bool = False,
    null: bool = False,
    also: tuple[str, ...] = (),
    escape_formulas: bool = False,
) -> Output:
    """Check the options before any work starts; `also` names formats of one command.

    Raises:
        UsageError: an unknown format or suffix, `-o` with a folder, or Parquet on a terminal.
        InputsError: Parquet without pyarrow.
    """
    name = _OTHER_NAMES.get(name, name)
    if name not in format_names(also):
        raise UsageError(f"no format {name!r}", hint="one of " + ", ".join(format_names(also)))
    if paths and name != "auto":
        raise UsageError("--paths and --format do not go together", hint="--paths writes bare paths")
    if path is not None and is_folder(path):
        raise UsageError(f"{path} is a folder", hint="-o takes a file name")
    path = None if path is None or descriptor_of(path) == STDOUT else path
    if path is not None and not _is_stream(path) and name == "auto" and not paths:
        name = _named_by(path, also)
    chosen = None if paths else FORMATS.get(name)
    if escape_formulas and not (chosen and chosen.is_delimited):
        raise UsageError("--escape-formulas is for CSV and TSV", hint="--format csv, or -o FILE.csv")
    if chosen is not None and chosen.package is not None:
        require_packages(chosen.package, name.capitalize())
        if path in {None, "-"} and sys.stdout.isatty():
            raise UsageError(f"{name.capitalize()} cannot be shown on a terminal", hint=f"-o FILE{chosen.suffixes[0]}")
    return Output(name, path, paths=paths, null=null, escape_formulas=escape_formulas)


def _named_by(path: str, also: tuple[str, ...]) -> str:
    """Return the format of a file's suffix. Raises UsageError for an unknown suffix."""
    suffixes, suffix = _by_suffix(also), Path(path).suffix.lower()
    if suffix not in suffixes:
        hint = f"give --format, or a name that ends in one of {', '.join(suffixes)}"
        raise UsageError(f"cannot tell the format of {path}", hint=hint)
    return suffixes[suffix]


def _is_stream(path: str) -> bool:
    """Return whether a name is not a regular file: `-`, a pipe, a device, an open file."""
    return path == "-" or descriptor_of(path) is not None or (is_there(path) and not is_file(path))


@contextmanager
def open_writer(output: Output, *, header: bool = False) -> Iterator[BlockWriter]:
    """Yield the writer for an output; it is closed at the end of the block, also after Ctrl-C, to keep finished rows.

    `header` sets `Output.header`.

    Raises:
        OutputError: the target cannot be written.
    """
    from clipcli.output.rows import BlockWriter
    from clipcli.output.targets import open_target

    with open_target(output.path) as target:
        writer = BlockWriter(_writer(replace(output, header=output.header or header), target))
        try:
            yield writer
        except KeyboardInterrupt:
            writer.close()
            raise
        writer.close()


def _writer(output: Output, target: Target) -> Writer:
    if output.paths:
        return _paths(target, output)
    name = output.format if output.format != "auto" else "table" if target.is_terminal else "tsv"
    return FORMATS[name].open(target, output)


def _junit(target: Target, checks: Sequence[CheckReport]) -> None:
    from clipcli.output.reports.junit import write_junit

    write_junit(target, checks)


def _sarif(target: Target, checks: Sequence[CheckReport]) -> None:
    from clipcli.output.reports.github import write_sarif

    write_sarif(target, checks)


def _html(target: Target, checks: Sequence[CheckReport]) -> None:
    from clipcli.output.reports.html import write_html

    write_html(target, checks)


def _markdown(target: Target, checks: Sequence[CheckReport]) -> None:
    from clipcli.output.reports.github import write_markdown

    write_markdown(target, checks)


class ReportFormat(NamedTuple):
    """A format of reports."""

    suffixes: tuple[str, ...]
    """The usual one first."""
    write: WriteReport
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
        from clipcli.output.targets import Target, open_target

        if self.annotate:
            from clipcli.output.reports.github import write_annotations

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
