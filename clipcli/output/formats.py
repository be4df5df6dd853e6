"""The formats of rows: name → suffixes and writer."""

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
    from clipcli.output.row_block import BlockWriter
    from clipcli.output.rows import Writer
    from clipcli.output.targets import Target

    OpenWriter: TypeAlias = Callable[[Target, "Output"], Writer]


@dataclass(frozen=True)
class RowFormat:
    """One format: the suffixes of `-o FILE` that mean it, and what writes it."""

    suffixes: tuple[str, ...]
    open: OpenWriter
    """Imports the writer, since a run needs one of them."""
    is_general: bool = True
    """Whether every command has it; the others name those that they have besides."""
    is_delimited: bool = False
    """Whether `--escape-formulas` means something."""
    package: Extra | None = None
    """The set of optional packages that a binary format needs."""


@dataclass(frozen=True)
class Output:
    """What the user asked of the output."""

    format: str = "auto"
    """`auto`, or a name of `FORMATS`."""
    path: str | None = None
    """`-o FILE`; None or `-` is stdout."""
    paths: bool = False
    """Bare paths instead of rows."""
    null: bool = False
    """Paths end with NUL instead of a newline."""
    escape_formulas: bool = False
    """In CSV and TSV: no cell is a formula to a spreadsheet."""
    header: bool = False
    """Names of the columns stand above tab-separated rows, which otherwise have none."""


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
    from clipcli.output.path_lists import GroupsWriter

    return GroupsWriter(target, null=output.null)


def _paths(target: Target, output: Output) -> Writer:
    from clipcli.output.path_lists import PathsWriter

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
    """Return what `--format` takes: `auto`, the formats of every command, and `also`, those of one command."""
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
    """Check what was asked before any work is done; `also` names formats of one command.

    Raises:
        UsageError: no such format, a suffix that names none, `-o` into a folder, or Parquet on a terminal.
        InputsError: Parquet, and pyarrow is not installed.
    """
    name = _OTHER_NAMES.get(name, name)
    if name not in format_names(also):
        raise UsageError(f"no format {name!r}", hint="one of " + ", ".join(format_names(also)))
    if paths and name != "auto":
        raise UsageError("--paths and --format do not go together", hint="--paths writes bare paths")
    if path is not None and is_folder(path):
        raise UsageError(f"{path} is a folder", hint="-o takes the name of a file to write")
    path = None if path is None or descriptor_of(path) == STDOUT else path
    if path is not None and not _is_stream(path) and name == "auto" and not paths:
        name = _named_by(path, also)
    chosen = None if paths else FORMATS.get(name)
    if escape_formulas and not (chosen and chosen.is_delimited):
        raise UsageError("--escape-formulas is for CSV and TSV", hint="--format csv, or -o FILE.csv")
    if chosen is not None and chosen.package is not None:
        require_packages(chosen.package, name.capitalize())
        if path in {None, "-"} and sys.stdout.isatty():
            raise UsageError(f"{name.capitalize()} is not shown on a terminal", hint=f"-o FILE{chosen.suffixes[0]}")
    return Output(name, path, paths=paths, null=null, escape_formulas=escape_formulas)


def _named_by(path: str, also: tuple[str, ...]) -> str:
    """Return the format that a file's suffix means. Raises UsageError when it means none."""
    suffixes, suffix = _by_suffix(also), Path(path).suffix.lower()
    if suffix not in suffixes:
        hint = f"give --format, or a name that ends in one of {', '.join(suffixes)}"
        raise UsageError(f"cannot tell the format of {path}", hint=hint)
    return suffixes[suffix]


def _is_stream(path: str) -> bool:
    """Return whether a name is no file whose suffix says something: `-`, a pipe, a device, an open file."""
    return path == "-" or descriptor_of(path) is not None or (is_there(path) and not is_file(path))


@contextmanager
def open_writer(output: Output, *, header: bool = False) -> Iterator[BlockWriter]:
    """Open the writer for an output; it is closed when the block ends, also after Ctrl-C, so that done work is kept.

    `header` is for `Output.header`.

    Raises:
        OutputError: the target cannot be written.
    """
    from clipcli.output.row_block import BlockWriter
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
