"""Read the expected label of each image from a table, or from the output of an earlier run."""

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
from clipcli.errors import MOST_SUGGESTIONS, LabelsError, did_you_mean
from clipcli.inputs.text_files import Fault, Faults, quoted, read_text, refuse, tidy, unusable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

PARENT = "parent"
"""Given in place of a table: the expected label is the name of the image's folder."""
PATH_COLUMNS = ("path", "image", "file", "filename")
LABEL_COLUMN = "label"
_HEADERLESS = 2
"""Number of columns of a CSV without a header: path, label."""


@dataclass(frozen=True)
class Expectation:
    """One image of a table and its correct labels."""

    path: str
    """The path as written in the table."""
    labels: tuple[str, ...]
    """One or more labels, each of which is correct."""
    line: int
    """The image's first line in the table."""


@dataclass(frozen=True)
class Expectations:
    """The rows of a table, searchable by image."""

    source: str
    """The file's name in messages."""
    folder: str
    """The file's folder: relative paths are tried as written, then from here."""
    rows: tuple[Expectation, ...]

    def match(self, path: str) -> Expectation | None:
        """Return the row of an image, if there is one; `path` is the path that the operating system opens."""
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
        """Return the rows by real path; built only if an image is not found by its name."""
        named = {os.path.realpath(key): row for key, row in self._from_folder.items()}
        return named | {os.path.realpath(key): row for key, row in self._as_written.items()}


def parse_expectations(path: str) -> Expectations:
    """Read a CSV (`path,label`, with or without a header) or JSONL table; other columns are ignored.

    An image may have several correct labels: in several rows, separated by semicolons in a CSV cell, or as a JSON list.

    The column of paths is called path, image, file or filename, so the output of `classify` can be used directly.

    Raises:
        LabelsError: an unreadable file, a row without path or label, or no rows.
    """
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 - paths are strings here, any bytes included
    read_rows = {".csv": _csv_rows, ".jsonl": _json_rows, ".ndjson": _json_rows}.get(suffix)
    if read_rows is None:
        hint = f"{did_you_mean(path, [PARENT])} give a table of path and label, or {PARENT} for the names of folders"
        raise LabelsError(f"{path} is neither .csv nor .jsonl", hint=hint.strip())
    text, faults = read_text(path, errors="surrogateescape"), Faults(path)
    if isinstance(text, Fault):
        refuse([text], LabelsError)
    rows = _checked(read_rows(text, faults), faults)
    if not rows and not faults.entries:
        faults.add(None, "holds no rows", "path,label")
    if faults.entries:
        refuse(faults.in_order(), LabelsError)
    return Expectations(path, os.path.dirname(path), tuple(rows))  # noqa: PTH120


def require_labels(expectations: Expectations, names: Sequence[str]) -> None:
    """Check that every expected label is among `names`.

    Raises:
        LabelsError: names the first row with another label, and the nearest label.
    """
    accepted = frozenset(names)
    unknown = [(row, label) for row in expectations.rows for label in row.labels if label not in accepted]
    faults = [
        Fault(
            expectations.source,
            row.line,
            f"{quoted(label)} is not one of the labels",
            did_you_mean(label, names) if index < MOST_SUGGESTIONS else "",
        )
        for index, (row, label) in enumerate(unknown)
    ]
    if faults:
        refuse(faults, LabelsError)


def _key(path: str) -> str:
    """Return a key that is the same for all spellings of a path, with composed (NFC) or decomposed (NFD) accents."""
    return unicodedata.normalize("NFC", os.path.normcase(os.path.abspath(path)))  # noqa: PTH100


def _checked(cells: Iterable[tuple[int, str, Sequence[str]]], faults: Faults) -> list[Expectation]:
    """Return the valid rows, those of one image joined; add the others to `faults`."""
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
    r"""Return the labels of a cell, separated by semicolons; `\;` is a semicolon in a label."""
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
    """Yield the rows of a CSV that are not blank, with the number of their first line."""
    reader = csv.reader(io.StringIO(text), skipinitialspace=True, strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        faults.add(line, f"not CSV: {error}", "put a cell with commas or quotes in quotes, and double the inner quotes")


def _json_rows(text: str, faults: Faults) -> Iterator[tuple[int, str, Sequence[str]]]:
    for line, raw in enumerate(text.split("\n"), start=1):
        if not raw.strip():
            continue
        try:
            row = parse_json(raw)
        except DecodeError as error:
            faults.add(line, str(error), "one object per line")
            continue
        fields = row if isinstance(row, dict) else {}
        path = next((fields[name] for name in PATH_COLUMNS if name in fields), None)
        label = fields.get(LABEL_COLUMN)
        labels = [label] if isinstance(label, str) else label
        if isinstance(path, str) and isinstance(labels, list) and all(isinstance(item, str) for item in labels):
            yield line, path, labels
        else:
            missing = LABEL_COLUMN if isinstance(path, str) else " or ".join(PATH_COLUMNS)
            faults.add(line, f"no text under {missing}", '{"path": "a.jpg", "label": "cat"}')
