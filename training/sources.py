"""Where pictures come from: zips and folders, each picture with its set, its name and its side of the split."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}
HELD_OUT_SHARE = 10  # one picture in this many is never trained on
SMALLEST_SPLIT = 5  # classes with fewer pictures than this are trained on whole


@dataclass(frozen=True)
class Picture:
    """One labelled picture inside a zip or a folder."""

    source: str  # the set: the zip's stem, with its inner set for a zip of sets ("small_sets/flags")
    path: str  # inside the zip or folder, with forward slashes
    label: str  # the class name; grocery pictures carry "coarse/fine"
    held_out: bool


class Archive:
    """A zip or a folder, read the same way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stem = path.stem
        self._zip = zipfile.ZipFile(path) if path.is_file() else None
        self._names = self._list()
        self._known = frozenset(self._names)

    def _list(self) -> list[str]:
        if self._zip is not None:
            return sorted(name for name in self._zip.namelist() if not name.endswith("/"))
        return sorted(p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file())

    def names(self) -> list[str]:
        """The files inside, sorted, with forward slashes; listed once, when the archive is opened."""
        return self._names

    def read(self, name: str) -> bytes:
        """One file's bytes."""
        if self._zip is not None:
            return self._zip.read(name)
        return (self.path / name).read_bytes()

    def __contains__(self, name: str) -> bool:
        return name in self._known


def is_held_out(key: str) -> bool:
    """Whether the picture of this name is kept out of training: a tenth, by a hash of the name alone."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % HELD_OUT_SHARE == 0


def pictures(archive: Archive) -> list[Picture]:
    """Every labelled picture of an archive, in a stable order; emoji are read by `emoji_pairs` instead."""
    found = list(_labelled(archive))
    sizes = Counter((source, label) for source, _, label in found)
    return [
        Picture(source, path, label, sizes[source, label] >= SMALLEST_SPLIT and is_held_out(f"{source}/{path}"))
        for source, path, label in found
    ]


def _labelled(archive: Archive) -> Iterator[tuple[str, str, str]]:
    """Set, path and class of every picture."""
    names = [name for name in archive.names() if PurePosixPath(name).suffix.lower() in SUFFIXES]
    label_of = _grocery_names(archive) if "classes.csv" in archive else None
    for name in names:
        folders = PurePosixPath(name).parts[:-1]
        if not folders:
            continue
        if label_of is not None:
            yield archive.stem, name, label_of(folders)
        elif len(folders) == 1:
            yield archive.stem, name, folders[0]
        else:
            yield f"{archive.stem}/{folders[0]}", name, folders[-1]


def _grocery_names(archive: Archive) -> Callable[[tuple[str, ...]], str]:
    """How a grocery folder is called: "coarse/fine", both in plain words, by the set's own table."""
    rows = csv.DictReader(io.StringIO(archive.read("classes.csv").decode("utf-8")))
    coarse = {row["Class Name (str)"]: row["Coarse Class Name (str)"] for row in rows}

    def label_of(folders: tuple[str, ...]) -> str:
        fine = folders[-1]
        return f"{_words(coarse.get(fine, fine))}/{_words(fine)}"

    return label_of


def _words(name: str) -> str:
    """A hyphenated class name as lower-case words."""
    return name.replace("-", " ").replace("_", " ").strip().lower()


@dataclass(frozen=True)
class Emoji:
    """One pictogram: its file, its name and the words people look for it by."""

    file: str
    name: str
    keywords: tuple[str, ...]


def emoji_pairs(archive: Archive) -> list[Emoji]:
    """The pictograms of an archive with a pairs.json (file, name, keywords)."""
    rows = json.loads(archive.read("pairs.json"))
    return [Emoji(row["file"], row["name"], tuple(row["keywords"])) for row in rows]
