"""The search of one run: which rows may be hits, the lowest scores, and the hits of each query."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from clipcli.core.devices import accelerator
from clipcli.core.optional_packages import has_packages, require_torch
from clipcli.core.vectors import stack
from clipcli.inputs.sources.filesystems import is_url
from clipcli.options.rank import TOP_K
from clipcli.runs.rank.corpus import FilePart, ImagePart, rows_by_path
from clipcli.runs.rank.rows import Hit, Result
from clipcli.tasks.search.flat import SearchLimits, UnusableRowError, rows_a_block, search
from clipcli.tasks.search.relevance import FEWEST, floors, sample_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from clipcli.core.console import Console
    from clipcli.core.vectors import Scores, Vectors
    from clipcli.inputs.query import Query
    from clipcli.inputs.row_filter import Condition
    from clipcli.options.rank import HitOptions
    from clipcli.runs.rank.corpus import Corpus
    from clipcli.runs.rank.index import Index
    from clipcli.runs.rank.queries import EncodedQueries
    from clipcli.tasks.search.flat import Hits, Kernel, Rows

FEWEST_QUERIES = 256
"""With fewer queries, reading the corpus takes longer than the products, on any device."""
WORTHWHILE = 1 << 38
"""Multiplications: a thousand queries over half a million vectors of 512 numbers; seconds on a CPU."""


def accelerated(device: str, queries: int, rows: int, dim: int, console: Console) -> Kernel | None:
    """Return the kernel that proposes rows on an accelerator; None if the CPU is as fast.

    Args:
        device: `auto` or a device: `cpu` is always used as such, another one only from `FEWEST_QUERIES` on.
        queries: number of queries.
        rows: number of rows in the corpus.
        dim: numbers per vector.
        console: is told the device of the search.

    Raises:
        TorchMissingError: torch is not installed.
        DeviceError: the requested device is not there.
    """
    if device == "cpu" or queries < FEWEST_QUERIES:
        return None
    has_torch = has_packages("torch")
    if device == "auto" and (queries * rows * dim < WORTHWHILE or not has_torch or accelerator() is None):
        return None
    require_torch(f"a search on {device}")
    from clipcli.engines.torch_search import TorchKernel

    kernel = TorchKernel(device, console.info)
    if kernel.device == "cpu":
        return None
    console.debug(f"searching on {kernel.device}")
    return kernel


_HITS_AT_ONCE = 1 << 23
"""Largest number of hits in memory when nothing limits them: 130 MB."""
_SAME = 1 - 1e-5
"""Cosine from which two vectors of a file are of the same picture: float16 rounding is below 1e-7."""


@dataclass(frozen=True)
class HitLimits:
    """The limits on the hits of a query."""

    top: int | None
    min_score: float | None = None
    relevant: bool = False
    exclude_copies: bool = False

    @classmethod
    def of(cls, hits: HitOptions, default: int) -> HitLimits:
        """Return the limits of the options; `default` is the number of hits if nothing else limits them."""
        open_end = hits.all or hits.relevant or hits.min_score is not None
        top = hits.top_k if hits.top_k is not None or open_end else default
        return cls(top, hits.min_score, hits.relevant, hits.exclude_copies)


@dataclass(frozen=True)
class IndexFinder:
    """A search of an index: approximate, and only the best few hits of each query."""

    index: Index
    encoded: EncodedQueries
    limits: HitLimits
    keeps: Callable[[str], bool] | None

    def with_queries(self, queries: EncodedQueries) -> IndexFinder:
        """Return a finder of other queries over the same index."""
        return replace(self, encoded=queries)

    def results(self) -> Iterator[Result]:
        """Yield what each query found, in the order asked."""
        names, keeps = self.index.names, self.keeps
        top = self.limits.top or len(names)
        floor = -2.0 if self.limits.min_score is None else self.limits.min_score
        rows_of_image = rows_by_path(names, self.encoded.images)
        for number, (query, vector) in enumerate(zip(self.encoded.queries, self.encoded.vectors, strict=True), start=1):
            own_rows = {row for path in query.images for row in rows_of_image[path]}

            def counts(row: int, own_rows: set[int] = own_rows) -> bool:
                return row not in own_rows and (keeps is None or keeps(names[row]))

            best = self.index.search(vector, top, floor, counts)
            pairs = enumerate(zip(best.rows.tolist(), best.scores.tolist(), strict=True), start=1)
            paths = ((rank, row, score, self.index.file(row)) for rank, (row, score) in pairs)
            hits = (Hit(rank, names[row], path, score, is_url(path)) for rank, row, score, path in paths)
            yield Result(number, query, tuple(hits))


@dataclass(frozen=True)
class CorpusFinder:
    """An exact search of a corpus."""

    corpus: Corpus
    encoded: EncodedQueries
    limits: HitLimits
    keeps: Callable[[str], bool] | None
    console: Console
    where: Condition | None = None
    """The filter of rows of vector files by their carried columns."""
    device: str = "cpu"
    """The device for products of many queries; `auto` picks it by cost."""

    def with_queries(self, queries: EncodedQueries) -> CorpusFinder:
        """Return a finder of other queries over the same corpus; the globs are not applied again."""
        finder = replace(self, encoded=queries)
        finder.__dict__["_allowed"] = self._allowed
        return finder

    @property
    def leaves_nothing(self) -> bool:
        """Return whether the globs keep no row at all."""
        return self._allowed is not None and not self._allowed.any()

    def results(self) -> Iterator[Result]:
        """Yield what each query found, in the order asked.

        Raises:
            VectorsError: a row is not finite or zero.
        """
        try:
            step = len(self.encoded.queries) or 1
            if self.limits.top is None:
                step = max(_HITS_AT_ONCE // max(len(self.corpus), 1), 1)
            for start in range(0, len(self.encoded.queries), step):
                queries = self.encoded.queries[start : start + step]
                hit_lists = self._search(queries, self.encoded.vectors[start : start + step])
                for number, (query, hits) in enumerate(zip(queries, hit_lists, strict=True), start=start + 1):
                    yield self._result(number, query, hits)
        except UnusableRowError as error:
            raise self.corpus.refusal(error) from error

    def _search(self, queries: tuple[Query, ...], vectors: Vectors) -> list[Hits]:
        excluded = [self.excluded(query) for query in queries]
        floor, top = self._floors(vectors)
        limits = SearchLimits(top, floor, excluded if any(len(rows) for rows in excluded) else (), self._allowed)
        kernel = self._kernel
        rows = rows_a_block(self.corpus.dim, len(vectors) if kernel is None else 1)
        return search(vectors, self.corpus.blocks(rows), limits, self.corpus.names, kernel)

    @cached_property
    def _kernel(self) -> Kernel | None:
        """Return an accelerator where it helps.

        Without limits on the hits, most time goes into scoring all pairs exactly, which the CPU does.
        """
        queries, limits = len(self.encoded.queries), self.limits
        if limits.top is None and limits.min_score is None and not limits.relevant:
            return None
        return accelerated(self.device, queries, len(self.corpus), self.corpus.dim, self.console)

    def _result(self, number: int, query: Query, hits: Hits) -> Result:
        corpus, pairs = self.corpus, zip(hits.rows.tolist(), hits.scores.tolist(), strict=True)
        return Result(
            number,
            query,
            tuple(
                Hit(rank, corpus.name(row), corpus.path(row), score, corpus.is_far(row), corpus.fields(row))
                for rank, (row, score) in enumerate(pairs, start=1)
            ),
        )

    @cached_property
    def _allowed(self) -> npt.NDArray[np.bool_] | None:
        """Return a mask of the rows that the globs and the condition keep; None for all.

        Images were filtered before they were read.
        """
        keeps, rows = self.keeps, len(self.corpus)
        if keeps is None and self.where is None:
            return None
        allowed = np.ones(rows, np.bool_)
        if keeps is not None:
            allowed = np.fromiter((keeps(name) for name in self.corpus.names), np.bool_, rows)
        if self.where is not None:
            start = 0
            for part in self.corpus.parts:
                stop = start + len(part.names)
                if isinstance(part, FilePart):
                    allowed[start:stop] &= part.file.rows_where(self.where)
                start = stop
        return allowed

    def _floors(self, vectors: Vectors) -> tuple[Scores | None, int | None]:
        """Return the lowest score of a hit for each query, and the largest number of hits."""
        lowest = None if self.limits.min_score is None else np.full(len(vectors), self.limits.min_score, np.float32)
        if not self.limits.relevant:
            return lowest, self.limits.top
        rows = sample_rows(len(self.corpus)) if self._allowed is None else np.flatnonzero(self._allowed)
        count = len(self.corpus) if self._allowed is None else len(rows)
        if count < FEWEST:
            self.console.warning(f"{count} images are too few to tell what stands out; --relevant removes nothing")
            return lowest, self.limits.top or TOP_K
        rows = rows[sample_rows(len(rows))]
        sample = self.corpus.take(rows)
        relevant_floors = np.concatenate(
            [floors(vectors[n : n + 64] @ sample.T, count) for n in range(0, len(vectors), 64)]
        )
        return relevant_floors if lowest is None else np.maximum(relevant_floors, lowest), self.limits.top

    def excluded(self, query: Query) -> Rows:
        """Return the rows that cannot be hits: the query's own images, and with `exclude_copies` their copies."""
        rows = [row for path in query.images for row in self._rows_of_image[path]]
        return np.unique(np.array(rows, np.int64))

    @cached_property
    def _rows_of_image(self) -> dict[str, list[int]]:
        """Return, for each image of the queries, its rows in the corpus; with `exclude_copies` also its copies."""
        if self.corpus.kind == "text":
            return {path: [] for path in self.encoded.images}
        rows = rows_by_path(self.corpus.names, self.encoded.images)
        if self.limits.exclude_copies:
            for path, row in self._copies():
                rows[path].append(row)
        return rows

    def _copies(self) -> Iterator[tuple[str, int]]:
        """Yield (image, row) of copies: images of the same bytes, and rows of vector files with the same vector."""
        paths, start = list(self.encoded.images), 0
        vectors = stack(list(self.encoded.images.values()), self.corpus.dim)
        for part in self.corpus.parts:
            if isinstance(part, ImagePart):
                rows = enumerate(part.digests, start)
                yield from (
                    (path, row) for row, digest in rows for path in paths if self.encoded.digests[path] == digest
                )
            else:
                first = start
                blocks = ((first + n, block) for n, block in part.blocks(rows_a_block(self.corpus.dim, len(paths))))
                hit_lists = search(vectors, blocks, SearchLimits(None, np.full(len(paths), _SAME, np.float32)))
                yield from (
                    (path, row) for path, hits in zip(paths, hit_lists, strict=True) for row in hits.rows.tolist()
                )
            start += len(part.names)
