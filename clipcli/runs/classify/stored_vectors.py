"""Files of vectors from `clipcli embed` as inputs instead of images: only the text tower of the model runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from clipcli.core.vectors import unit_length
from clipcli.inputs.collect import ImageRef, nothing_left
from clipcli.inputs.sources import NO_FIELDS
from clipcli.inputs.sources.text_tables import kept_columns
from clipcli.session.pipeline import Embedded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from clipcli.core.encoder import ModelInfo
    from clipcli.core.vectors import Vectors
    from clipcli.inputs.row_filter import Condition
    from clipcli.inputs.sources.patterns import Globs
    from clipcli.runs.classify.expectation_check import ExpectationCheck
    from clipcli.vectorfiles import VectorFile, VectorRows

_ROWS: Final = 8192
"""Vectors per block."""


@dataclass(frozen=True)
class StoredBlock:
    """A block of rows of a file."""

    names: Sequence[str]
    vectors: Vectors
    """(rows, dim), unit length."""
    fields: Sequence[Mapping[str, object]]
    """The kept columns of each row."""

    def refs(self) -> Iterator[ImageRef]:
        """Yield a reference for each row."""
        return (ImageRef(name, name, fields=fields) for name, fields in zip(self.names, self.fields, strict=True))


@dataclass(frozen=True)
class StoredVectors:
    """Files of vectors of images, read one after the other."""

    files: Sequence[VectorFile]
    globs: Globs
    keep: Sequence[str] = ()
    """Carried columns that rows keep."""
    where: Condition | None = None
    """The filter of rows by their carried columns."""

    @property
    def model(self) -> str | None:
        """Return the model that made the vectors, or None if no file names it."""
        return next((file.model for file in self.files if file.model), None)

    def __len__(self) -> int:
        return sum(map(len, self.files))

    def refs(self, expected: ExpectationCheck | None) -> list[ImageRef]:
        """Return all images if labels are folder names; otherwise [], since there may be millions."""
        if expected is None or not expected.parent:
            return []
        return [ImageRef(name, name) for file in self.files for name in file.names]

    def blocks(self, info: ModelInfo) -> Iterator[StoredBlock]:
        """Yield the rows that are wanted, at most 8192 at a time.

        Raises:
            VectorsError: another model made them, or a row is damaged.
            InputsError: no row passes the condition and the globs.
        """
        for file in self.files:
            file.require_model(info)
        count = 0
        for file in self.files:
            kept = kept_columns(str(file.path), self.keep, file.column_names, except_column="")
            start, held = 0, None if self.where is None else file.rows_where(self.where)
            for rows in file.read(_ROWS, fields=bool(kept)):
                file.check(start, rows)
                selected = self._select(rows.names, None if held is None else held[start : start + len(rows.names)])
                start += len(rows.names)
                if block := _block(rows, selected, kept, scale=not file.info.unit_length):
                    count += len(block.names)
                    yield block
        if not count:
            raise nothing_left(self.globs, self.where)

    def _select(self, names: Sequence[str], held: npt.NDArray[np.bool_] | None) -> list[int] | None:
        """Return the numbers of the rows that pass; None for all."""
        keeps = self.globs.keeps
        if keeps is None and held is None:
            return None
        return [row for row, name in enumerate(names) if (held is None or held[row]) and (keeps is None or keeps(name))]

    def embedded(self, info: ModelInfo) -> Iterator[Embedded]:
        """Yield each vector as a session yields the result of an image. Raises as `blocks`."""
        for block in self.blocks(info):
            for ref, vector in zip(block.refs(), block.vectors, strict=True):
                yield Embedded(ref, vector, None)


def _block(rows: VectorRows, selected: Sequence[int] | None, kept: Sequence[str], *, scale: bool) -> StoredBlock | None:
    """Return some of the rows, with the kept columns; None if none is wanted."""
    names, vectors = rows.names, rows.vectors
    fields: Sequence[Mapping[str, object]] = [NO_FIELDS] * len(names)
    if kept and rows.fields is not None:
        fields = [{name: row.get(name) for name in kept} for row in rows.fields]
    if selected is not None:
        names, vectors, fields = (
            [names[row] for row in selected],
            vectors[list(selected)],
            [fields[row] for row in selected],
        )
    return StoredBlock(names, unit_length(vectors) if scale else vectors, fields) if names else None
