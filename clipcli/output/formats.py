"""A format's name becomes a writer on a target."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from clipcli.core.arrow import pyarrow
from clipcli.core.files import STDOUT, descriptor_of, is_file, is_folder, is_there
from clipcli.errors import UsageError
from clipcli.output.delimited import CsvWriter, TsvWriter
from clipcli.output.json import JsonArrayWriter, JsonLinesWriter
from clipcli.output.parquet_rows import ParquetRowsWriter
from clipcli.output.path_lists import GroupsWriter, PathsWriter
from clipcli.output.table import TableWriter
from clipcli.output.targets import open_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.output.rows import Writer
    from clipcli.output.targets import Target

Format = Literal["auto", "table", "tsv", "csv", "jsonl", "json", "parquet", "groups"]
FORMATS: tuple[str, ...] = get_args(Format)[:-1]
"""For every command; `groups` is for rows that have a group."""
_OTHER_NAMES = {"ndjson": "jsonl"}
_BY_SUFFIX: dict[str, Format] = {
    ".tsv": "tsv",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "table",
}


@dataclass(frozen=True)
class Output:
    """What the user asked of the output."""

    format: Format = "auto"
    path: str | None = None
    """`-o FILE`; None or `-` is stdout."""
    paths: bool = False
    """Bare paths instead of rows."""
    null: bool = False
    """Paths end with NUL instead of a newline."""
    escape_formulas: bool = False
    """In CSV and TSV: no cell is a formula to a spreadsheet."""


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
    if name not in (*FORMATS, *also):
        raise UsageError(f"no format {name!r}", hint="one of " + ", ".join((*FORMATS, *also)))
    if paths and name != "auto":
        raise UsageError("--paths and --format do not go together", hint="--paths writes bare paths")
    if path is not None and is_folder(path):
        raise UsageError(f"{path} is a folder", hint="-o takes the name of a file to write")
    chosen = cast("Format", name)
    path = None if path is None or descriptor_of(path) == STDOUT else path
    if path is not None and not _is_stream(path) and chosen == "auto" and not paths:
        suffix = Path(str(path)).suffix.lower()
        if suffix not in _BY_SUFFIX:
            known = ", ".join(_BY_SUFFIX)
            raise UsageError(
                f"cannot tell the format of {path}", hint=f"give --format, or a name that ends in one of {known}"
            )
        chosen = _BY_SUFFIX[suffix]
    if escape_formulas and (paths or chosen not in {"csv", "tsv"}):
        raise UsageError("--escape-formulas is for CSV and TSV", hint="--format csv, or -o FILE.csv")
    if chosen == "parquet" and not paths:
        pyarrow()
        if path in {None, "-"} and sys.stdout.isatty():
            raise UsageError("Parquet is not shown on a terminal", hint="-o FILE.parquet")
    return Output(chosen, path, paths=paths, null=null, escape_formulas=escape_formulas)


def _is_stream(path: str) -> bool:
    """Return whether a name is no file whose suffix says something: `-`, a pipe, a device, an open file."""
    return path == "-" or descriptor_of(path) is not None or (is_there(path) and not is_file(path))


@contextmanager
def open_writer(output: Output, *, header: bool = False) -> Iterator[Writer]:
    """The writer for an output; finished when the block ends, also after Ctrl-C, so that done work is seen.

    `header` puts the names of the columns above tab-separated rows, which otherwise have none.

    Raises:
        OutputError: the target cannot be written.
    """
    with open_target(output.path) as target:
        writer = _writer(output, target, header=header)
        try:
            yield writer
        except KeyboardInterrupt:
            writer.close()
            raise
        writer.close()


def _writer(output: Output, target: Target, *, header: bool) -> Writer:  # noqa: PLR0911 - a return a format
    if output.paths:
        return PathsWriter(target, null=output.null)
    match output.format:
        case "jsonl":
            return JsonLinesWriter(target)
        case "json":
            return JsonArrayWriter(target)
        case "csv":
            return CsvWriter(target, escape_formulas=output.escape_formulas)
        case "tsv":
            return TsvWriter(target, header=header, escape_formulas=output.escape_formulas)
        case "table":
            return TableWriter(target)
        case "parquet":
            return ParquetRowsWriter(target)
        case "groups":
            return GroupsWriter(target, null=output.null)
        case "auto":
            return TableWriter(target) if target.is_terminal else TsvWriter(target, header=header)
