"""Whether a file lies in one of several folders, compared by device and inode, not by name.

The same folder can be written in another case, reached through a link, or mounted a second time.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from clipcli.tasks.dedupe.keep import is_inside

if TYPE_CHECKING:
    from collections.abc import Collection


def is_below(path: str, folders: Collection[str]) -> bool:
    """Return whether an absolute path is one of the folders or lies in one."""
    if any(is_inside(path, folder) for folder in folders):
        return True
    keys = {key for folder in folders if (key := _key(folder))}
    while keys:
        if _key(path) in keys:
            return True
        path, below = os.path.dirname(path), path
        if path == below:
            break
    return False


def _key(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
