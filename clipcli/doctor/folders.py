"""The folders that grow: clipcli's cache, and the hub's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.cache import cache_folder
from clipcli.doctor.rows import Finding
from clipcli.files import is_file, is_folder, is_there

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOM = 100_000_000
"""Free bytes under which caches are likely to fail."""


def folders() -> Iterator[Finding]:
    """Where they are, what they hold, and whether they can be written."""
    own = cache_folder()
    yield Finding("cache", "clipcli", f"{own}, {_state(own)}", _is_usable(own))
    for name in ("vectors", "bundles", "models"):
        parts = [own / name]
        if name == "vectors":
            parts = list(own.glob("vectors-*")) if is_folder(own) else []
        yield Finding("cache", f"clipcli {name}", _megabytes(sum(map(size_of, parts))))
    hub = hub_folder()
    models = sum(entry.name.startswith("models--") for entry in hub.iterdir()) if is_folder(hub) else 0
    yield Finding("cache", "hub", f"{hub}, {_state(hub)}, {models} repositor{'y' if models == 1 else 'ies'}")


def hub_folder() -> Path:
    """huggingface_hub's cache, by its own rules."""
    from clipcli.hub.on_disk import repository_folder

    return repository_folder("any/name", None).parent


def size_of(path: Path) -> int:
    """Bytes of a file, or of the files below a folder; links are not followed, what vanishes counts nothing."""
    if is_file(path):
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                status = (Path(folder) / name).lstat()
            except OSError:
                continue
            total += status.st_size
    return total


def _state(folder: Path) -> str:
    return _megabytes(size_of(folder)) if is_folder(folder) else "not there yet"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _is_usable(folder: Path) -> bool:
    """Whether files can be made in it, or in the nearest folder above that is there, and there is room."""
    place = next(parent for parent in (folder, *folder.absolute().parents) if is_there(parent))
    if not (is_folder(place) and os.access(place, os.W_OK | os.X_OK)):
        return False
    if not hasattr(os, "statvfs"):
        return True
    disk = os.statvfs(place)
    return disk.f_bavail * disk.f_frsize >= _ROOM
