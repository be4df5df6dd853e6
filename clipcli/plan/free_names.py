"""Unused file names in a folder, also unused where case and accents do not count."""

from __future__ import annotations

import os
import unicodedata
from contextlib import suppress

from clipcli.plan.file_state import look


class FreeNames:
    """Unused names in one folder. Each folder is listed once, so the cost per file does not grow with the folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._names_in: dict[str, dict[str, str]] = {}
        """Folder → folded name → the name on disk, or the name handed out here."""

    def of(self, relative: str) -> tuple[str, tuple[str, ...]]:
        """Return the target path for `relative`, and the folders to make for it, outermost first.

        Names that differ only in case or in how an accent is written count as equal, since on many disks they are:
        folders are joined, a file becomes `name (2).jpg`.
        """
        *parents, name = relative.split(os.sep)
        folder, missing = self.folder, _missing_above(self.folder)
        for parent in parents:
            folder = os.path.join(folder, self._folder_in(folder, parent))
            if look(folder) is None:
                missing.append(folder)
        taken = self._names(folder)
        stem, suffix = os.path.splitext(name)
        candidate, count = name, 1
        while _folded(candidate) in taken:
            count += 1
            candidate = f"{stem} ({count}){suffix}"
        taken[_folded(candidate)] = candidate
        return os.path.join(folder, candidate), tuple(missing)

    def _folder_in(self, folder: str, name: str) -> str:
        return name if look(os.path.join(folder, name)) else self._names(folder).setdefault(_folded(name), name)

    def _names(self, folder: str) -> dict[str, str]:
        if folder not in self._names_in:
            self._names_in[folder] = {}
            with suppress(FileNotFoundError, NotADirectoryError):
                self._names_in[folder] = {_folded(name): name for name in sorted(os.listdir(folder), reverse=True)}
        return self._names_in[folder]


def _missing_above(folder: str) -> list[str]:
    missing: list[str] = []
    while look(folder) is None and os.path.dirname(folder) != folder:
        missing.insert(0, folder)
        folder = os.path.dirname(folder)
    return missing


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
