"""Where files go inside a folder, by names that are free also where case and accents do not count."""

from __future__ import annotations

import os
import unicodedata
from contextlib import suppress

from clipcli.plan.file_state import look


class FreeNames:
    """Free names in one folder. Each folder is listed once, so a hundred thousand files go in as fast as ten."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._taken: dict[str, dict[str, str]] = {}
        """Folder → folded name → the name as it is written there, or as it was given away here."""

    def of(self, relative: str) -> tuple[str, tuple[str, ...]]:
        """Where `relative` goes, and the folders that must be made for it, outermost first.

        Names that differ only in case or in how an accent is written count as equal, since on many disks they are:
        folders are joined, a file becomes `name (2).jpg`.
        """
        *parents, name = relative.split(os.sep)
        place, missing = self.folder, _missing_above(self.folder)
        for parent in parents:
            place = os.path.join(place, self._folder_in(place, parent))
            if look(place) is None:
                missing.append(place)
        taken = self._names(place)
        stem, suffix = os.path.splitext(name)
        candidate, count = name, 1
        while _folded(candidate) in taken:
            count += 1
            candidate = f"{stem} ({count}){suffix}"
        taken[_folded(candidate)] = candidate
        return os.path.join(place, candidate), tuple(missing)

    def _folder_in(self, place: str, name: str) -> str:
        return name if look(os.path.join(place, name)) else self._names(place).setdefault(_folded(name), name)

    def _names(self, folder: str) -> dict[str, str]:
        if folder not in self._taken:
            self._taken[folder] = {}
            with suppress(FileNotFoundError, NotADirectoryError):
                self._taken[folder] = {_folded(name): name for name in sorted(os.listdir(folder), reverse=True)}
        return self._taken[folder]


def _missing_above(folder: str) -> list[str]:
    missing: list[str] = []
    while look(folder) is None and os.path.dirname(folder) != folder:
        missing.insert(0, folder)
        folder = os.path.dirname(folder)
    return missing


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
