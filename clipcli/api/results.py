"""What the functions of `clipcli` return: frozen dataclasses, in lists that turn into tables."""

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
    """One image and the labels it got."""

    image: str
    """The path as given, or `images[3]` for a picture that has no file."""
    label: str | None
    """The answer; None where nothing reached the threshold, or the image could not be used."""
    score: float | None
    """Of the answer, or of the best label; None where the image could not be used."""
    labels: tuple[LabelScore, ...] = ()
    """The best labels, as many as were asked for, each with `label`, `score` and `similarity`."""
    error: str | None = None
    """Why the image could not be used."""


@dataclass(frozen=True)
class Embedding:
    """One image or text and its vector."""

    name: str
    """The path as given, `images[3]` for a picture that has no file, or the text."""
    vector: Vector | None
    """(dim,) float32, unit length; None where the input could not be used."""
    error: str | None = None
    """Why it could not be used."""


@dataclass(frozen=True)
class RankedImage:
    """One hit of a query."""

    query: str
    """The words, the path, or `query[0]` for a picture that has no file."""
    rank: int
    """From 1, the best, within the query."""
    image: str
    """The path as given, or `images[3]` for a picture that has no file."""
    score: float
    """Cosine, -1 to 1."""
    row: int
    """Which of the vectors, or of the images that could be used; from 0."""


@dataclass(frozen=True)
class DuplicateImage:
    """One image of a group of duplicates."""

    group: int
    """From 1."""
    image: str
    """The path as given, or `images[3]` for a picture that has no file."""
    level: str
    """What it is of the one that is kept: `exact`, `near`, `edited` or `similar`."""
    keep: bool
    """Whether it stays: a proposal, nothing is removed."""
    similarity: float | None
    """Cosine with the one that is kept; None at level `exact`, which takes no model."""
    reason: str
    """Why it is kept, or may go."""


T = TypeVar("T", Classification, Embedding, RankedImage, DuplicateImage)


class Results(Sequence[T]):
    """The results of one call, in order: a sequence of dataclasses that turns into a table."""

    def __init__(self, items: Sequence[T], errors: Sequence[tuple[str, str]] = ()) -> None:
        self._items: tuple[T, ...] = tuple(items)
        self.errors: tuple[tuple[str, str], ...] = tuple(errors)
        """Images that could not be used, each with the reason."""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Results[T]: ...
    def __getitem__(self, index: int | slice) -> T | Results[T]:
        """One result, or some of them."""
        return Results(self._items[index], self.errors) if isinstance(index, slice) else self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"Results({list(self._items)!r})"

    def records(self) -> list[dict[str, Any]]:
        """Return the results as dicts of plain values: what a table's rows are made of."""
        return [asdict(item) for item in self._items]

    def to_pandas(self) -> Any:
        """Return the results as a pandas.DataFrame, one row each. Raises ImportError where pandas is not installed."""
        import pandas as pd

        return pd.DataFrame(self.records())

    def to_arrow(self) -> Any:
        """Return the results as a pyarrow.Table, one row each.

        Raises PackageMissingError where pyarrow is not installed.
        """
        return _table(self.records())


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors and what each of them stands for."""

    names: tuple[str, ...]
    """Paths as given, `images[3]` for pictures that have no file, or the texts."""
    vectors: Vectors
    """(n, dim) float32, unit length, one row for each name."""
    model: str
    """The model's full name."""
    fingerprint: str
    """Only vectors of one fingerprint can be compared."""
    errors: tuple[tuple[str, str], ...] = ()
    """Inputs that could not be used, each with the reason; they have no row."""

    def __len__(self) -> int:
        return len(self.names)

    def records(self) -> list[dict[str, Any]]:
        """One dict for each row: `name` and `vector`, (dim,)."""
        return [{"name": name, "vector": vector} for name, vector in zip(self.names, self.vectors, strict=True)]

    def to_pandas(self) -> Any:
        """Return the rows as a pandas.DataFrame: `name` and `vector`.

        Raises ImportError where pandas is not installed.
        """
        import pandas as pd

        return pd.DataFrame(self.records())

    def to_arrow(self) -> Any:
        """Return the rows as a pyarrow.Table: `name` and `vector`.

        Raises PackageMissingError where pyarrow is missing.
        """
        return _table([row | {"vector": row["vector"].tolist()} for row in self.records()])


def _table(records: list[dict[str, Any]]) -> Any:
    require_packages("parquet", "a table of Arrow")
    import pyarrow as pa

    return pa.Table.from_pylist(records)
