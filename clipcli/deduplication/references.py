"""A file of vectors as the set that is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clipcli.errors import VectorsError
from clipcli.tasks.dedupe.join import join_sets
from clipcli.tasks.dedupe.sources import VectorSource
from clipcli.vectorfiles import format_of, open_vectors
from clipcli.vectors import unit_length

if TYPE_CHECKING:
    from clipcli.deduplication.files import Collection
    from clipcli.session import Session


def is_vector_file(path: str | None) -> bool:
    """Whether `--against` names vectors rather than images."""
    return path is not None and format_of(path) is not None


def add_vectors(path: str, session: Session, collection: Collection, threshold: float) -> None:
    """Add the rows that come near any image of the collection; the others can match nothing.

    Raises:
        VectorsError: damaged, or made by another model.
    """
    file = open_vectors(path)
    if file.fingerprint != session.info.fingerprint:
        raise VectorsError(
            f"{path} was made by {file.model or 'another model'}, not by {session.info.name}",
            hint=f"add --model {file.model}" if file.model else "embed the references again with this model",
        )
    queries = VectorSource(collection.peek())
    for start, vectors in file.blocks(65_536):
        unit = vectors if file.info.unit_length else unit_length(vectors)
        pairs = join_sets(queries, VectorSource(unit), threshold)
        for row in np.unique(pairs.second).tolist():
            collection.add_reference(file.names[start + row], unit[row])
