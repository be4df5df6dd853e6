"""The table of row formats: name → suffixes and writer."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from clipcli.core.files import STDOUT, descriptor_of, is_file, is_folder, is_there
from clipcli.core.optional_packages import require_packages
from clipcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clipcli.core.optional_packages import Extra
    from clipcli.output.rows import BlockWriter, Writer
    from clipcli.output.targets import Target

    OpenWriter: TypeAlias = Callable[[Target, "Output"], Writer]


@dataclass(frozen=True)
class RowFormat:
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
    from clipcli.output.table import TableWriter

    return TableWriter(target)


def _tsv(target: Target, output: Output) -> Writer:
    from clipcli.output.delimited import TsvWriter

    return TsvWriter(target, header=output.header, escape_formulas=output.escape_formulas)


def _csv(target: Target, output: Output) -> Writer:
    from clipcli.output.delimited import CsvWriter

    return CsvWriter(target, escape_formulas=output.escape_formulas)


def _jsonl(target: Target, _: Output) -> Writer:
    from clipcli.output.json import JsonLinesWriter

    return JsonLinesWriter(target)


def _json(target: Target, _: Output) -> Writer:
    from clipcli.output.json import JsonArrayWriter

    return JsonArrayWriter(target)


def _parquet(target: Target, _: Output) -> Writer:
    from clipcli.output.parquet_rows import ParquetRowsWriter

    return ParquetRowsWriter(target)


def _groups(target: Target, output: Output) -> Writer:
    from clipcli.output.delimited import GroupsWriter

    return GroupsWriter(target, null=output.null)


def _paths(target: Target, output: Output) -> Writer:
    from clipcli.output.delimited import PathsWriter

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
_OTHER_NAMES: Final = {"ndjson": "jsonl"}


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
