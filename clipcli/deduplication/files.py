"""Images in, contents out: files of the same bytes are one content, so a million copies are looked at once."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from clipcli import images
from clipcli.errors import ImageError
from clipcli.plan.states import FileState, digest_of, look, resolve
from clipcli.tasks.dedupe.keep import is_inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clipcli.inputs import ImageRef
    from clipcli.vectors import Vector, Vectors

_CHUNK_ROWS = 8192


@dataclass(frozen=True)
class ImageFile:
    """One file on disk."""

    name: str
    path: str
    """Absolute, with every folder above it resolved."""
    root: str
    state: FileState
    protected: bool = False
    reference: bool = False
    """Of the set that is compared with, and never touched."""


@dataclass(frozen=True)
class Content:
    """Files with the same bytes."""

    digest: str
    files: tuple[ImageFile, ...]


@dataclass(frozen=True)
class Read:
    """What was read of one input: its digest, and its vector where a model was asked."""

    ref: ImageRef
    digest: str
    vector: Vector | None
    error: ImageError | None


@dataclass
class Collection:
    """Contents in the order of their first files, with their vectors."""

    roots: Sequence[str]
    protected: Sequence[str]
    links: int = 0
    """Symbolic links and further names of files already counted: they hold no copy, so they are left out."""
    _by_digest: dict[str, list[ImageFile]] = field(default_factory=dict)
    _inodes: set[tuple[bool, int, int]] = field(default_factory=set)
    _paths: set[str] = field(default_factory=set)
    _chunks: list[Vectors] = field(default_factory=list)
    _rows: int = 0

    def add(self, read: Read, *, reference: bool = False) -> None:
        """Take an input that could be read."""
        path = resolve(read.ref.path)
        state = look(path)
        if state is None or not state.is_file or path in self._paths:
            self.links += 1
            return
        key = (reference, state.device, state.inode)
        if state.inode and key in self._inodes:
            self.links += 1
            return
        self._inodes.add(key)
        self._paths.add(path)
        inside = [root for root in self.roots if is_inside(path, root) and root != path]
        root = max(inside, key=len, default=os.path.dirname(path))  # noqa: PTH120 - any bytes
        protected = reference or any(is_inside(path, folder) for folder in self.protected)
        file = ImageFile(read.ref.name, path, root, state, protected, reference)
        if read.digest not in self._by_digest:
            self._by_digest[read.digest] = []
            self._keep(read.vector)
        self._by_digest[read.digest].append(file)

    def add_reference(self, name: str, vector: Vector) -> None:
        """Take a row of a vector file. Its picture is looked at where its name still leads to a file."""
        path = resolve(name)
        if path in self._paths:
            return
        self._paths.add(path)
        digest = digest_of(path)
        state = look(path) if digest else FileState(0, 0, 0, 0, 0, 0)
        key = digest or hashlib.sha256(os.fsencode(name)).hexdigest()
        if key not in self._by_digest:
            self._by_digest[key] = []
            self._keep(vector)
        root = os.path.dirname(path)  # noqa: PTH120 - any bytes
        self._by_digest[key].append(ImageFile(name, path, root, state or FileState(0, 0, 0, 0, 0, 0), True, True))  # noqa: FBT003

    def contents(self) -> list[Content]:
        """What was collected."""
        return [Content(digest, tuple(files)) for digest, files in self._by_digest.items()]

    def peek(self) -> Vectors:
        """The vectors so far, (contents, dim), copied."""
        return np.concatenate(self._chunks)[: self._rows] if self._chunks else np.zeros((0, 1), np.float32)

    def vectors(self) -> Vectors | None:
        """(contents, dim); None without a model. The pieces are let go of as they are copied."""
        if not self._chunks:
            return None
        whole = np.empty((self._rows, self._chunks[0].shape[1]), np.float32)
        for start in range(0, self._rows, _CHUNK_ROWS):
            piece = self._chunks.pop(0)[: self._rows - start]
            whole[start : start + len(piece)] = piece
        return whole

    def _keep(self, vector: Vector | None) -> None:
        if vector is None:
            return
        place = self._rows % _CHUNK_ROWS
        if place == 0:
            self._chunks.append(np.empty((_CHUNK_ROWS, len(vector)), np.float32))
        self._chunks[-1][place] = vector
        self._rows += 1


def read_only(refs: Iterable[ImageRef]) -> Iterator[Read]:
    """Digests without a model, for `--level exact`."""
    return map(_read, refs)


def _read(ref: ImageRef) -> Read:
    try:
        data = images.read_ref(ref)
    except ImageError as error:
        return Read(ref, "", None, error)
    return Read(ref, hashlib.sha256(data).hexdigest(), None, None)
