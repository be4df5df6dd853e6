"""The table of `--expect`: which images each query should find, one pair a row."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.decode import DecodeError, parse_json
from clipcli.errors import LabelsError
from clipcli.query import Query, example, literal
from clipcli.textfiles import Fault, Faults, read_text, refuse, shown_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FOUND = ("image", "images", "text", "texts", "path", "relevant")
_QUERIES = ("query", "caption", "query_image")


@dataclass(frozen=True)
class Pair:
    """One row of the table: this query should find this."""

    query: Query
    found: str
    line: int

    @property
    def key(self) -> str:
        """Rows of the same are of one query."""
        return self.query.id or self.query.name


def read_pairs(path: str) -> tuple[Pair, ...]:
    """Read the table.

    A CSV has columns query (or query_image) and image (or text); a JSONL the same, with a text or a list of them. An id
    keeps queries of the same words apart.

    Raises:
        LabelsError: a table that cannot be used.
    """
    text, faults = read_text(path, errors="surrogateescape"), Faults(shown_name(path))
    if isinstance(text, Fault):
        refuse([text], LabelsError)
    rows = _json_rows(text, faults) if path.lower().endswith((".jsonl", ".ndjson")) else _csv_rows(text, faults)
    pairs = tuple(rows)
    if not pairs and not faults.found:
        faults.add(None, "holds no rows", "query,image")
    if faults.found:
        refuse(faults.in_order(), LabelsError)
    return pairs


def _csv_rows(text: str, faults: Faults) -> Iterator[Pair]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        for row in reader:
            yield from _pairs({key: value for key, value in row.items() if value}, reader.line_num, faults)
    except csv.Error as error:
        faults.add(reader.line_num, f"not CSV: {error}")


def _json_rows(text: str, faults: Faults) -> Iterator[Pair]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = parse_json(line)
            except DecodeError as error:
                faults.add(number, str(error), "one object a line")
                continue
            yield from _pairs(row if isinstance(row, dict) else {}, number, faults)


def _pairs(row: Mapping[str, object], line: int, faults: Faults) -> Iterator[Pair]:
    asked = next((name for name in _QUERIES if isinstance(row.get(name), str)), None)
    found = next((row[name] for name in _FOUND if name in row), None)
    names = found if isinstance(found, list) else [found]
    identifier = row.get("id")
    if (asked is None and identifier is None) or not names or not all(isinstance(name, str) for name in names):
        faults.add(line, "needs a query and an image", "columns query (or query_image) and image (or text)")
        return
    key = None if identifier is None else str(identifier)
    value = str(row[asked]) if asked else str(key)
    query = example(value, identifier=key) if asked == "query_image" else literal(value, identifier=key)
    for name in names:
        yield Pair(query, str(name), line)
