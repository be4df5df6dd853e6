"""Collect images as contents: files with equal bytes are one content, so a million copies are read once."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from clipcli.errors import ImageError
from clipcli.inputs.sources.filesystems import is_url
from clipcli.plan.file_state import FileState, digest_of, is_below, look, look_at, look_through, resolve
from clipcli.session.prepare import digest_of_ref
from clipcli.tasks.dedupe.keep import is_inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clipcli.cache import EmbeddingCache, NoCache
    from clipcli.core.vectors import Vector, Vectors
    from clipcli.inputs.collect import ImageRef

_CHUNK_ROWS = 8192


@dataclass(frozen=True)
class ImageFile:
    """One file on disk."""

    name: str
    path: str
    """Absolute, with links in its folders resolved; for images that are not local files, what `images.read` takes."""
    root: str
    state: FileState
    protected: bool = False
    reference: bool = False
    """Whether it belongs to the references, which are never changed."""


def is_same_file(first: ImageFile, second: ImageFile) -> bool:
    """Return whether two names are of one file on disk."""
    return bool(first.state.inode) and first.state.is_same(second.state)


@dataclass(frozen=True)
class Content:
    """Files with the same bytes."""

    digest: str
    files: tuple[ImageFile, ...]

    def with_one_file(self) -> Content:
        """Return the content with its first file only, which is all that a worker needs."""
        return Content(self.digest, self.files[:1])

    @property
    def is_one_file(self) -> bool:
        """Return whether all of them are names (hard links) of one file, so that there is no copy."""
        return all(is_same_file(self.files[0], other) for other in self.files[1:])


@dataclass(frozen=True)
class Read:
    """The digest of one input, and its vector if a model is used; or the error."""

    ref: ImageRef
    digest: str
    vector: Vector | None
    error: ImageError | None


@dataclass
class Collection:
    """Contents in the order of their first files, with their vectors."""

    roots: Sequence[str]
    protected: Sequence[str]
    follows_links: bool = False
    """Whether symbolic links count as the files that they lead to; such links are never removed."""
    links: int = 0
    """Number of symbolic links and repeated paths, which are left out because they are no copies."""
    further_names: int = 0
    """Number of further hard links of files among the inputs."""
    queries: int = 0
    references: int = 0
    empty: list[ImageFile] = field(default_factory=list)
    """Files of zero bytes, if they were asked for."""
    _by_digest: dict[str, list[ImageFile]] = field(default_factory=dict)
    _inodes: set[tuple[bool, int, int]] = field(default_factory=set)
    _paths: set[tuple[bool, str]] = field(default_factory=set)
    """(is a reference, path): one file may be on both sides."""
    _resolved: dict[str, str] = field(default_factory=dict)
    """Folder as it was named → its path without links."""
    _protected_folders: dict[str, bool] = field(default_factory=dict)
    """Folder → whether its files are protected."""
    _chunks: list[Vectors] = field(default_factory=list)
    _rows: int = 0

    def add(self, read: Read, *, reference: bool = False) -> None:
        """Add an input that could be read."""
        file = self._file(read.ref, reference=reference)
        if file is None:
            return
        if read.digest not in self._by_digest:
            self._by_digest[read.digest] = []
            self._keep(read.vector)
        self._by_digest[read.digest].append(file)

    def add_empty(self, ref: ImageRef, *, reference: bool = False) -> bool:
        """Add an input if it is a regular file of zero bytes; return whether it is."""
        state = look(resolve(ref.path))
        if state is None or not state.is_file or state.size:
            return False
        file = self._file(ref, reference=reference)
        self.empty += [file] if file is not None else []
        return True

    def _file(self, ref: ImageRef, *, reference: bool) -> ImageFile | None:
        """Return the file of an input; None for a symbolic link, or for a path that was already added."""
        if ref.source is not None:
            return self._not_a_local_file(ref, reference=reference)
        path = self._resolve(ref.path)
        state = look_at(path)
        is_link = state is not None and state.is_link
        if is_link and self.follows_links:
            state = look_through(path)
        if state is None or not state.is_file or (reference, path) in self._paths:
            self.links += 1
            return None
        key = reference, state.device, state.inode
        self.further_names += bool(state.inode) and key in self._inodes
        self._inodes.add(key)
        self._count(path, reference=reference)
        inside = [root for root in self.roots if is_inside(path, root) and root != path]
        root = max(inside, key=len, default=os.path.dirname(path))  # noqa: PTH120 - any bytes
        protected = reference or is_link or self._is_protected(path)
        return ImageFile(ref.name, path, root, state, protected, reference)

    def _resolve(self, path: str) -> str:
        """Return the same as `resolve`, but resolve each folder once."""
        folder, name = os.path.split(path)
        if name in {"", os.curdir, os.pardir}:
            return resolve(path)
        if folder not in self._resolved:
            self._resolved[folder] = os.path.dirname(resolve(path))  # noqa: PTH120 - any bytes
        return os.path.join(self._resolved[folder], name)  # noqa: PTH118

    def _count(self, path: str, *, reference: bool) -> None:
        self._paths.add((reference, path))
        self.references += reference
        self.queries += not reference

    def _is_protected(self, path: str) -> bool:
        folder = os.path.dirname(path)  # noqa: PTH120 - any bytes
        if folder not in self._protected_folders:
            self._protected_folders[folder] = is_below(folder, self.protected)
        return self._protected_folders[folder]

    def _not_a_local_file(self, ref: ImageRef, *, reference: bool) -> ImageFile | None:
        """Return an image in an archive, in a table or at a URL; it is protected, since it cannot be removed."""
        path = ref.path if is_url(ref.path) else os.path.abspath(ref.path)  # noqa: PTH100 - any bytes
        if (reference, path) in self._paths:
            self.links += 1
            return None
        self._count(path, reference=reference)
        root = path.rpartition("/")[0]
        return ImageFile(ref.name, path, root, FileState(0, 0, 0, 0, 0, 0), protected=True, reference=reference)

    def add_reference(self, name: str, vector: Vector) -> None:
        """Add a row of a vector file as a reference. Its picture is compared too if its name is still a file."""
        path = resolve(name)
        if (True, path) in self._paths:
            return
        self._paths.add((True, path))
        target = os.path.realpath(path)
        digest = digest_of(target)
        state = look(target) if digest else FileState(0, 0, 0, 0, 0, 0)
        key = digest or hashlib.sha256(os.fsencode(name)).hexdigest()
        if key not in self._by_digest:
            self._by_digest[key] = []
            self._keep(vector)
        root = os.path.dirname(path)  # noqa: PTH120 - any bytes
        self._by_digest[key].append(ImageFile(name, path, root, state or FileState(0, 0, 0, 0, 0, 0), True, True))  # noqa: FBT003

    def contents(self) -> list[Content]:
        """Return the contents, in the order of their first files."""
        return [Content(digest, tuple(files)) for digest, files in self._by_digest.items()]

    def peek(self) -> Vectors:
        """Return a copy of the vectors added so far, (contents, dim)."""
        return np.concatenate(self._chunks)[: self._rows] if self._chunks else np.zeros((0, 1), np.float32)

    def vectors(self) -> Vectors | None:
        """Return the vectors, (contents, dim), and free the chunks as they are copied; None without a model."""
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
        row = self._rows % _CHUNK_ROWS
        if row == 0:
            self._chunks.append(np.empty((_CHUNK_ROWS, len(vector)), np.float32))
        self._chunks[-1][row] = vector
        self._rows += 1


def read_only(refs: Iterable[ImageRef], cache: EmbeddingCache | NoCache) -> Iterator[Read]:
    """Yield digests without vectors, which is enough for every level but *similar*."""
    return (_read(ref, cache) for ref in refs)


def _read(ref: ImageRef, cache: EmbeddingCache | NoCache) -> Read:
    try:
        return Read(ref, digest_of_ref(ref, cache), None, None)
    except ImageError as error:
        return Read(ref, "", None, error.bare())
