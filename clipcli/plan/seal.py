"""Seals prove that this user wrote a journal on this machine: each line has an HMAC with a local key.

`undo` writes files to the paths in a journal. A journal from elsewhere is only displayed until the user confirms its
paths.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING, Final

from clipcli.core.files import BINARY

if TYPE_CHECKING:
    from pathlib import Path

KEY_SIZE: Final = 32
_DIGITS: Final = 32
_BEFORE: Final = b', "seal": "'
_BEHIND: Final = b'"}'


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
        return line[:-1] + _BEFORE + self.last.encode("ascii") + _BEHIND

    def follow(self, line: bytes) -> None:
        """Verify the seal of the next line."""
        body, _, seal = line.rpartition(_BEFORE)
        self.is_own = self.is_own and hmac.compare_digest(self._of(body + b"}").encode("ascii") + _BEHIND, seal)
        self.last = seal.removesuffix(_BEHIND).decode("ascii", "replace")

    def _of(self, line: bytes) -> str:
        sealed = hmac.new(self._key or b"", self.last.encode("ascii", "replace") + line, hashlib.sha256)
        return sealed.hexdigest()[:_DIGITS]


def own_key(*, make: bool) -> bytes | None:
    """Return the user's key, or None; `make` creates a missing key."""
    from platformdirs import user_state_path

    file = user_state_path("clipcli") / "journal.key"
    key = _read(file)
    if key is None and make:
        _make(file)
        key = _read(file)
    return key


def _read(file: Path) -> bytes | None:
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


def _make(file: Path) -> None:
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
