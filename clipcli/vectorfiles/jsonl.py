"""JSON Lines: `{"image": …, "model": …, "fingerprint": …, "embedding": […]}`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from clipcli.errors import VectorsError
from clipcli.output.json_lines import dumps
from clipcli.vectorfiles.base import failure, failure_record
from clipcli.vectorfiles.info import Failure, Kind, VectorsInfo
from clipcli.vectorfiles.text import Line, TextFile, TextWriter
from clipcli.vectorfiles.writer import json_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class JsonlFile(TextFile):
    """Every row says its model, so that a part of a file is still a file."""

    @staticmethod
    def lines(path: Path) -> Iterator[Line | Failure]:
        """One JSON object a line."""
        number = 0
        try:
            for number, record in _records(path):  # noqa: B007 - named by the error
                yield failure(record) if "error" in record else _line(record)
        except (KeyError, TypeError, ValueError) as error:
            raise VectorsError(f"{path}:{number}: no row of clipcli embed ({error!r})") from error

    @staticmethod
    def own_info(path: Path) -> VectorsInfo:
        """From the first row with a vector."""
        for number, record in _records(path):
            if "embedding" not in record:
                continue
            if "fingerprint" not in record:
                raise VectorsError(
                    f"{path}:{number}: nothing says which model made it", hint="make it with clipcli embed"
                )
            kind: Kind = "image" if "image" in record else "text"
            return VectorsInfo(kind, str(record.get("model", "")), str(record["fingerprint"]))
        raise VectorsError(f"{path}: holds no vector")


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8") as stream:
            for number, text in enumerate(stream, start=1):
                record = json.loads(text)
                if not isinstance(record, dict):
                    raise VectorsError(f"{path}:{number}: not a JSON object")
                yield number, record
    except OSError as error:
        raise VectorsError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise VectorsError(f"{path}: not JSON Lines, or cut off ({error})") from error


def _line(record: dict[str, Any]) -> Line:
    name = record["image"] if "image" in record else record["text"]
    return Line(str(name), np.array(record["embedding"], np.float32), record.get("position"))


class JsonlWriter(TextWriter):
    """Failures stand among the rows."""

    def start(self) -> None:
        """Prepare what every row says."""
        super().start()
        info = self.plan.info
        self._model = dumps({"model": info.model, "fingerprint": info.fingerprint})[1:-1]

    def line(self, name: str, position: int | None, numbers: str) -> bytes:
        """One object."""
        where = {} if position is None else {"position": position}
        head = dumps({self.plan.info.kind: name, **where})[:-1]
        return f'{head}, {self._model}, "embedding": [{numbers}]}}\n'.encode()

    def fail(self, lost: Failure) -> None:
        """One object with the error."""
        self.target.write(
            json_line(failure_record(lost, self.plan.info.kind, positions=self.plan.info.shard is not None))
        )
        self.target.flush()
