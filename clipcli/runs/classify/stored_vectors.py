"""Vectors that an earlier `embed` made, in place of images: only the text side of the model runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from clipcli.core.vectors import unit_length
from clipcli.errors import UsageError
from clipcli.inputs.collect import ImageRef, nothing_left
from clipcli.session.pipeline import Embedded
from clipcli.vectorfiles.vector_formats import is_vector_file, open_vectors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.core.console import Console
    from clipcli.core.encoder import ModelInfo
    from clipcli.core.vectors import Vectors
    from clipcli.inputs.row_filter import Condition
    from clipcli.inputs.sources.globs import Globs
    from clipcli.options.shared import InputOptions, ModelOptions
    from clipcli.runs.classify.expectation_check import ExpectationCheck
    from clipcli.vectorfiles import VectorFile

_ROWS: Final = 8192
"""Vectors in memory together."""


@dataclass(frozen=True)
class StoredVectors:
    """Files of vectors of images, read one after the other."""

    files: Sequence[VectorFile]
    globs: Globs

    @property
    def model(self) -> str | None:
        """Return the model that made them, where a file says it."""
        return next((file.model for file in self.files if file.model), None)

    def __len__(self) -> int:
        return sum(map(len, self.files))

    def refs(self, expected: ExpectationCheck | None) -> list[ImageRef]:
        """Return all names, where the labels are those of their folders; else none, since there may be many."""
        if expected is None or not expected.parent:
            return []
        return [ImageRef(name, name) for file in self.files for name in file.names]

    def blocks(self, info: ModelInfo) -> Iterator[tuple[Sequence[str], Vectors]]:
        """Yield names and unit vectors, (≤ 8192, dim), block by block.

        Raises:
            VectorsError: another model made them, or a row is damaged.
            InputsError: no name passes the globs.
        """
        for file in self.files:
            file.require_model(info)
        keeps, count = self.globs.keeps, 0
        for file in self.files:
            start = 0
            for rows in file.read(_ROWS):
                file.check(start, rows)
                start += len(rows.names)
                names, vectors = rows.names, rows.vectors
                if keeps is not None:
                    kept = [row for row, name in enumerate(names) if keeps(name)]
                    names, vectors = [names[row] for row in kept], vectors[kept]
                if names:
                    count += len(names)
                    yield names, vectors if file.info.unit_length else unit_length(vectors)
        if not count:
            raise nothing_left(self.globs)

    def embedded(self, info: ModelInfo) -> Iterator[Embedded]:
        """Yield them as a session yields images. Raises as `blocks`."""
        for names, vectors in self.blocks(info):
            for name, vector in zip(names, vectors, strict=True):
                yield Embedded(ImageRef(name, name), vector, None)


def model_of_vectors(
    stored: StoredVectors | None, model: ModelOptions, console: Console, *, given: bool
) -> ModelOptions:
    """Return the model that made the vectors, where the command line names none (`given`)."""
    own = stored.model if stored is not None else None
    if given or own is None or own == model.model:
        return model
    console.info(f"the vectors were made by {own}; using it")
    return replace(model, model=own)


def stored_vectors(
    inputs: InputOptions, keep: Sequence[str] = (), where: Condition | None = None
) -> StoredVectors | None:
    """Return the files of vectors that are named as inputs, if there are any; `keep` are columns that rows should keep.

    Raises:
        UsageError: images are named beside them, or they are of texts.
        VectorsError: a file cannot be used.
    """
    arguments = inputs.images or []
    named = [path for path in arguments if inputs.column is None and is_vector_file(path)]
    if not named:
        return None
    if len(named) < len(arguments) or inputs.files_from:
        raise UsageError(f"{named[0]} holds vectors, other inputs are images", hint="give them in runs of their own")
    if keep or where is not None:
        raise UsageError("--keep and --where take columns of tables of images, not of vectors", hint="leave them out")
    files = [open_vectors(path) for path in named]
    if texts := next((file for file in files if file.kind == "text"), None):
        raise UsageError(f"{texts.path} holds vectors of texts", hint="make some of images with clipcli embed")
    return StoredVectors(files, inputs.globs)
