"""The folder, the permissions and the limits of the cache, from environment variables or defaults."""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, ClassVar

from clipcli.core.files import BINARY
from clipcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


_FOLDER, _FILE = 0o700, 0o600
_OTHERS = 0o077
_OPEN = "other users can write to this folder"


def is_private(folder: Path) -> bool:
    """Return whether only this user and root can write to a folder or replace it.

    True for a missing folder, and always on systems without owners of files.
    """
    if not hasattr(os, "geteuid"):
        return True
    try:
        state = folder.stat()
    except OSError:
        return True
    is_own = state.st_uid in {os.geteuid(), 0}
    return is_own and not state.st_mode & stat.S_IWOTH and not _is_open_to_all(folder.absolute().parent)


def make_folder(folder: Path) -> Path:
    """Create a folder and its missing parents for this user alone, and return it.

    Raises:
        OSError: it cannot be created, or other users can write to it.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    if missing and _is_open_to_all(missing[-1].absolute().parent):
        raise PermissionError(errno.EPERM, _OPEN, str(folder))
    for path in reversed(missing):
        with suppress(FileExistsError):  # another process was faster
            path.mkdir(_FOLDER)
            path.chmod(_FOLDER)
    if not is_private(folder):
        raise PermissionError(errno.EPERM, _OPEN, str(folder))
    return folder


def _is_open_to_all(folder: Path) -> bool:
    """Return whether everybody may rename files in a folder; with the sticky bit, as in /tmp, only their owners may."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return hasattr(os, "geteuid") and bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def open_file(path: Path, mode: str = "w") -> IO[str]:
    """Open a file for writing for this user alone; mode `x` refuses an existing file. Raises OSError."""
    only_new = os.O_EXCL if mode == "x" else os.O_TRUNC
    flags = os.O_CREAT | os.O_WRONLY | BINARY | only_new | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, _FILE)
    close_to_others(path)
    return os.fdopen(descriptor, "w", encoding="utf-8")


def close_to_others(path: Path) -> None:
    """Remove the permissions of other users on a file or folder of this user, and on everything in it."""
    with suppress(OSError):
        state = path.lstat()
        if stat.S_ISLNK(state.st_mode) or (hasattr(os, "geteuid") and state.st_uid != os.geteuid()):
            return
        is_folder = stat.S_ISDIR(state.st_mode)
        owner_mode = _FOLDER if is_folder else _FILE
        if stat.S_IMODE(state.st_mode) & _OTHERS or stat.S_IMODE(state.st_mode) & owner_mode != owner_mode:
            path.chmod(owner_mode)
        for below in path.iterdir() if is_folder else ():
            close_to_others(below)


_FIRST_DAY = date(1970, 1, 1)


@dataclass(frozen=True)
class SpaceInfo:
    """A set of comparable vectors: of one model, precision and variant."""

    space: str
    """`fingerprint/precision`, optionally followed by a variant."""
    model: str
    """The model's name, if a run stored it."""
    entries: int
    bytes: int
    last_used: int
    """Days since 1970-01-01 (UTC)."""
    columns: ClassVar[tuple[str, ...]] = ("model", "space", "vectors", "bytes", "last used")
    path: ClassVar[None] = None

    @property
    def last_day(self) -> str:
        """Return the day of the last use, as `2025-01-31`."""
        return (_FIRST_DAY + timedelta(days=self.last_used)).isoformat()

    def record(self) -> Mapping[str, object]:
        """Return the row as a JSON object."""
        counts = {"vectors": self.entries, "bytes": self.bytes}
        return {"model": self.model, "space": self.space, **counts, "last_used": self.last_day}

    def cells(self) -> Sequence[tuple[str, ...]]:
        """Return the row's one line."""
        return [(self.model, self.space, str(self.entries), str(self.bytes), self.last_day)]


DEFAULT_MAX_BYTES = 2 * 1000**3
"""Enough for a million vectors of 512 float32."""
_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def cache_folder() -> Path:
    """Return the cache folder: `CLIPCLI_CACHE_DIR`, else the user's cache folder."""
    chosen = os.environ.get("CLIPCLI_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("clipcli")


def parse_size(text: str) -> int:
    """Parse a size such as `500M`, `2GB`, `1.5GiB` or a plain number of bytes; K, M, G, T are powers of 1000.

    Raises:
        UsageError: the text is not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", text.upper())
    if match is None or match[2] not in _UNITS:
        raise UsageError(f"not a size: {text!r}", hint="write a number of bytes, or 500M, 2GB, 1.5GiB")
    return int(float(match[1]) * _UNITS[match[2]])


@dataclass(frozen=True)
class CacheLimits:
    """The limits that the cache enforces itself."""

    max_bytes: int = DEFAULT_MAX_BYTES
    itemsize: int = 4
    """Bytes per number: 4 for float32, 2 for float16."""


def limits(say: Callable[[str], None]) -> CacheLimits:
    """Return the limits from `CLIPCLI_CACHE_MAX_SIZE` and `CLIPCLI_CACHE_DTYPE`; report and ignore invalid values."""
    size, dtype = (os.environ.get(f"CLIPCLI_CACHE_{name}") for name in ("MAX_SIZE", "DTYPE"))
    if dtype not in {None, "", "float32", "float16"}:
        say(f"--cache-dtype or CLIPCLI_CACHE_DTYPE: not float32 or float16: {dtype!r}")
    try:
        bound = parse_size(size) if size else DEFAULT_MAX_BYTES
    except UsageError as error:
        say(f"--cache-max-size or CLIPCLI_CACHE_MAX_SIZE: {error}")
        bound = DEFAULT_MAX_BYTES
    return CacheLimits(bound, 2 if dtype == "float16" else 4)
