"""JSON Lines and CSV files of vectors: one line per row, failures included, and the description in a second file.

JSON Lines: `{"image": …, "model": …, "fingerprint": …, "pixels": …, "embedding": […]}`. CSV: name, carried columns,
`fingerprint`, settings such as `pixels`, numbers (`v0`, `v1`, …) and `error`.
"""

from __future__ import annotations

import csv
import io
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from clipcli.core.decode import DecodeError, decode, parse_json
from clipcli.core.files import is_there, open_file, own_error, read_bytes, read_lines, reason_of, words_of
from clipcli.errors import VectorsError
from clipcli.output.rows import as_json, cell_of, dumps
from clipcli.vectorfiles.columns import CarriedColumn, Restorer, is_own
from clipcli.vectorfiles.info import Failure, Kind, VectorRows, VectorsInfo, from_json, settings, with_settings
from clipcli.vectorfiles.vector_file import (
    LARGEST_DESCRIPTION,
    LONGEST_ROW,
    VectorFile,
    description_path,
    failure,
    failure_record,
)
from clipcli.vectorfiles.writer import VectorsWriter, json_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from clipcli.core.vectors import Vector
    from clipcli.vectorfiles.info import Positions


_DIGITS = {"float32": "%.9g", "float16": "%.5g"}
"""Number formats with enough digits to restore every value exactly."""


@dataclass(frozen=True)
class Line:
    """A row of a text format."""

    name: str
    vector: Vector
    position: int | None
    fields: Mapping[str, object]
    """All other columns, as the file has them."""


class TextFile(VectorFile):
    """A text file, read again for each property that is not known yet."""

    path: Path

    def __init__(self, path: Path) -> None:
        first = next((line for line in self.lines(path) if isinstance(line, Line)), None)
        beside = description_path(path)
        info = _read_description(beside) if is_there(beside) else self.own_info(path)
        super().__init__(path, info, len(first.vector) if first else info.parameters.dim if info.parameters else 0)
        self._first = first

    @staticmethod
    @abstractmethod
    def lines(path: Path) -> Iterator[Line | Failure]:
        """Return the parsed rows of a file.

        Raises:
            VectorsError: a line is not in this format.
        """

    @staticmethod
    @abstractmethod
    def own_info(path: Path) -> VectorsInfo:
        """Return the description from the rows of the file itself."""

    @staticmethod
    @abstractmethod
    def restored(restorer: Restorer, fields: Mapping[str, object]) -> Mapping[str, object]:
        """Return the carried columns of a row with the right types. Raises ValueError."""

    @cached_property
    def fields(self) -> Sequence[Mapping[str, object]]:
        """Return the carried columns of the rows with a vector."""
        if not self.info.columns:
            return ()
        return self._restored([line for line in self.lines(self.path) if isinstance(line, Line)])

    def _restored(self, lines: Sequence[Line]) -> list[Mapping[str, object]]:
        restorer = Restorer(self.info.columns)
        with own_error(VectorsError, str(self.path), what="its carried columns are damaged"):
            return [self.restored(restorer, line.fields) for line in lines]

    @cached_property
    def names(self) -> Sequence[str]:
        """Return the names of the rows with a vector."""
        return [line.name for line in self.lines(self.path) if isinstance(line, Line)]

    @cached_property
    def positions(self) -> Positions | None:
        """Return the positions of the rows of a shard, else None."""
        if self._first is None or self._first.position is None:
            return None
        positions = [line.position for line in self.lines(self.path) if isinstance(line, Line)]
        return np.array(positions, np.int64)

    @cached_property
    def failures(self) -> Sequence[Failure]:
        """Return the rows with an error instead of a vector."""
        return [line for line in self.lines(self.path) if isinstance(line, Failure)]

    @property
    def is_empty(self) -> bool:
        """Return whether there is no row with a vector."""
        return self._first is None

    def read(self, rows: int, *, fields: bool = False) -> Iterator[VectorRows]:
        """Parse and yield rows block by block."""
        good = (line for line in self.lines(self.path) if isinstance(line, Line))
        start = 0
        while block := list(islice(good, rows)):
            for number, line in enumerate(block, start):
                if len(line.vector) != self.dim:
                    raise VectorsError(
                        f"{self.path}: row {number} has {len(line.vector)} numbers, the first {self.dim}"
                    )
            start += len(block)
            positions = None
            if block[0].position is not None:
                positions = np.array([line.position for line in block], np.int64)
            carried = self._restored(block) if fields and self.info.columns else None
            vectors = np.stack([line.vector for line in block])
            yield VectorRows([line.name for line in block], vectors, positions, carried)


class TextWriter(VectorsWriter):
    """Writes one line per row immediately; with stdout there is no second file."""

    def start(self) -> None:
        """Write the description, unless the output is stdout."""
        self._digits = ",".join([_DIGITS[self.plan.dtype]] * self.plan.dim)
        if self.plan.path is not None:
            self.beside(description_path).write(json_line(self.description()))

    def write(self, rows: VectorRows) -> None:
        """Write one line per row."""
        vectors = self.stored(rows).tolist()
        positions = [None] * len(vectors) if rows.positions is None else rows.positions.tolist()
        carried = rows.fields if rows.fields is not None else [{}] * len(vectors)
        for name, vector, position, fields in zip(rows.names, vectors, positions, carried, strict=True):
            self.target.write(self.line(name, position, fields, self._digits % tuple(vector)))
        self.target.flush()

    @abstractmethod
    def line(self, name: str, position: int | None, fields: Mapping[str, object], numbers: str) -> bytes:
        """Return one row; `numbers` is separated by commas."""


def _read_description(beside: Path) -> VectorsInfo:
    with own_error(VectorsError, str(beside)):
        return from_json(parse_json(read_bytes(beside, LARGEST_DESCRIPTION)), str(beside))


class JsonlFile(TextFile):
    """Reads files in which every row names its model and settings, so any part of a file can be used."""

    @staticmethod
    def lines(path: Path) -> Iterator[Line | Failure]:
        """Yield one line or failure per JSON object."""
        for number, record in _json_records(path):
            with own_error(VectorsError, f"{path}:{number}", what="not a row of clipcli embed"):
                row = failure(record) if "error" in record else _decoded_line(record)
            yield row

    @staticmethod
    def restored(restorer: Restorer, fields: Mapping[str, object]) -> Mapping[str, object]:
        """Return values of JSON with the right types."""
        return restorer.fields(fields)

    @staticmethod
    def own_info(path: Path) -> VectorsInfo:
        """Return the description from the first row with a vector."""
        for number, record in _json_records(path):
            if "embedding" not in record:
                continue
            if "fingerprint" not in record:
                raise VectorsError(
                    f"{path}:{number}: does not name the model of its vector", hint="make it with clipcli embed"
                )
            kind: Kind = "image" if "image" in record else "text"
            columns = tuple(CarriedColumn(name) for name in record if not is_own(name))
            info = VectorsInfo(kind, str(record.get("model", "")), str(record["fingerprint"]), columns=columns)
            return with_settings(info, record)
        raise VectorsError(f"{path}: holds no vector")


def _json_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with open_file(path) as stream:
            for number, text in enumerate(read_lines(stream, LONGEST_ROW), start=1):
                record = parse_json(text)
                if not isinstance(record, dict):
                    raise VectorsError(f"{path}:{number}: not a JSON object")
                yield number, record
    except OSError as error:
        raise VectorsError(f"{path}: cannot be read ({reason_of(error)})") from error
    except ValueError as error:
        raise VectorsError(f"{path}: not JSON Lines, or cut off ({words_of(error)})") from error


@dataclass(frozen=True)
class _JsonRow:
    embedding: list[object]
    image: str | None = None
    text: str | None = None
    position: int | None = None


def _decoded_line(record: dict[str, Any]) -> Line:
    """Decode one row. Raises ValueError, TypeError, KeyError."""
    row = decode(_JsonRow, record, unknown="ignore")
    vector = np.array(row.embedding, np.float32)
    if vector.ndim != 1:
        raise DecodeError("'embedding' should be a list of numbers")
    name = row.text if row.image is None else row.image
    if name is None:
        raise DecodeError("no 'image'")
    return Line(name, vector, row.position, {name: value for name, value in record.items() if not is_own(name)})


class JsonlWriter(TextWriter):
    """Writes rows and failures in one sequence."""

    def start(self) -> None:
        """Prepare the fields that every row repeats."""
        super().start()
        info = self.plan.info
        self._model = dumps({"model": info.model, "fingerprint": info.fingerprint, **settings(info)})[1:-1]

    def line(self, name: str, position: int | None, fields: Mapping[str, object], numbers: str) -> bytes:
        """Return one object."""
        position_field = {} if position is None else {"position": position}
        carried = {column.name: as_json(fields.get(column.name)) for column in self.plan.info.columns}
        head = dumps({self.plan.info.kind: name, **position_field, **carried})[:-1]
        return f'{head}, {self._model}, "embedding": [{numbers}]}}\n'.encode()

    def fail(self, lost: Failure) -> None:
        """Write an object with the error."""
        self.target.write(
            json_line(failure_record(lost, self.plan.info.kind, positions=self.plan.info.shard is not None))
        )
        self.target.flush()


_CSV_FALSE = "false"


class CsvFile(TextFile):
    """Reads columns by name and ignores others."""

    @staticmethod
    def lines(path: Path) -> Iterator[Line | Failure]:
        """Yield one line or failure per record; a record with an `error` has no vector."""
        rows = _csv_records(path)
        columns = _CsvColumns(path, next(rows))
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
        rows = _csv_records(path)
        columns = _CsvColumns(path, next(rows))
        with own_error(VectorsError, str(path)):
            first = next((row for row in rows if not columns.error_of(row)), [""] * len(columns.header))
            carried = tuple(CarriedColumn(name) for name in columns.others)
            info = VectorsInfo(columns.kind, "", first[columns.fingerprint], columns=carried)
        record: dict[str, object] = dict(zip(columns.header, first, strict=False))
        return with_settings(info, {**record, "unit_length": record.get("unit_length") != _CSV_FALSE})


class _CsvColumns:
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
        position = None if self.position is None else _csv_position(row[self.position])
        if error := self.error_of(row):
            stage, _, reason = error.partition(": ")
            return Failure(row[self.name], stage, reason, -1 if position is None else position, self._fields(row))
        vector = np.array([float(number) for number in row[self.vector]], np.float32)
        return Line(row[self.name], vector, position, self._fields(row))

    def _fields(self, row: Sequence[str]) -> dict[str, str]:
        return {name: row[index] for name, index in self.others.items()}


def _csv_position(text: str) -> int:
    """Return an integer that fits 64 bits. Raises ValueError."""
    if len(text) > 19 or int(text) >= 2**63:  # noqa: PLR2004 - digits
        raise ValueError(f"not a position: {text[:40]!r}")
    return int(text)


def _csv_records(path: Path) -> Iterator[list[str]]:
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
        self._model = [info.fingerprint, *(_CSV_FALSE if value is False else str(value) for value in shared.values())]
        names = [column.name for column in info.columns]
        self.target.write(_csv_record([info.kind, *position, *names, "fingerprint", *shared, *numbers, "error"]))

    def line(self, name: str, position: int | None, fields: Mapping[str, object], numbers: str) -> bytes:
        """Return one record; the last field, the error, is empty."""
        position_fields = [] if position is None else [str(position)]
        head = _csv_record([name, *position_fields, *self._cells(fields), *self._model]).removesuffix(b"\n")
        return head + f",{numbers},\n".encode("ascii")

    def fail(self, lost: Failure) -> None:
        """Write a record with an error and without numbers."""
        position_fields = [str(lost.position)] if self.plan.info.shard is not None else []
        reason = f"{lost.stage}: {lost.reason}"
        head = [lost.name, *position_fields, *self._cells(lost.fields), *self._model]
        self.target.write(_csv_record([*head, *[""] * self.plan.dim, reason]))
        self.target.flush()

    def _cells(self, fields: Mapping[str, object]) -> list[str]:
        return [cell_of(fields.get(column.name)) for column in self.plan.info.columns]


def _csv_record(fields: Sequence[str]) -> bytes:
    text = io.StringIO()
    # With "\n" alone, a carriage return in a name would not be quoted before Python 3.13.
    csv.writer(text, lineterminator="\r\n").writerow(fields)
    return (text.getvalue().removesuffix("\r\n") + "\n").encode("utf-8", "surrogateescape")
