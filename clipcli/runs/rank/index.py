"""An approximate index of a vector file: `clipcli index` makes it (`index_builder`), `rank` searches it.

A folder with `index.json` (its model and vector file, the settings of a search and its recall),
`names.json`, and NumPy arrays that are mapped when they are searched: the vectors in half precision in the order of the
file (`vectors.npy`), and an inverted file of one bit per dimension (see `tasks.search.inverted_file`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from clipcli.core.decode import DecodeError, decode, is_file_name, parse_json
from clipcli.core.files import is_there, own_error, read_bytes
from clipcli.core.vectors import unit_length
from clipcli.errors import InputsError, VectorsError
from clipcli.tasks.search.flat import Hits, exact_scores, product_error
from clipcli.tasks.search.inverted_file import InvertedFile
from clipcli.tasks.search.sign_codes import WORD_BITS, words_of
from clipcli.vectorfiles.info import ImageReading
from clipcli.vectorfiles.json_arrays import read_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clipcli.core.vectors import Scores, Vector
    from clipcli.tasks.search.flat import Rows

DESCRIPTION: Final = "index.json"
NAMES: Final = "names.json"
VECTORS: Final = "vectors.npy"
CODES: Final = "codes.npy"
FORMAT: Final = "clipcli index"
VERSION: Final = 5
"""Versions 1 and 2 held a graph, version 3 the codes cell by cell, version 4 no radii."""
_AGAIN = "make it again with clipcli index"
_LARGEST_DESCRIPTION = 1 << 20
DEPTH: Final = 10
"""Hits of a query that recall is measured by."""
_WIDENING: Final = 4
"""Factor by which cells and candidates grow if too few rows count."""
_ROWS_AT_ONCE: Final = 8192
_SCORED_PER_HIT: Final = 4
"""Candidates per hit that are scored in float64 at first."""


@dataclass(frozen=True)
class IndexInfo:
    """The content of `index.json`."""

    model: str
    fingerprint: str
    kind: Literal["image", "text"]
    dim: int
    rows: int
    source: str
    """The vector file, relative to the index."""
    source_size: int
    source_mtime_ns: int
    cells: int
    probes: int
    """Cells that a query looks into."""
    candidates: int
    """Rows there with the best estimates that are scored exactly, for up to ten hits."""
    recall: float
    """Share of the ten best of an exact search that were found: the lower of two means, over rows as queries and over
    mixtures of rows, which are as far from all rows as texts are."""
    spread: float
    """Of the inverted file."""
    pixels: str = ""
    """Rendering to RGB and decoders used, copied from the vector file; see `VectorsInfo`."""
    decoding: str = ""

    @property
    def reading(self) -> ImageReading:
        """Return how the images were read."""
        return ImageReading(self.pixels, self.decoding)


class Index:
    """An index on disk."""

    def __init__(self, folder: str) -> None:
        self.path = folder
        self.info = _read(Path(folder))
        self._refuse_stale()

    @cached_property
    def names(self) -> Sequence[str]:
        """Return the name of each row."""
        path = Path(self.path) / NAMES
        with own_error(VectorsError, self.path, hint=_AGAIN):
            names = read_names(np.memmap(path, np.uint8, "r"), self.info.rows, str(path))
        if len(names) != self.info.rows:
            raise VectorsError(f"{self.path}: its parts do not belong together", hint=_AGAIN)
        return names

    def file(self, row: int) -> str:
        """Return the path of a row: as named, or relative to the folder of the vector file if it exists only there."""
        name = self.names[row]
        beside = os.path.join(self.path, os.path.dirname(self.info.source), name)  # noqa: PTH118, PTH120
        return beside if not os.path.exists(name) and os.path.exists(beside) else name  # noqa: PTH110

    def search(self, query: Vector, top: int, floor: float, counts: Callable[[int], bool]) -> Hits:
        """Return the best rows that pass `counts` and the floor, as far as the index finds them, scored in float64."""
        query = np.require(query, np.float32, ["C", "A"])
        probes, candidates = self.info.probes, self.info.candidates * -(-top // DEPTH)
        with own_error(VectorsError, self.path, hint=_AGAIN):
            while True:
                rows = self._cells.candidates(query, probes, candidates)
                for depth in (_SCORED_PER_HIT * top, len(rows)):  # all only if many do not count, or many are equal
                    ranked, scores = rescored(self._vectors, rows, query, depth)
                    best = self._best(ranked, scores, top, floor, counts)
                    is_below = len(scores) > 0 and bool(scores[-1] < floor)  # what is farther counts even less
                    if is_below or (len(best) >= top and -scores[-1] > best[-1][0]):
                        break
                if len(best) >= top or is_below or (probes >= self.info.cells and candidates >= self.info.rows):
                    break
                probes, candidates = (
                    min(probes * _WIDENING, self.info.cells),
                    min(candidates * _WIDENING, self.info.rows),
                )
        return Hits(np.array([row for _, _, row in best], np.int64), -np.array([low for low, *_ in best], np.float32))

    def _best(
        self, rows: Rows, scores: Scores, top: int, floor: float, counts: Callable[[int], bool]
    ) -> list[tuple[float, str, int]]:
        """Return (negative score, name, row) of the first `top` rows that count, ties by name, then by row."""
        best: list[tuple[float, str, int]] = []
        for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
            if score < floor or (len(best) >= top and -score > best[-1][0]):
                break
            if counts(row):
                best.append((-score, self.names[row], row))
        return sorted(best)[:top]

    @cached_property
    def _vectors(self) -> npt.NDArray[np.float16]:
        return self._array(VECTORS, np.float16, self.info.rows, self.info.dim)

    @cached_property
    def _cells(self) -> InvertedFile:
        info, words = self.info, words_of(self.info.dim)
        starts = np.asarray(self._array("starts.npy", np.int64, info.cells + 1))
        if starts[0] != 0 or starts[-1] != info.rows or (np.diff(starts) < 0).any():
            raise DecodeError("its cells are out of order")
        return InvertedFile(
            rotation=self._array("rotation.npy", np.float32, info.dim, words * WORD_BITS),
            centres=self._array("centres.npy", np.float32, info.cells, info.dim),
            starts=starts,
            rows=self._array("rows.npy", np.int64, info.rows),
            codes=self._array(CODES, np.uint64, words, info.rows),
            factors=self._array("factors.npy", np.float32, info.rows),
            radii=self._array("radii.npy", np.float32, info.cells),
            spread=info.spread,
        )

    def _array(self, name: str, dtype: type[np.generic], *shape: int) -> npt.NDArray[Any]:
        """Map an array, which has to be of the shape that the description says."""
        array = np.lib.format.open_memmap(Path(self.path) / name, mode="r")
        if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
            raise DecodeError(f"{name} does not belong to it")
        return np.asarray(array)  # a slice of a plain array takes a tenth of the time

    def _refuse_stale(self) -> None:
        """Raise VectorsError if the vector file has changed: the index would name the wrong images."""
        source = Path(self.path) / self.info.source
        if is_there(source):
            now = source.stat()
            if (now.st_size, now.st_mtime_ns) != (self.info.source_size, self.info.source_mtime_ns):
                raise VectorsError(
                    f"{self.path}: {source} has changed since", hint=f"clipcli index {source} -o {self.path}"
                )


def is_index(path: str) -> bool:
    """Return whether an argument is an index."""
    return os.path.isfile(os.path.join(path, DESCRIPTION)) and os.path.exists(os.path.join(path, CODES))  # noqa: PTH110, PTH113, PTH118


def rescored(
    vectors: npt.NDArray[np.float16], rows: Rows, query: Vector, depth: int | None = None
) -> tuple[Rows, Scores]:
    """Return the best `depth` of some rows by falling score, and their cosines with a query, computed in float64.

    Products in float32 leave out rows that cannot be among them.

    Raises:
        DecodeError: a number is not finite.
    """
    if depth is not None and depth < len(rows):
        products = _products(vectors, rows, query)
        limit = np.partition(products, len(rows) - depth)[len(rows) - depth] - 2 * product_error(len(query))
        rows = rows[products >= limit]
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = unit_length(vectors[rows[start : start + _ROWS_AT_ONCE]])
        scores[start : start + len(block)] = exact_scores(np.broadcast_to(query, block.shape), block)
    _require_finite(scores)
    order = np.lexsort((rows, -scores))[:depth]
    return rows[order], scores[order]


def _products(vectors: npt.NDArray[np.float16], rows: Rows, query: Vector) -> Scores:
    """Return the cosines of rows with a query, computed in float32. Raises DecodeError."""
    products = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = vectors[rows[start : start + _ROWS_AT_ONCE]].astype(np.float32)
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
        products[start : start + len(block)] = np.einsum("ij,j->i", block, query) / np.maximum(lengths, 1e-12)
    _require_finite(products)
    return products


def _require_finite(scores: Scores) -> None:
    if not np.isfinite(scores).all():
        raise DecodeError("it has numbers that are not finite")


def _read(folder: Path) -> IndexInfo:
    with own_error(VectorsError, str(folder), what="its description is damaged", hint=_AGAIN):
        record = parse_json(read_bytes(folder / DESCRIPTION, _LARGEST_DESCRIPTION))
        named = {key: record.pop(key, None) for key in ("format", "version")} if isinstance(record, dict) else {}
        if named != {"format": FORMAT, "version": VERSION}:
            raise InputsError(f"{folder}: an index of another version", hint=_AGAIN)
        info = decode(IndexInfo, record, unknown="ignore")
        if (
            info.rows < 1
            or info.dim < 1
            or not is_file_name(info.source)
            or not 0 < info.probes <= info.cells
            or info.candidates < 1
            or not 0 <= info.spread <= 1
        ):
            raise DecodeError("its numbers are out of range")
        return info
