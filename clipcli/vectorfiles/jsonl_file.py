"""JSON Lines: `{"image": …, "model": …, "fingerprint": …, "pixels": …, "embedding": […]}`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clipcli.core.decode import DecodeError, decode, parse_json
from clipcli.core.files import open_file, own_error, read_lines, reason_of, words_of
from clipcli.errors import VectorsError
from clipcli.output.json import dumps
from clipcli.output.rows import as_json
from clipcli.vectorfiles.columns import CarriedColumn, is_own
from clipcli.vectorfiles.info import Failure, Kind, VectorsInfo, settings, with_settings
from clipcli.vectorfiles.text_file import Line, TextFile, TextWriter
from clipcli.vectorfiles.vector_file import LONGEST_ROW, failure, failure_record
from clipcli.vectorfiles.writer import json_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from clipcli.vectorfiles.columns import Restorer


class JsonlFile(TextFile):
    """Reads files in which every row names its model and settings, so any part of a file can be used."""

    @staticmethod
    def lines(path: Path) -> Iterator[Line | Failure]:
        """Yield one line or failure per JSON object."""
        for number, record in _records(path):
            with own_error(VectorsError, f"{path}:{number}", what="not a row of clipcli embed"):
                row = failure(record) if "error" in record else _line(record)
            yield row

    @staticmethod
    def restored(restorer: Restorer, fields: Mapping[str, object]) -> Mapping[str, object]:
        """Return values of JSON with the right types."""
        return restorer.fields(fields)

    @staticmethod
    def own_info(path: Path) -> VectorsInfo:
        """Return the description from the first row with a vector."""
        for number, record in _records(path):
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


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
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
class _Row:
    embedding: list[object]
    image: str | None = None
    text: str | None = None
    position: int | None = None


def _line(record: dict[str, Any]) -> Line:
    """Decode one row. Raises ValueError, TypeError, KeyError."""
    row = decode(_Row, record, unknown="ignore")
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
