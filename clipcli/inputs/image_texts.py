"""Images with their own texts: of tar shards, of tables, and of folders with a text file beside each image.

A pair is made where both halves are named, so that a failure of one cannot move the others.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from clipcli.core.decode import DecodeError, parse_json
from clipcli.core.files import is_there, read_bytes, reason_of
from clipcli.core.redaction import redact_url
from clipcli.errors import ImageError, InputsError, UsageError
from clipcli.inputs.collect import STDIN, ImageRef, collect, named_inputs
from clipcli.inputs.sources.captions import captioned_images
from clipcli.inputs.sources.parquet import Table
from clipcli.inputs.sources.patterns import names_of
from clipcli.inputs.sources.suffixes import SHARDS, TABLES, TEXT_TABLES, has_suffix
from clipcli.inputs.sources.text_tables import TEXT_COLUMNS, column_of, header_of, is_text_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from clipcli.inputs.row_filter import Condition
    from clipcli.inputs.sources.globs import Globs

_USUAL_EXTENSION: Final = "txt"
_LONGEST_TEXT: Final = 1 << 20
"""Bytes of a text file; no model reads as many."""


@dataclass(frozen=True)
class Pair:
    """An image and its text."""

    ref: ImageRef
    """With a problem where a half is missing."""
    text: str | None
    fields: Mapping[str, object] = field(default_factory=dict)
    """Columns of a table that are carried to the output."""


@dataclass(frozen=True)
class PairColumns:
    """Where the halves of a pair stand."""

    image: str | None = None
    """The column of images, or of their paths; None takes the only one with images, or one of a usual name."""
    text: str | None = None
    """The column of texts; beside images, the extension of the files that hold texts, or `json:FIELD`."""
    keep: tuple[str, ...] = ()
    """Columns that are carried to the output; `all` is all of them."""
    where: Condition | None = None
    """Which rows of tables are wanted; None is all."""


def read_pairs(
    arguments: Sequence[str], files_from: Sequence[str], columns: PairColumns, globs: Globs, *, null: bool
) -> Iterator[Pair]:
    """Return the pairs that arguments and lists name, in order.

    Args:
        arguments: shards, tables, folders, files, URLs and patterns of such, or `-` for a list on stdin.
        files_from: files or URLs that hold a list of the same.
        columns: where the halves of a pair stand.
        globs: which images take part.
        null: lists are separated by NUL instead of newlines.

    Raises:
        UsageError: nothing was named.
        InputsError: a list or the only table cannot be used, or nothing at all came out.
    """
    if not arguments and not files_from:
        raise UsageError(
            "no pairs given", hint="name shards (.tar), a table (.csv, .tsv, .jsonl, .parquet) or a folder"
        )
    tables = any(has_suffix(argument, (*TABLES, *TEXT_TABLES)) for argument in arguments)
    if columns.where is not None and not tables and not files_from and STDIN not in arguments:
        raise UsageError("--where is for tables", hint="a .parquet, .csv, .tsv or .jsonl file of images and texts")
    alone = len(arguments) == 1 and not files_from
    return _all(named_inputs(arguments, files_from, null=null), columns, globs, alone=alone)


def _all(named: Iterator[str | ImageRef], columns: PairColumns, globs: Globs, *, alone: bool) -> Iterator[Pair]:
    count = 0
    for argument in named:
        for pair in _expand(argument, columns, globs) if alone else _expand_safely(argument, columns, globs):
            count += 1
            yield pair
    if not count and columns.where is not None:
        raise InputsError("no row of the tables passes --where", hint=f"it says {columns.where.expression}")
    if not count:
        raise InputsError("no pairs in the inputs", hint="an image belongs to the text that has its name: a.jpg, a.txt")


def _expand_safely(argument: str | ImageRef, columns: PairColumns, globs: Globs) -> Iterator[Pair]:
    """Yield the pairs of one argument of several: what is wrong with it is a failure of its own."""
    try:
        yield from _expand(argument, columns, globs)
    except (InputsError, UsageError) as error:
        problem = error.message + (f" ({error.hint})" if error.hint else "")
        name = argument.name if isinstance(argument, ImageRef) else argument
        yield Pair(ImageRef(name, redact_url(name), problem), None)


def _expand(argument: str | ImageRef, columns: PairColumns, globs: Globs) -> Iterator[Pair]:
    if isinstance(argument, ImageRef):
        problem = argument.problem or "an image on stdin has no text beside it"
        yield Pair(ImageRef(argument.path, argument.name, problem), None)
        return
    for name in names_of(argument):
        if isinstance(name, ImageRef):
            yield Pair(name, None)
        elif os.path.isdir(name):  # noqa: PTH112 - any bytes
            yield from _beside(name, columns, globs)
        elif has_suffix(name, SHARDS):
            yield from _of_shard(name, columns, globs)
        elif has_suffix(name, TABLES) or is_text_table(name):
            yield from _of_table(name, columns, globs)
        else:
            yield from _beside(name, columns, globs)


def _of_shard(archive: str, columns: PairColumns, globs: Globs) -> Iterator[Pair]:
    extension, _, key = (columns.text or _USUAL_EXTENSION).partition(":")
    for ref, data in captioned_images(archive, extension):
        if globs.takes(ref.name):
            yield _pair(ref, data, extension, key, {})


def _of_table(table: str, columns: PairColumns, globs: Globs) -> Iterator[Pair]:
    shown = redact_url(table)
    names = header_of(table) if is_text_table(table) else list(Table(table).file.schema_arrow.names)
    column = column_of(shown, columns.text, names, TEXT_COLUMNS)
    for ref in collect([table], column=columns.image, keep=(column, *columns.keep), where=columns.where, globs=globs):
        carried = {name: value for name, value in ref.fields.items() if name != column or name in columns.keep}
        if ref.problem is not None:
            value = ref.fields.get(column)
            yield Pair(ref, value if isinstance(value, str) else None, carried)
        else:
            yield _with_text(ref, ref.fields.get(column), f"the column {column}", carried)


def _beside(name: str, columns: PairColumns, globs: Globs) -> Iterator[Pair]:
    """Images of a folder, each with the file of the same name that holds its text."""
    extension, _, key = (columns.text or _USUAL_EXTENSION).partition(":")
    for ref in collect([name], globs=globs):
        if ref.problem is not None or ref.source is not None:
            problem = ref.problem or "it has no text of its own; name a shard, a table or a folder"
            yield Pair(replace(ref, problem=problem), None)
            continue
        file = f"{os.path.splitext(ref.path)[0]}.{extension}"  # noqa: PTH122 - any bytes
        try:
            data: bytes | ImageError | None = read_bytes(file, _LONGEST_TEXT) if is_there(file) else None
        except (OSError, ValueError) as error:
            data = ImageError("read", f"its text is unusable: {reason_of(error)}")
        yield _pair(ref, data, extension, key, {})


def _pair(
    ref: ImageRef, data: bytes | ImageError | None, extension: str, key: str, carried: Mapping[str, object]
) -> Pair:
    """Return an image with the bytes of its text."""
    where = f"the .{extension} beside it"
    if ref.problem is not None:
        return Pair(ref, None, carried)
    if data is None:
        return Pair(replace(ref, problem=f"no text: it has no .{extension} file"), None, carried)
    if isinstance(data, ImageError):
        return Pair(replace(ref, problem=data.reason), None, carried)
    if not key:
        return _with_text(ref, _decoded(data), where, carried)
    try:
        record = parse_json(data)
    except DecodeError:
        return Pair(replace(ref, problem=f"no text: {where} is not JSON"), None, carried)
    value = record.get(key) if isinstance(record, dict) else None
    return _with_text(ref, value, f"{key} of {where}", carried)


def _decoded(data: bytes) -> str:
    return data.decode("utf-8-sig", "surrogateescape").strip("\r\n")


def _with_text(ref: ImageRef, value: object, where: str, carried: Mapping[str, object]) -> Pair:
    text = str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text.strip():
        return Pair(replace(ref, problem=f"no text in {where}"), None, carried)
    if any("\ud800" <= character <= "\udfff" for character in text):
        return Pair(replace(ref, problem=f"the text in {where} is not UTF-8"), None, carried)
    return Pair(ref, text, carried)
