"""The steps of a journal and their checks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final, Literal

from clipcli.core.decode import DecodeError, decode, is_file_name, shown
from clipcli.plan.attributes import PERMISSIONS, Attributes, is_xattr
from clipcli.tasks.dedupe.keep import is_inside

Action = Literal["trash", "move", "hardlink", "reflink", "symlink", "delete"]
State = Literal["begun", "done", "failed", "undone"]
_SHA256_DIGITS: Final = 64
_IDS: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Step:
    """One action on one file, with everything needed to undo it."""

    number: int
    action: str
    image: str
    path: str
    keeper: str
    sha256: str
    size: int
    mtime_ns: int
    mode: int
    """Permission bits."""
    inode: int = 0
    root: str = ""
    """The searched folder."""
    target: str = ""
    """The path it moves to."""
    made: tuple[str, ...] = ()
    """Folders created for the move, outermost first."""
    began: float = 0.0
    """Seconds since 1970."""
    state: str = "begun"
    """begun, done, failed or undone."""
    uid: int = -1
    gid: int = -1
    atime_ns: int = 0
    xattrs: tuple[str, ...] = ()
    """Each `name=value`, the value in hex digits."""

    @property
    def attributes(self) -> Attributes:
        """Return permissions, owner, times and extended attributes of the file."""
        return Attributes(self.mode, self.mtime_ns, self.atime_ns, self.uid, self.gid, self.xattrs)


@dataclass(frozen=True)
class Header:
    """The first line of a journal."""

    nonce: str
    """A random text, so that seals differ between journals."""


@dataclass(frozen=True)
class Mark:
    """A later state of a step."""

    number: int
    state: State


def parse_step(record: dict[str, object]) -> Step:
    """Decode and check a step. Raises DecodeError."""
    step = decode(Step, record)
    if fault := _fault(step):
        raise DecodeError(fault)
    return step


def parse_mark(record: dict[str, object]) -> Mark:
    """Decode and check a mark. Raises DecodeError."""
    return decode(Mark, record)


def path_fault(name: str, path: str) -> str | None:
    """Return why a path is not acceptable in a plan or journal, or None."""
    if not is_file_name(path) or not os.path.isabs(path) or os.path.normpath(path) != path:
        return f"{name!r} must be an absolute path without . or .., not {path!r}"
    return None


def place_fault(path: str, root: str) -> str | None:
    """Return an error text if a path lies outside the searched folder, else None."""
    if not is_inside(path, root) or path == root:
        return f"{path} lies outside the searched folder {root}"
    return None


def is_sha256(text: str) -> bool:
    """Return whether a text is a SHA-256 digest in 64 lower-case hex digits."""
    return len(text) == _SHA256_DIGITS and set(text) <= set("0123456789abcdef")


def _fault(step: Step) -> str | None:
    for name, value, kind in (("action", step.action, Action), ("state", step.state, State)):
        if value not in kind.__args__:  # type: ignore[attr-defined]
            return f"no {name} {shown(value)}"
    named = {"path": step.path, "root": step.root, "keeper": step.keeper}
    if step.action == "move":
        named["target"] = step.target
    for name, path in (*named.items(), *(("made", folder) for folder in step.made)):
        if fault := path_fault(name, path):
            return fault
    if (step.target or step.made) and step.action != "move":
        return f"'target' and 'made' belong to a move, not to {step.action!r}"
    if any(not is_inside(step.target, folder) for folder in step.made):
        return f"'made' holds a folder that is not above {step.target}"
    return place_fault(step.path, step.root) or _number_fault(step)


def _number_fault(step: Step) -> str | None:
    if not is_sha256(step.sha256):
        return "'sha256' is not 64 hex digits"
    if step.size < 0 or not step.mode >= 0 or step.mode & ~PERMISSIONS & ~0o7000:
        return "'size' or 'mode' is out of range"
    if not -1 <= step.uid <= _IDS or not -1 <= step.gid <= _IDS:
        return "'uid' or 'gid' is out of range"
    return None if all(map(is_xattr, step.xattrs)) else "'xattrs' holds something else"
