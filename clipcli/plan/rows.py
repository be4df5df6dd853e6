"""One line of a plan: a file, its group, whether to keep it, and its state at that time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from clipcli.core.decode import shown
from clipcli.inputs.sources.filesystems import is_url
from clipcli.plan.file_state import named
from clipcli.plan.steps import is_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = 1
_REQUIRED: Final[dict[str, type | tuple[type, ...]]] = {
    "group": int, "image": str, "level": str, "keep": bool, "path": str, "root": str, "keeper": str, "bytes": int,
    "mtime_ns": int, "device": int, "inode": int, "sha256": str,
}  # fmt: skip
_LEVELS: Final = ("exact", "near", "edited", "similar")
_INTEGERS: Final = 2**64
"""Device and inode numbers are unsigned 64-bit integers."""


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
    """
    if not isinstance(record, dict):
        raise BadRowError("not a JSON object")
    if "error" in record and "group" not in record:
        return None
    if "plan" not in record:
        raise BadRowError("not a row of a plan: it has no field 'plan'")
    if record["plan"] != VERSION or isinstance(record["plan"], bool):
        raise BadRowError(f"a plan of version {record['plan']!r}; this clipcli reads version {VERSION}")
    _check(record)
    image = record["image"] if is_url(record["path"]) else named(record["image"], record["path"])
    return PlanRow(
        record["group"], image, record["level"], record["keep"], record["path"], record["root"],
        record["keeper"], record["bytes"], record["mtime_ns"], record["device"], record["inode"], record["sha256"],
        record.get("protected") is True, record.get("distinct") is True,
        page if isinstance(page := record.get("page"), str) else "",
    )  # fmt: skip


def _is_plain(value: int, kind: object) -> bool:
    return isinstance(value, bool) == (kind is bool) and abs(value) < _INTEGERS


def _check(record: Mapping[str, Any]) -> None:
    for name, kind in _REQUIRED.items():
        value = record.get(name)
        if not isinstance(value, kind) or (isinstance(value, int) and not _is_plain(value, kind)):
            raise BadRowError(f"{name!r} is missing" if value is None else f"{name!r} cannot be {shown(value)}")
    if record["level"] not in _LEVELS:
        raise BadRowError(f"no level {record['level']!r}; use one of {', '.join(_LEVELS)}")
    if not is_sha256(record["sha256"]):
        raise BadRowError("'sha256' is not 64 hex digits")
