"""Windows as far as Linux can act it: a file that is open or mapped has a name that cannot be changed or removed."""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

MISSING = "" if Path("/proc/self/maps").exists() else "needs /proc"
_MAPPED = re.compile(r"^\S+ \S+ \S+ \S+ (?!0 )\d+ +(/.*)$", re.MULTILINE)


def act_as_windows(patch: pytest.MonkeyPatch) -> None:
    """Let calls that Windows refuses fail as they do there, in Python's own words."""
    for name in ("rename", "replace", "unlink", "remove", "rmdir"):
        patch.setattr(os, name, _refusing(getattr(os, name), name))
    patch.setattr("clipcli.plan.descriptors._BY_DESCRIPTOR", False)


def _refusing(real: Callable[..., Any], name: str) -> Callable[..., Any]:
    def call(path: Any, *others: Any, **options: Any) -> Any:
        folder = options.get("dir_fd", options.get("src_dir_fd"))
        above = os.readlink(f"/proc/self/fd/{folder}") if folder is not None else ""
        names = [path, *others] if name in {"rename", "replace"} else [path]
        busy = _busy()
        for each in names:
            full = os.path.join(above, os.fsdecode(each)) if above else os.path.abspath(os.fsdecode(each))
            if any(held == full or held.startswith(full + os.sep) for held in busy):
                raise PermissionError(errno.EACCES, "The process cannot access the file", each)
        if name == "rename" and os.path.lexists(os.fsdecode(others[0])):
            raise FileExistsError(errno.EEXIST, "Cannot create a file when that file already exists", others[0])
        return real(path, *others, **options)

    return call


def _busy() -> set[str]:
    """Files that this process has open or mapped."""
    found = set(_MAPPED.findall(Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")))
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the descriptor of this very listing
            found.add(os.readlink(link))
    return found
