"""Folders that a search skips: recycle bins, thumbnails, snapshots, packages of programs."""

from __future__ import annotations

from typing import Final

SKIPPED_FOLDERS: Final = frozenset(
    (
        # recycle bins: Windows, Synology, QNAP, netatalk (those of Linux and macOS have hidden names)
        "$recycle.bin", "recycler", "recycled", "#recycle", "@recycle", "network trash folder",
        ".trash", ".trashes", ".recycle", ".recycle.bin", ".dtrash",
        # thumbnails and previews
        "@eadir", "@synoeastream", ".@__thumb", "@__thumb", ".thumbnails", ".thumbs", ".picasaoriginals",
        # what systems and archives keep beside files
        "__macosx", "system volume information", "lost+found", "@tmp", "temporary items", "_gsdata_",
        # snapshots: every file once more
        "#snapshot", "@recently-snapshot", "~snapshot", ".snapshot", ".snapshots", ".zfs",
        # packages of programs
        "node_modules", "bower_components", "__pycache__", ".git", ".venv",
    )
)  # fmt: skip
"""In lower case, since most systems that make these folders ignore case."""
_BEGINNINGS: Final = (".trash-",)
"""The recycle bin of one user on another disk (freedesktop.org): `.Trash-1000`."""
_ENDINGS: Final = (".lrdata",)
"""Previews of Lightroom's catalogues."""
_LIBRARY: Final = ".photoslibrary"
_ORIGINALS: Final = frozenset(("originals", "masters"))


def is_skipped_folder(name: str, parent: str = "") -> bool:
    """Return whether a search skips a folder of this name.

    Args:
        name: the last part of its path.
        parent: the name of its parent. In a library of Apple Photos only the originals are searched.
    """
    plain = name.lower()
    if plain in SKIPPED_FOLDERS or plain.startswith(_BEGINNINGS) or plain.endswith(_ENDINGS):
        return True
    return parent.lower().endswith(_LIBRARY) and plain not in _ORIGINALS


def lies_in_skipped_folder(path: str) -> bool:
    """Return whether a folder on the way to a path is skipped; the separator is `/` or the system's."""
    parts = path.replace("\\", "/").split("/")[:-1] if "\\" in path and ":" in path[:3] else path.split("/")[:-1]
    return any(is_skipped_folder(part, parent) for parent, part in zip(["", *parts], parts, strict=False))
