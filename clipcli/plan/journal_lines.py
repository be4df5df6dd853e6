"""The lines of a journal: steps with their checks, and seals.

Seals prove that this user wrote a journal on this machine: each line has an HMAC with a local key. `undo` writes files
to the paths in a journal. A journal from elsewhere is only displayed until the user confirms its paths.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from clipcli.core.decode import DecodeError, decode, is_file_name, shown
from clipcli.core.files import BINARY, is_sha256
from clipcli.plan.file_state import PERMISSIONS, Attributes, is_xattr
from clipcli.tasks.dedupe.keep import is_inside

if TYPE_CHECKING:
    from pathlib import Path

ActionName = Literal["trash", "move", "hardlink", "reflink", "symlink", "delete"]
StepState = Literal["begun", "done", "failed", "undone"]
_IDS: Final = 2**32 - 1
KEY_SIZE: Final = 32
_SEAL_DIGITS: Final = 32
_SEAL_START: Final = b', "seal": "'
_SEAL_END: Final = b'"}'


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
    state: StepState


def parse_step(record: dict[str, object]) -> Step:
    """Decode and check a step. Raises DecodeError."""
    step = decode(Step, record)
    if fault := _step_fault(step):
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


def root_fault(path: str, root: str) -> str | None:
    """Return an error text if a path lies outside the searched folder, else None."""
    if not is_inside(path, root) or path == root:
        return f"{path} lies outside the searched folder {root}"
    return None


def _step_fault(step: Step) -> str | None:
    for name, value, kind in (("action", step.action, ActionName), ("state", step.state, StepState)):
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
    return root_fault(step.path, step.root) or _number_fault(step)


def _number_fault(step: Step) -> str | None:
    if not is_sha256(step.sha256):
        return "'sha256' is not 64 hex digits"
    if step.size < 0 or not step.mode >= 0 or step.mode & ~PERMISSIONS & ~0o7000:
        return "'size' or 'mode' is out of range"
    if not -1 <= step.uid <= _IDS or not -1 <= step.gid <= _IDS:
        return "'uid' or 'gid' is out of range"
    return None if all(map(is_xattr, step.xattrs)) else "'xattrs' holds something else"


class Seals:
    """Seals lines one after another, or verifies the seals of lines that are read."""

    def __init__(self, key: bytes | None, last: str = "") -> None:
        self.last = last
        """The seal of the previous line, so that no line can be omitted, repeated or taken from another journal."""
        self.is_own = key is not None
        """Whether every line so far has a valid seal."""
        self._key = key

    def put_on(self, line: bytes) -> bytes:
        """Return a line, a JSON object, with its seal; unchanged without a key."""
        if self._key is None:
            return line
        self.last = self._of(line)
        return line[:-1] + _SEAL_START + self.last.encode("ascii") + _SEAL_END

    def follow(self, line: bytes) -> None:
        """Verify the seal of the next line."""
        body, _, seal = line.rpartition(_SEAL_START)
        self.is_own = self.is_own and hmac.compare_digest(self._of(body + b"}").encode("ascii") + _SEAL_END, seal)
        self.last = seal.removesuffix(_SEAL_END).decode("ascii", "replace")

    def _of(self, line: bytes) -> str:
        sealed = hmac.new(self._key or b"", self.last.encode("ascii", "replace") + line, hashlib.sha256)
        return sealed.hexdigest()[:_SEAL_DIGITS]


def own_key(*, make: bool) -> bytes | None:
    """Return the user's key, or None; `make` creates a missing key."""
    from platformdirs import user_state_path

    file = user_state_path("clipcli") / "journal.key"
    key = _read_key(file)
    if key is None and make:
        _create_key(file)
        key = _read_key(file)
    return key


def _read_key(file: Path) -> bytes | None:
    """Return the key if only its owner can read and write it, else None."""
    try:
        descriptor = os.open(file, os.O_RDONLY | BINARY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    with open(descriptor, "rb") as stream:
        state = os.fstat(descriptor)
        is_own = not hasattr(os, "geteuid") or (state.st_uid == os.geteuid() and not state.st_mode & 0o077)
        key = stream.read(KEY_SIZE + 1) if is_own else b""
    return key if len(key) == KEY_SIZE else None


def _create_key(file: Path) -> None:
    part = file.with_name(f"{file.name}.{secrets.token_hex(8)}.part")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | BINARY, 0o600), "wb") as stream:
            stream.write(secrets.token_bytes(KEY_SIZE))
        try:
            os.link(part, file)  # two concurrent runs share one key
        except OSError:
            if not file.exists():
                os.replace(part, file)
        part.unlink(missing_ok=True)
    except OSError:
        return
