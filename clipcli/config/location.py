"""Find the config file of the working folder; it is not read here, since most folders have none."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from clipcli.core.files import is_file, is_there
from clipcli.inputs.text_files import read_text

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME: Final = "clipcli.toml"
PYPROJECT: Final = "pyproject.toml"


def named_config(path: str | None = None) -> str | None:
    """Return the config file that the user names: the argument, else `CLIPCLI_CONFIG`, else None."""
    return path or os.environ.get("CLIPCLI_CONFIG") or None


def find_config(start: str = ".") -> str | None:
    """Return the config file of a folder, or None.

    It is clipcli.toml, or a pyproject.toml with `[tool.clipcli]`, in the folder or a parent up to the top of the
    repository; outside a repository only the folder counts. Files and repositories of other users are ignored.
    """
    return next((os.path.relpath(path) for path in _candidates(start) if is_own(path)), None)


def foreign_config(start: str = ".") -> str | None:
    """Return a config file that `find_config` ignores because it belongs to another user, or None."""
    return next((os.path.relpath(path) for path in _candidates(start) if not is_own(path)), None)


def _candidates(start: str) -> Iterator[Path]:
    folder_path = Path(start).absolute()
    folders = [folder_path, *folder_path.parents]
    git_folders = ((depth, folder / ".git") for depth, folder in enumerate(folders))
    top = next((depth for depth, git_folder in git_folders if is_there(git_folder) and is_own(git_folder)), 0)
    for folder in folders[: top + 1]:
        if is_file(folder / NAME):
            yield folder / NAME
        if _has_section(folder / PYPROJECT):
            yield folder / PYPROJECT


def is_own(path: Path) -> bool:
    """Return whether a file, and a link to it, belong to this user; always True on systems without owners.

    As in git, root also trusts the files of the user who ran sudo.
    """
    if not hasattr(os, "geteuid"):
        return True
    own_ids = {os.geteuid()}
    if os.geteuid() == 0 and (sudo_id := os.environ.get("SUDO_UID", "")).isdecimal():
        own_ids.add(int(sudo_id))
    try:
        return path.lstat().st_uid in own_ids and path.stat().st_uid in own_ids
    except OSError:
        return False


def _has_section(path: Path) -> bool:
    """Return whether a pyproject.toml has a section for clipcli, even if the file is not valid TOML."""
    if not is_file(path):
        return False
    text = read_text(str(path))
    return isinstance(text, str) and re.search(r"^\s*\[+\s*tool\s*\.\s*clipcli\b", text, re.MULTILINE) is not None
