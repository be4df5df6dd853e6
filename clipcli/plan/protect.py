"""Whether a file lies in one of some folders, whatever they are called: by what the folders are, not by their names.

A folder can be written in another case, reached through a link, or mounted a second time, and it is the same folder.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from clipcli.tasks.dedupe.keep import is_inside

if TYPE_CHECKING:
    from collections.abc import Collection


def is_below(path: str, folders: Collection[str]) -> bool:
    """Whether an absolute path is one of the folders or lies in one."""
    if any(is_inside(path, folder) for folder in folders):
        return True
    wanted = {key for folder in folders if (key := _key(folder))}
    while wanted:
        if _key(path) in wanted:
            return True
        path, below = os.path.dirname(path), path
        if path == below:
            break
    return False


def _key(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
