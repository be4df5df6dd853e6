"""A plan: its rows, each with a file, its group, whether to keep it and its state, and the checks of a plan file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from clipcli.core.decode import DecodeError, parse_json, shown
from clipcli.core.files import Utf16Error, is_sha256, open_file, read_lines, reason_of
from clipcli.errors import PlanError
from clipcli.inputs.sources.filesystems import is_url
from clipcli.plan.file_state import named
from clipcli.plan.journal_lines import path_fault, root_fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

VERSION: Final = 1
_REQUIRED: Final[dict[str, type | tuple[type, ...]]] = {
    "group": int, "image": str, "level": str, "keep": bool, "path": str, "root": str, "keeper": str, "bytes": int,
    "mtime_ns": int, "device": int, "inode": int, "sha256": str,
}  # fmt: skip
_LEVELS: Final = ("exact", "near", "edited", "similar")
_INTEGERS: Final = 2**64
"""Device and inode numbers are unsigned 64-bit integers."""
_UNSAVED: Final = re.compile(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|~%\ud800-\udfff\u200b-\u200f\u202a-\u202e\u2066-\u2069]')
_MAX_LINE_SIZE: Final = 1 << 18
"""Limit of a line in bytes: a few paths of 4,096 bytes, each byte escaped to six."""


@dataclass(frozen=True)
class PlanRow:
    """A file of a group. Paths are absolute, with every parent folder resolved."""

    group: int
    image: str
    """The name that the user gave."""
    level: str
    keep: bool
    path: str
    root: str
    """The searched folder; nothing outside it is touched."""
    keeper: str
    """Path of the file that this one was verified against; a keeper has its own path here."""
    size: int
    mtime_ns: int
    device: int
    inode: int
    sha256: str
    protected: bool = False
    distinct: bool = False
    """Whether the user marked it as a different picture than the keeper."""
    page: str = ""
    """The review page of the plan; empty in a reviewed plan."""

    @property
    def leads(self) -> bool:
        """Return whether the other files of the group were verified against this file."""
        return self.path == self.keeper

    def record(self) -> dict[str, object]:
        """Return the additional fields of a plan's line."""
        record: dict[str, object] = {
            "plan": VERSION, "path": self.path, "root": self.root, "keeper": self.keeper, "bytes": self.size,
            "mtime_ns": self.mtime_ns, "device": self.device, "inode": self.inode, "sha256": self.sha256,
        }  # fmt: skip
        if self.protected:
            record["protected"] = True
        if self.distinct:
            record["distinct"] = True
        if self.page:
            record["page"] = self.page
        return record


class BadRowError(ValueError):
    """The reason why a line is not a row of a plan."""


def parse_row(record: object) -> PlanRow | None:
    """Parse a line of a plan; return None for an error row (an image that could not be read).

    Raises:
        BadRowError: the line is not a row, has another version, or an invalid value.
        DecodeError: it is an array.
    """
    if isinstance(record, list):
        raise DecodeError("an array, not an object")
    if not isinstance(record, dict):
        raise BadRowError("not a JSON object")
    if "error" in record and "group" not in record:
        return None
    if "plan" not in record:
        raise BadRowError("not a row of a plan: it has no field 'plan'")
    if record["plan"] != VERSION or isinstance(record["plan"], bool):
        raise BadRowError(f"a plan of version {record['plan']!r}; this clipcli reads version {VERSION}")
    record = _with_whole_numbers(record)
    _check_values(record)
    image = record["image"] if is_url(record["path"]) else named(record["image"], record["path"])
    return PlanRow(
        record["group"], image, record["level"], record["keep"], record["path"], record["root"],
        record["keeper"], record["bytes"], record["mtime_ns"], record["device"], record["inode"], record["sha256"],
        record.get("protected") is True, record.get("distinct") is True,
        page if isinstance(page := record.get("page"), str) else "",
    )  # fmt: skip


def _with_whole_numbers(record: Mapping[str, Any]) -> dict[str, Any]:
    """Turn 1.0 back into 1, where a tool that edited the plan wrote whole numbers as floats (pandas does)."""
    floats = {name: record.get(name) for name, kind in _REQUIRED.items() if kind is int}
    return {**record, **{name: int(x) for name, x in floats.items() if isinstance(x, float) and x.is_integer()}}


def _is_whole(value: int, kind: object) -> bool:
    return isinstance(value, bool) == (kind is bool) and abs(value) < _INTEGERS


def _check_values(record: Mapping[str, Any]) -> None:
    for name, kind in _REQUIRED.items():
        value = record.get(name)
        if not isinstance(value, kind) or (isinstance(value, int) and not _is_whole(value, kind)):
            raise BadRowError(f"{name!r} is missing" if value is None else f"{name!r} cannot be {shown(value)}")
    if record["level"] not in _LEVELS:
        raise BadRowError(f"no level {record['level']!r}; use one of {', '.join(_LEVELS)}")
    if not is_sha256(record["sha256"]):
        raise BadRowError("'sha256' is not 64 hex digits")


@dataclass(frozen=True)
class PlanGroup:
    """The files of one group: those to keep and those to remove."""

    number: int
    kept: tuple[PlanRow, ...]
    """At least one."""
    removed: tuple[PlanRow, ...]

    def keeper_of(self, row: PlanRow) -> PlanRow:
        """Return the keeper of a file to remove: the one it was verified against, else one with the same bytes."""
        verified = [kept for kept in self.kept if kept.path == row.keeper]
        same_bytes = [kept for kept in self.kept if kept.sha256 == row.sha256]
        return (verified or same_bytes or list(self.kept))[0]


@dataclass(frozen=True)
class Plan:
    """A checked plan."""

    path: Path
    groups: tuple[PlanGroup, ...]
    """Empty if the plan has no files."""

    @property
    def page(self) -> str:
        """Return the review page of this plan; empty if there is none or the plan was reviewed."""
        return next((row.page for group in self.groups for row in (*group.kept, *group.removed) if row.page), "")


def reviewed_name(plan: str) -> str:
    """Return the file name of a reviewed plan: `plan-reviewed.jsonl` for `plan.jsonl`.

    Characters that browsers change in the names of downloads become `_`.
    """
    stem = os.path.splitext(os.path.basename(plan))[0]
    return (_UNSAVED.sub("_", stem).strip("._ ") or "plan") + "-reviewed.jsonl"


def read_plan(path: str | Path) -> Plan:
    """Read and check a plan in JSON Lines.

    Raises:
        PlanError: the plan cannot be read, has another version, or is inconsistent: a group that keeps nothing, a file
            that is both kept and removed, a protected file that is removed, a path outside the searched folder.
    """
    file = Path(path)
    groups: dict[int, list[PlanRow]] = {}
    row_by_path: dict[str, PlanRow] = {}
    for number, row in _rows(file):
        problem = _row_fault(row, row_by_path.get(row.path))
        if problem:
            raise PlanError(
                f"{path}, line {number}: {problem}", hint="nothing was touched; make the plan again or fix the line"
            )
        row_by_path[row.path] = row
        groups.setdefault(row.group, []).append(row)
    return Plan(file, tuple(_checked_group(file, number, rows) for number, rows in groups.items()))


def _rows(path: Path) -> Iterator[tuple[int, PlanRow]]:
    number = 0
    try:
        with open_file(path) as stream:
            for number, line in enumerate(read_lines(stream, _MAX_LINE_SIZE), 1):
                text = _object_on(line)
                row = parse_row(parse_json(text)) if text else None
                if row is not None:
                    yield number, row
    except BadRowError as error:
        raise PlanError(f"{path}, line {number}: {error}") from error
    except DecodeError as error:
        raise PlanError(
            f"{path}, line {number}: {error}",
            hint="a plan has one object per line; of an array in several lines: jq -c '.[]' plan.json > plan.jsonl",
        ) from error
    except (OSError, ValueError) as error:
        hint = error.hint if isinstance(error, Utf16Error) else "clipcli dedupe -o FILE.jsonl writes a plan"
        raise PlanError(f"{path}: {reason_of(error)}", hint=hint) from error


def _object_on(line: bytes) -> bytes:
    """Return the object on a line of JSON Lines, or of an array with one element per line."""
    text = line.strip()
    return b"" if text in {b"[", b"]", b"[]"} else text.removesuffix(b",")


def _row_fault(row: PlanRow, previous: PlanRow | None) -> str | None:
    is_kept_url = is_url(row.path) and row.keep  # listed, never touched
    paths = {} if is_kept_url else {"path": row.path, "root": row.root}
    for name, path in (paths if is_url(row.keeper) else {**paths, "keeper": row.keeper}).items():
        if fault := path_fault(name, path):
            return fault
    if paths and (fault := root_fault(row.path, row.root)):
        return fault
    if row.protected and not row.keep:
        return f"{row.path} is protected and cannot be removed"
    if previous is None:
        return None
    if previous.keep != row.keep:
        return f"{row.path} is kept in group {(previous if previous.keep else row).group} but removed elsewhere"
    return None if row.keep else f"{row.path} is already in group {previous.group}"


def _checked_group(path: Path, number: int, rows: Sequence[PlanRow]) -> PlanGroup:
    kept = tuple(row for row in rows if row.keep)
    if not kept:
        raise PlanError(f"{path}: group {number} keeps no file", hint='set "keep": true on one of its lines')
    return PlanGroup(number, kept, tuple(row for row in rows if not row.keep))
