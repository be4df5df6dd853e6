"""Which label each image should get: a table that people keep beside their pictures, or an earlier run's output."""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from clipcli.core.decode import DecodeError, parse_json
from clipcli.core.suggest import GUESSES, did_you_mean
from clipcli.errors import LabelsError
from clipcli.inputs.text_files import Fault, Faults, quoted, read_text, refuse, tidy, unusable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

PARENT = "parent"
"""In place of a table: the name of the folder an image is in."""
PATH_COLUMNS = ("path", "image", "file", "filename")
LABEL_COLUMN = "label"
_HEADERLESS = 2
"""Columns of a CSV without a header: path, label."""


@dataclass(frozen=True)
class Expectation:
    """One image of a table, and the labels that are right for it."""

    path: str
    """As the table has it."""
    labels: tuple[str, ...]
    """One or more; any of them is right."""
    line: int
    """The first line that speaks of the image."""


@dataclass(frozen=True)
class Expectations:
    """The rows of a table, found by image."""

    source: str
    """What messages call the file."""
    folder: str
    """Where the file is: relative paths are tried as written, then from here."""
    rows: tuple[Expectation, ...]

    def match(self, path: str) -> Expectation | None:
        """Return the row that speaks of this image, if one does; `path` as the operating system opens it."""
        key = _key(path)
        return self._as_written.get(key) or self._from_folder.get(key) or self._by_target.get(os.path.realpath(key))

    @cached_property
    def _as_written(self) -> Mapping[str, Expectation]:
        return {_key(row.path): row for row in reversed(self.rows)}

    @cached_property
    def _from_folder(self) -> Mapping[str, Expectation]:
        return {_key(os.path.join(self.folder, row.path)): row for row in reversed(self.rows)}  # noqa: PTH118

    @cached_property
    def _by_target(self) -> Mapping[str, Expectation]:
        """By what links lead to; built only when an image is not found by its name."""
        named = {os.path.realpath(key): row for key, row in self._from_folder.items()}
        return named | {os.path.realpath(key): row for key, row in self._as_written.items()}


def parse_expectations(path: str) -> Expectations:
    """Read a CSV (`path,label`, with or without a header) or JSONL table; other columns are ignored.

    An image may have several right labels: in several rows, parted by semicolons in a CSV cell, or as a list in JSON.

    The path's column is called path, image, file or filename, so that the output of `classify` can be given as it is.

    Raises:
        LabelsError: an unreadable file, a row without path or label, or no rows.
    """
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 - paths are strings here, any bytes included
    read = {".csv": _csv_rows, ".jsonl": _json_rows, ".ndjson": _json_rows}.get(suffix)
    if read is None:
        hint = f"{did_you_mean(path, [PARENT])} a table of path and label, or {PARENT}: each folder's name"
        raise LabelsError(f"{path} is neither .csv nor .jsonl", hint=hint.strip())
    text, faults = read_text(path, errors="surrogateescape"), Faults(path)
    if isinstance(text, Fault):
        refuse([text], LabelsError)
    rows = _checked(read(text, faults), faults)
    if not rows and not faults.found:
        faults.add(None, "holds no rows", "path,label")
    if faults.found:
        refuse(faults.in_order(), LabelsError)
    return Expectations(path, os.path.dirname(path), tuple(rows))  # noqa: PTH120


def require_labels(expectations: Expectations, names: Sequence[str]) -> None:
    """Check that every expected label is one that can be given.

    Raises:
        LabelsError: naming the first row whose label cannot, and the nearest that can.
    """
    known = frozenset(names)
    unknown = [(row, label) for row in expectations.rows for label in row.labels if label not in known]
    faults = [
        Fault(
            expectations.source,
            row.line,
            f"{quoted(label)} is not one of the labels",
            did_you_mean(label, names) if place < GUESSES else "",
        )
        for place, (row, label) in enumerate(unknown)
    ]
    if faults:
        refuse(faults, LabelsError)


def _key(path: str) -> str:
    """Two spellings of a path have one key: also where one composes its accents (NFC) and the other does not (NFD)."""
    return unicodedata.normalize("NFC", os.path.normcase(os.path.abspath(path)))  # noqa: PTH100


def _checked(cells: Iterable[tuple[int, str, Sequence[str]]], faults: Faults) -> list[Expectation]:
    """Rows of one image are joined: each of their labels is right for it."""
    first: dict[str, Expectation] = {}
    for line, path, labels in cells:
        names = tuple(dict.fromkeys(tidy(label) for label in labels))
        problem = next(filter(None, map(unusable, names)), None)
        if not path or "\0" in path:
            faults.add(line, "a NUL byte in the path" if path else "no path")
        elif not names or not all(names):
            faults.add(line, f"no label for {quoted(path)}")
        elif problem:
            faults.add(line, f"label of {quoted(path)}: {problem}", "save the file as UTF-8")
        else:
            earlier = first.get(_key(path), Expectation(path, (), line))
            first[_key(path)] = replace(earlier, labels=tuple(dict.fromkeys((*earlier.labels, *names))))
    return list(first.values())


def _several(cell: str) -> list[str]:
    r"""Return the labels of a cell, which semicolons part; `\;` is a semicolon in a label."""
    return [piece.replace("\\;", ";") for piece in re.split(r"(?<!\\);", cell)]


def _csv_rows(text: str, faults: Faults) -> Iterator[tuple[int, str, Sequence[str]]]:
    rows = list(_numbered(text, faults))
    if not rows:
        return
    line, first = rows[0]
    names = [cell.strip().lower() for cell in first]
    path_at = next((names.index(name) for name in PATH_COLUMNS if name in names), None)
    label_at = names.index(LABEL_COLUMN) if LABEL_COLUMN in names else None
    if path_at is None and label_at is None and len(first) == _HEADERLESS:
        path_at, label_at = 0, 1
    elif path_at is None or label_at is None:
        missing = LABEL_COLUMN if label_at is None else " or ".join(PATH_COLUMNS)
        faults.add(line, f"no column {missing} among {quoted(', '.join(first))}", "path,label")
        return
    else:
        rows = rows[1:]
    width = max(path_at, label_at) + 1
    for line, cells in rows:
        if len(cells) < width:
            faults.add(line, f"{width} columns are needed, not {len(cells)}", "path,label")
        else:
            yield line, cells[path_at], _several(cells[label_at])


def _numbered(text: str, faults: Faults) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV that are not blank, each with the line it starts on."""
    reader = csv.reader(io.StringIO(text), skipinitialspace=True, strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        faults.add(line, f"not CSV: {error}", "a cell with commas or quotes stands in quotes, those inside doubled")


def _json_rows(text: str, faults: Faults) -> Iterator[tuple[int, str, Sequence[str]]]:
    for line, raw in enumerate(text.split("\n"), start=1):
        if not raw.strip():
            continue
        try:
            row = parse_json(raw)
        except DecodeError as error:
            faults.add(line, str(error), "one object a line")
            continue
        fields = row if isinstance(row, dict) else {}
        path = next((fields[name] for name in PATH_COLUMNS if name in fields), None)
        label = fields.get(LABEL_COLUMN)
        labels = [label] if isinstance(label, str) else label
        if isinstance(path, str) and isinstance(labels, list) and all(isinstance(one, str) for one in labels):
            yield line, path, labels
        else:
            missing = LABEL_COLUMN if isinstance(path, str) else " or ".join(PATH_COLUMNS)
            faults.add(line, f"no text under {missing}", '{"path": "a.jpg", "label": "cat"}')
