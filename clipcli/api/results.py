"""The results of the functions of `clipcli`: frozen dataclasses, in sequences that convert to tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from clipcli.core.optional_packages import require_packages
from clipcli.tasks.classify import LabelScore  # noqa: TC001 - part of a public class

if TYPE_CHECKING:
    from clipcli.core.vectors import Vector, Vectors


@dataclass(frozen=True)
class Classification:
    """One image and its labels."""

    image: str
    """The path as given, or `images[3]` for a picture without a file."""
    label: str | None
    """The label; None if no label reached the threshold, or the image could not be used."""
    score: float | None
    """The score of the label, or of the best one; None if the image could not be used."""
    labels: tuple[LabelScore, ...] = ()
    """The `top_k` best labels, each with `label`, `score` and `similarity`."""
    error: str | None = None
    """The reason why the image could not be used."""


@dataclass(frozen=True)
class Embedding:
    """One image or text and its vector."""

    name: str
    """The path as given, `images[3]` for a picture without a file, or the text."""
    vector: Vector | None
    """(dim,) float32, unit length; None if the input could not be used."""
    error: str | None = None
    """The reason why it could not be used."""


@dataclass(frozen=True)
class RankedImage:
    """One hit of a query."""

    query: str
    """The words, the path, or `query[0]` for a picture without a file."""
    rank: int
    """Rank within the query; 1 is the best."""
    image: str
    """The path as given, or `images[3]` for a picture without a file."""
    score: float
    """Cosine, -1 to 1."""
    row: int
    """Number of the vector, or of the usable image, from 0."""


@dataclass(frozen=True)
class DuplicateImage:
    """One image of a group of duplicates."""

    group: int
    """Number of the group, from 1."""
    image: str
    """The path as given, or `images[3]` for a picture without a file."""
    level: str
    """Relation to the image to keep: `exact`, `near`, `edited` or `similar`."""
    keep: bool
    """Whether to keep it. This is a proposal; nothing is removed."""
    similarity: float | None
    """Cosine with the image to keep; None at level `exact`, which needs no model."""
    reason: str
    """The reason for keeping or removing it."""


T = TypeVar("T", Classification, Embedding, RankedImage, DuplicateImage)


class Results(Sequence[T]):
    """The results of one call, in order: a sequence of dataclasses that converts to a table."""

    def __init__(self, items: Sequence[T], errors: Sequence[tuple[str, str]] = ()) -> None:
        self._items: tuple[T, ...] = tuple(items)
        self.errors: tuple[tuple[str, str], ...] = tuple(errors)
        """Images that could not be used, with the reasons."""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Results[T]: ...
    def __getitem__(self, index: int | slice) -> T | Results[T]:
        """Return one result, or a slice of them."""
        return Results(self._items[index], self.errors) if isinstance(index, slice) else self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"Results({list(self._items)!r})"

    def records(self) -> list[dict[str, Any]]:
        """Return the results as dicts of plain values."""
        return [asdict(item) for item in self._items]

    def to_pandas(self) -> Any:
        """Return the results as a pandas.DataFrame, one row each. Raises ImportError if pandas is not installed."""
        import pandas as pd

        return pd.DataFrame(self.records())

    def to_arrow(self) -> Any:
        """Return the results as a pyarrow.Table, one row each.

        Raises PackageMissingError if pyarrow is not installed.
        """
        return _table(self.records())


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors and the names of their inputs."""

    names: tuple[str, ...]
    """Paths as given, `images[3]` for pictures without a file, or the texts."""
    vectors: Vectors
    """(n, dim) float32, unit length, one row per name."""
    model: str
    """The model's full name."""
    fingerprint: str
    """The model's fingerprint; only vectors with the same fingerprint can be compared."""
    errors: tuple[tuple[str, str], ...] = ()
    """Inputs that could not be used, with the reasons; they have no row."""

    def __len__(self) -> int:
        return len(self.names)

    def records(self) -> list[dict[str, Any]]:
        """Return one dict per row: `name` and `vector`, (dim,)."""
        return [{"name": name, "vector": vector} for name, vector in zip(self.names, self.vectors, strict=True)]

    def to_pandas(self) -> Any:
        """Return the rows as a pandas.DataFrame: `name` and `vector`.

        Raises ImportError if pandas is not installed.
        """
        import pandas as pd

        return pd.DataFrame(self.records())

    def to_arrow(self) -> Any:
        """Return the rows as a pyarrow.Table: `name` and `vector`.

        Raises PackageMissingError if pyarrow is not installed.
        """
        return _table([row | {"vector": row["vector"].tolist()} for row in self.records()])


def _table(records: list[dict[str, Any]]) -> Any:
    require_packages("parquet", "a table of Arrow")
    import pyarrow as pa

    return pa.Table.from_pylist(records)
