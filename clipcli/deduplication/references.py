"""A file of vectors as the set that is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clipcli.errors import VectorsError
from clipcli.tasks.dedupe.approximate import Finder, exact_is_quick
from clipcli.tasks.dedupe.join import join_sets
from clipcli.tasks.dedupe.pairs import PairBuffer
from clipcli.tasks.dedupe.recall import sample_of
from clipcli.tasks.dedupe.sources import VectorSource
from clipcli.vectorfiles import holds_vectors, open_vectors
from clipcli.vectors import unit_length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clipcli.deduplication.files import Collection
    from clipcli.session import Session
    from clipcli.talk import Talk
    from clipcli.tasks.dedupe.sources import Indices, Source
    from clipcli.vectorfiles.base import VectorFile
    from clipcli.vectors import Vectors

_ROWS_AT_ONCE = 65_536


def is_vector_file(path: str | None) -> bool:
    """Whether `--against` names vectors rather than images."""
    return path is not None and holds_vectors(path)


def add_vectors(path: str, session: Session, collection: Collection, threshold: float, talk: Talk) -> int:
    """Add the rows that come near any image of the collection; the others can match nothing. Return how many there are.

    The file is read block by block; it need not fit into memory.

    Raises:
        VectorsError: damaged, or made by another model.
    """
    file = open_vectors(path)
    if file.fingerprint != session.info.fingerprint:
        raise VectorsError(
            f"{path} was made by {file.model or 'another model'}, not by {session.info.name}",
            hint=f"add --model {file.model}" if file.model else "embed the references again with this model",
        )
    images = collection.peek()
    if not len(images):
        return len(file)
    near = _near(VectorSource(images), file, threshold, talk)
    with talk.progress(len(file), "row", doing="references") as advance:
        for start, vectors in _blocks(file):
            for row in near(vectors).tolist():
                collection.add_reference(file.names[start + row], vectors[row])
            advance(len(vectors))
    return len(file)


def _near(images: Source, file: VectorFile, threshold: float, talk: Talk) -> Callable[[Vectors], Indices]:
    """A function that says which rows of a block come near any image: exact, or by way of cells of the images."""
    if exact_is_quick(len(images) * len(file)):
        return lambda vectors: np.unique(join_sets(VectorSource(vectors), images, threshold, limit=1).first)
    wanted = sample_of(len(file))
    some = [vectors[wanted[(wanted >= start) & (wanted < start + len(vectors))] - start]
            for start, vectors in _blocks(file)]  # fmt: skip
    finder = Finder.of(images, threshold, np.concatenate(some), len(file))
    talk.note(f"approximate search of {len(file):,} references in {len(images):,} images: {finder.recall}")

    def find(vectors: Vectors) -> Indices:
        pairs = PairBuffer(len(vectors), selfjoin=False, limit=1)
        finder.find(VectorSource(vectors), pairs)
        return np.unique(pairs.finish().first)

    return find


def _blocks(file: VectorFile) -> Iterator[tuple[int, Vectors]]:
    for start, vectors in file.blocks(_ROWS_AT_ONCE):
        yield start, vectors if file.info.unit_length else unit_length(vectors)
