"""CSV: name, carried columns, `fingerprint`, settings such as `pixels`, numbers (`v0`, `v1`, …) and `error`."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, cast

import numpy as np

from clipcli.core.files import open_file, own_error, words_of
from clipcli.errors import VectorsError
from clipcli.output.rows import cell_of
from clipcli.vectorfiles.columns import CarriedColumn, is_own
from clipcli.vectorfiles.info import Failure, Kind, VectorsInfo, settings, with_settings
from clipcli.vectorfiles.text_file import Line, TextFile, TextWriter
from clipcli.vectorfiles.vector_file import LONGEST_ROW

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from clipcli.vectorfiles.columns import Restorer


_FALSE = "false"


class CsvFile(TextFile):
    """Reads columns by name and ignores others."""

    @staticmethod
    def lines(path: Path) -> Iterator[Line | Failure]:
        """Yield one line or failure per record; a record with an `error` has no vector."""
        rows = _records(path)
        columns = _Columns(path, next(rows))
        for number, row in enumerate(rows, start=1):
            try:
                line = columns.line(row)
            except (ValueError, IndexError, OverflowError) as error:
                reason = "it ends too early" if isinstance(error, IndexError) else words_of(error)
                raise VectorsError(f"{path}: row {number} is damaged ({reason})") from error
            yield line

    @staticmethod
    def restored(restorer: Restorer, fields: Mapping[str, object]) -> Mapping[str, object]:
        """Return cells with the right types."""
        return restorer.cells(cast("Mapping[str, str]", fields))

    @staticmethod
    def own_info(path: Path) -> VectorsInfo:
        """Return the description from the first row with a vector."""
        rows = _records(path)
        columns = _Columns(path, next(rows))
        with own_error(VectorsError, str(path)):
            first = next((row for row in rows if not columns.error_of(row)), [""] * len(columns.header))
            carried = tuple(CarriedColumn(name) for name in columns.others)
            info = VectorsInfo(columns.kind, "", first[columns.fingerprint], columns=carried)
        record: dict[str, object] = dict(zip(columns.header, first, strict=False))
        return with_settings(info, {**record, "unit_length": record.get("unit_length") != _FALSE})


class _Columns:
    """The positions of the columns in a record."""

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self.header = header
        index_of = {name: index for index, name in enumerate(header)}
        self.kind: Kind = "image" if "image" in index_of else "text"
        for name in (self.kind, "fingerprint", "v0"):
            if name not in index_of:
                raise VectorsError(f"{path}: has no column {name}", hint="make it with clipcli embed")
        self.name = index_of[self.kind]
        self.others = {name: index for name, index in index_of.items() if not is_own(name)}
        self.fingerprint = index_of["fingerprint"]
        self.position = index_of.get("position")
        self.error = index_of.get("error")
        dim = next(number for number in range(len(header) + 1) if f"v{number}" not in index_of)
        self.vector = slice(index_of["v0"], index_of["v0"] + dim)

    def error_of(self, row: Sequence[str]) -> str:
        return "" if self.error is None else row[self.error]

    def line(self, row: Sequence[str]) -> Line | Failure:
        position = None if self.position is None else _position(row[self.position])
        if error := self.error_of(row):
            stage, _, reason = error.partition(": ")
            return Failure(row[self.name], stage, reason, -1 if position is None else position, self._fields(row))
        vector = np.array([float(number) for number in row[self.vector]], np.float32)
        return Line(row[self.name], vector, position, self._fields(row))

    def _fields(self, row: Sequence[str]) -> dict[str, str]:
        return {name: row[index] for name, index in self.others.items()}


def _position(text: str) -> int:
    """Return an integer that fits 64 bits. Raises ValueError."""
    if len(text) > 19 or int(text) >= 2**63:  # noqa: PLR2004 - digits
        raise ValueError(f"not a position: {text[:40]!r}")
    return int(text)


def _records(path: Path) -> Iterator[list[str]]:
    csv.field_size_limit(LONGEST_ROW)
    try:
        with io.TextIOWrapper(
            io.BufferedReader(cast("io.RawIOBase", open_file(path))), "utf-8", "surrogateescape", newline=""
        ) as stream:
            rows = csv.reader(stream, strict=True)
            header = next(rows, None)
            if header is None:
                raise VectorsError(f"{path}: is empty")
            yield header
            yield from rows
    except OSError as error:
        raise VectorsError(f"{path}: cannot be read ({error.strerror})") from error
    except csv.Error as error:
        raise VectorsError(f"{path}: not CSV, or cut off ({error})") from error


class CsvVectorsWriter(TextWriter):
    """Writes CSV by RFC 4180, with a header."""

    def start(self) -> None:
        """Write the header."""
        super().start()
        info = self.plan.info
        position = ["position"] if info.shard is not None else []
        numbers = [f"v{number}" for number in range(self.plan.dim)]
        shared = settings(info)
        self._model = [info.fingerprint, *(_FALSE if value is False else str(value) for value in shared.values())]
        names = [column.name for column in info.columns]
        self.target.write(_record([info.kind, *position, *names, "fingerprint", *shared, *numbers, "error"]))

    def line(self, name: str, position: int | None, fields: Mapping[str, object], numbers: str) -> bytes:
        """Return one record; the last field, the error, is empty."""
        position_fields = [] if position is None else [str(position)]
        head = _record([name, *position_fields, *self._cells(fields), *self._model]).removesuffix(b"\n")
        return head + f",{numbers},\n".encode("ascii")

    def fail(self, lost: Failure) -> None:
        """Write a record with an error and without numbers."""
        position_fields = [str(lost.position)] if self.plan.info.shard is not None else []
        reason = f"{lost.stage}: {lost.reason}"
        head = [lost.name, *position_fields, *self._cells(lost.fields), *self._model]
        self.target.write(_record([*head, *[""] * self.plan.dim, reason]))
        self.target.flush()

    def _cells(self, fields: Mapping[str, object]) -> list[str]:
        return [cell_of(fields.get(column.name)) for column in self.plan.info.columns]


def _record(fields: Sequence[str]) -> bytes:
    text = io.StringIO()
    # With "\n" alone, a carriage return in a name would not be quoted before Python 3.13.
    csv.writer(text, lineterminator="\r\n").writerow(fields)
    return (text.getvalue().removesuffix("\r\n") + "\n").encode("utf-8", "surrogateescape")
