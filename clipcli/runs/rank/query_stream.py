"""Queries that arrive on stdin: each is answered at once, before the next one is read."""

from __future__ import annotations

import os
import sys
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Final

from clipcli.core.files import LineTooLongError
from clipcli.errors import ImageError, InputsError
from clipcli.inputs.text_files import STDIN, Faults, shown_name
from clipcli.runs.rank.queries import query_of_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.inputs.query import Query

_READ_SIZE: Final = 1 << 20
"""Bytes per read; lines read together are embedded and searched together."""
_LONGEST: Final = 16 << 20


@dataclass(frozen=True)
class QueryBatch:
    """Queries that arrived together."""

    queries: tuple[Query, ...]
    faults: tuple[tuple[str, ImageError], ...]
    """Lines that are not queries: (source and line number, error)."""


@dataclass
class QueryStream:
    """One query per line, or JSON Lines where the first line starts with a brace."""

    _is_json: bool | None = None
    _has_ids: bool | None = None
    """True if the first queries had ids; all rows have the same columns."""
    _faults: Faults = field(default_factory=lambda: Faults(shown_name(STDIN)))

    def batches(self) -> Iterator[QueryBatch]:
        """Yield the queries of the lines that have arrived.

        Raises:
            InputsError: stdin cannot be read, is UTF-16 text, or holds no queries.
        """
        number, empty = 0, True
        for lines in _lines():
            queries: list[Query] = []
            for line in lines:
                number += 1
                if line.strip():
                    queries += self._read(number, line)
            faults = tuple(
                (f"{fault.source}:{fault.line}", ImageError("read", fault.problem)) for fault in self._faults.found
            )
            self._faults.found.clear()
            if queries or faults:
                empty = False
                yield QueryBatch(tuple(self._with_ids(queries)), faults)
        if empty:
            raise InputsError(f"{shown_name(STDIN)}: holds no queries", hint="one query a line")

    def _read(self, number: int, line: str) -> list[Query]:
        if self._is_json is None:
            self._is_json = line.lstrip().startswith("{")
        query = query_of_line(number, line, self._faults, is_json=self._is_json)
        return [] if query is None else [query]

    def _with_ids(self, queries: list[Query]) -> list[Query]:
        if self._has_ids is None and queries:
            self._has_ids = any(query.id is not None for query in queries)
        if self._has_ids:
            return [query if query.id is not None else replace(query, id="") for query in queries]
        return [replace(query, id=None) for query in queries]


def _lines() -> Iterator[list[str]]:
    """Yield the lines of stdin, in lists of those that arrived together."""
    remainder, is_first = b"", True
    try:
        stream = _stdin()
        while block := stream.read(_READ_SIZE):
            if is_first and block.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
                raise InputsError(f"{shown_name(STDIN)}: is UTF-16 text", hint="save it as UTF-8")
            block = block.removeprefix(BOM_UTF8) if is_first else block
            is_first = False
            *whole, remainder = (remainder + block).split(b"\n")
            if len(remainder) > _LONGEST:
                raise LineTooLongError(_LONGEST)
            if whole:
                yield [_text(line) for line in whole]
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise InputsError(f"{shown_name(STDIN)}: cannot be read: {reason}") from error
    if remainder:
        yield [_text(remainder)]


def _stdin() -> IO[bytes]:
    """Return stdin without a buffer: a buffered reader would wait until its buffer is full."""
    try:
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    except (OSError, ValueError):  # stdin has no descriptor, as in a program that calls the command line
        return sys.stdin.buffer


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "surrogateescape")
