"""Read pairs of an image and its text from tar shards, from tables, and from folders with a text file per image.

An image and its text are matched by name or row, so a failure does not shift the other pairs.
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
from clipcli.inputs.sources.parquet import Table
from clipcli.inputs.sources.patterns import names_of
from clipcli.inputs.sources.refs import SHARDS, TABLES, TEXT_TABLES, has_suffix
from clipcli.inputs.sources.tar import captioned_images
from clipcli.inputs.sources.text_tables import TEXT_COLUMNS, column_of, header_of, is_text_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from clipcli.inputs.row_filter import Condition
    from clipcli.inputs.sources.patterns import Globs

_DEFAULT_EXTENSION: Final = "txt"
_MAX_TEXT_BYTES: Final = 1 << 20
"""Limit of a text file in bytes; no model reads as many."""


@dataclass(frozen=True)
class Pair:
    """An image and its text."""

    ref: ImageRef
    """The image; its `problem` is set if a half of the pair is missing."""
    text: str | None
    fields: Mapping[str, object] = field(default_factory=dict)
    """Columns of a table to copy to the output."""


@dataclass(frozen=True)
class PairColumns:
    """The columns of a table, or the kind of text file, that hold the two halves of a pair."""

    image: str | None = None
    """The column of images or of their paths; None takes the only one with images, or one of a usual name."""
    text: str | None = None
    """The column of texts; in shards and folders, the extension of the text files, or `json:FIELD`."""
    keep: tuple[str, ...] = ()
    """Columns to copy to the output; `all` copies every column."""
    where: Condition | None = None
    """Which rows of tables are wanted; None is all."""


def read_pairs(
    arguments: Sequence[str], files_from: Sequence[str], columns: PairColumns, globs: Globs, *, null: bool
) -> Iterator[Pair]:
    """Return the pairs of the arguments and lists, in order.

    Args:
        arguments: shards, tables, folders, files, URLs, patterns of these, or `-` for a list on stdin.
        files_from: files or URLs with a list of the same.
        columns: the location of the two halves of a pair.
        globs: the images to include and exclude.
        null: lists are separated by NUL instead of newlines.

    Raises:
        UsageError: no input was given.
        InputsError: a list or the only table cannot be used, or there are no pairs at all.
    """
    if not arguments and not files_from:
        raise UsageError(
            "no pairs given", hint="name shards (.tar), a table (.csv, .tsv, .jsonl, .parquet) or a folder"
        )
    tables = any(has_suffix(argument, (*TABLES, *TEXT_TABLES)) for argument in arguments)
    if columns.where is not None and not tables and not files_from and STDIN not in arguments:
        raise UsageError("--where is for tables", hint="a .parquet, .csv, .tsv or .jsonl file of images and texts")
    is_only_input = len(arguments) == 1 and not files_from
    return _expand_all(named_inputs(arguments, files_from, null=null), columns, globs, is_only_input=is_only_input)


def _expand_all(
    named: Iterator[str | ImageRef], columns: PairColumns, globs: Globs, *, is_only_input: bool
) -> Iterator[Pair]:
    count = 0
    for argument in named:
        for pair in _expand(argument, columns, globs) if is_only_input else _expand_safely(argument, columns, globs):
            count += 1
            yield pair
    if not count and columns.where is not None:
        raise InputsError("no row of the tables passes --where", hint=f"the condition is {columns.where.expression}")
    if not count:
        raise InputsError("no pairs in the inputs", hint="an image and its text have the same name: a.jpg, a.txt")


def _expand_safely(argument: str | ImageRef, columns: PairColumns, globs: Globs) -> Iterator[Pair]:
    """Yield the pairs of one of several arguments; an error becomes a failed pair."""
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
            yield from _pair_files(name, columns, globs)
        elif has_suffix(name, SHARDS):
            yield from _read_shard(name, columns, globs)
        elif has_suffix(name, TABLES) or is_text_table(name):
            yield from _read_table(name, columns, globs)
        else:
            yield from _pair_files(name, columns, globs)


def _read_shard(archive: str, columns: PairColumns, globs: Globs) -> Iterator[Pair]:
    extension, _, key = (columns.text or _DEFAULT_EXTENSION).partition(":")
    for ref, data in captioned_images(archive, extension):
        if globs.takes(ref.name):
            yield _pair_from_bytes(ref, data, extension, key, {})


def _read_table(table: str, columns: PairColumns, globs: Globs) -> Iterator[Pair]:
    table_name = redact_url(table)
    names = header_of(table) if is_text_table(table) else list(Table(table).file.schema_arrow.names)
    column = column_of(table_name, columns.text, names, TEXT_COLUMNS)
    for ref in collect([table], column=columns.image, keep=(column, *columns.keep), where=columns.where, globs=globs):
        carried = {name: value for name, value in ref.fields.items() if name != column or name in columns.keep}
        if ref.problem is not None:
            value = ref.fields.get(column)
            yield Pair(ref, value if isinstance(value, str) else None, carried)
        else:
            yield _pair_from_value(ref, ref.fields.get(column), f"the column {column}", carried)


def _pair_files(name: str, columns: PairColumns, globs: Globs) -> Iterator[Pair]:
    """Yield the images of a folder, each with the text file of the same name."""
    extension, _, key = (columns.text or _DEFAULT_EXTENSION).partition(":")
    for ref in collect([name], globs=globs):
        if ref.problem is not None or ref.source is not None:
            problem = ref.problem or "there is no text for it; name a shard, a table or a folder"
            yield Pair(replace(ref, problem=problem), None)
            continue
        file = f"{os.path.splitext(ref.path)[0]}.{extension}"  # noqa: PTH122 - any bytes
        try:
            data: bytes | ImageError | None = read_bytes(file, _MAX_TEXT_BYTES) if is_there(file) else None
        except (OSError, ValueError) as error:
            data = ImageError("read", f"its text cannot be used: {reason_of(error)}")
        yield _pair_from_bytes(ref, data, extension, key, {})


def _pair_from_bytes(
    ref: ImageRef, data: bytes | ImageError | None, extension: str, key: str, carried: Mapping[str, object]
) -> Pair:
    """Return the pair of an image and the bytes of its text, or a pair with the problem."""
    location = f"the .{extension} beside it"
    if ref.problem is not None:
        return Pair(ref, None, carried)
    if data is None:
        return Pair(replace(ref, problem=f"no text: it has no .{extension} file"), None, carried)
    if isinstance(data, ImageError):
        return Pair(replace(ref, problem=data.reason), None, carried)
    if not key:
        return _pair_from_value(ref, _decode_text(data), location, carried)
    try:
        record = parse_json(data)
    except DecodeError:
        return Pair(replace(ref, problem=f"no text: {location} is not JSON"), None, carried)
    value = record.get(key) if isinstance(record, dict) else None
    return _pair_from_value(ref, value, f"{key} of {location}", carried)


def _decode_text(data: bytes) -> str:
    return data.decode("utf-8-sig", "surrogateescape").strip("\r\n")


def _pair_from_value(ref: ImageRef, value: object, location: str, carried: Mapping[str, object]) -> Pair:
    text = str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text.strip():
        return Pair(replace(ref, problem=f"no text in {location}"), None, carried)
    if any("\ud800" <= character <= "\udfff" for character in text):
        return Pair(replace(ref, problem=f"the text in {location} is not UTF-8"), None, carried)
    return Pair(ref, text, carried)
