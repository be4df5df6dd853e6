"""Read a plan file into checked groups; an error names the line and the reason."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from clipcli.core.decode import DecodeError, parse_json
from clipcli.core.files import open_file, read_lines, reason_of
from clipcli.errors import PlanError
from clipcli.inputs.sources.filesystems import is_url
from clipcli.plan.rows import BadRowError, PlanRow, parse_row
from clipcli.plan.steps import path_fault, place_fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_UNSAVED: Final = re.compile(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|~%\ud800-\udfff\u200b-\u200f\u202a-\u202e\u2066-\u2069]')
_MAX_LINE_SIZE: Final = 1 << 18
"""Limit of a line in bytes: a few paths of 4,096 bytes, each byte escaped to six."""


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
        problem = _problem(row, row_by_path.get(row.path))
        if problem:
            raise PlanError(
                f"{path}, line {number}: {problem}", hint="nothing was touched; make the plan again or fix the line"
            )
        row_by_path[row.path] = row
        groups.setdefault(row.group, []).append(row)
    return Plan(file, tuple(_group(file, number, rows) for number, rows in groups.items()))


def _rows(path: Path) -> Iterator[tuple[int, PlanRow]]:
    number = 0
    try:
        with open_file(path) as stream:
            for number, line in enumerate(read_lines(stream, _MAX_LINE_SIZE), 1):
                text = _element(line)
                row = parse_row(parse_json(text)) if text else None
                if row is not None:
                    yield number, row
    except BadRowError as error:
        raise PlanError(f"{path}, line {number}: {error}") from error
    except DecodeError as error:
        raise PlanError(
            f"{path}, line {number}: {error}",
            hint="a plan has one object per line; clipcli dedupe -o plan.jsonl writes one",
        ) from error
    except (OSError, ValueError) as error:
        raise PlanError(f"{path}: {reason_of(error)}", hint="clipcli dedupe -o FILE.jsonl writes a plan") from error


def _element(line: bytes) -> bytes:
    """Return the object on a line of JSON Lines, or of an array with one element per line."""
    text = line.strip()
    return b"" if text in {b"[", b"]", b"[]"} else text.removesuffix(b",")


def _problem(row: PlanRow, earlier: PlanRow | None) -> str | None:
    is_kept_url = is_url(row.path) and row.keep  # listed, never touched
    paths = {} if is_kept_url else {"path": row.path, "root": row.root}
    for name, path in (paths if is_url(row.keeper) else {**paths, "keeper": row.keeper}).items():
        if fault := path_fault(name, path):
            return fault
    if paths and (fault := place_fault(row.path, row.root)):
        return fault
    if row.protected and not row.keep:
        return f"{row.path} is protected and cannot be removed"
    if earlier is None:
        return None
    if earlier.keep != row.keep:
        return f"{row.path} is kept in group {(earlier if earlier.keep else row).group} but removed elsewhere"
    return None if row.keep else f"{row.path} is already in group {earlier.group}"


def _group(path: Path, number: int, rows: Sequence[PlanRow]) -> PlanGroup:
    kept = tuple(row for row in rows if row.keep)
    if not kept:
        raise PlanError(f"{path}: group {number} keeps no file", hint='set "keep": true on one of its lines')
    return PlanGroup(number, kept, tuple(row for row in rows if not row.keep))
