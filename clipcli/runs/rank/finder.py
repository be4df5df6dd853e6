"""The search of one run: which rows count, from which score on, and what was found, query by query."""

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
from clipcli.runs.rank.corpus import ImagePart, rows_named
from clipcli.runs.rank.rows import Hit, Result
from clipcli.tasks.search.flat import SearchLimits, UnusableRowError, rows_a_block, search
from clipcli.tasks.search.relevance import FEWEST, floors, sample_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from clipcli.core.console import Console
    from clipcli.core.vectors import Scores, Vectors
    from clipcli.inputs.query import Query
    from clipcli.options.rank import HitOptions
    from clipcli.runs.rank.corpus import Corpus
    from clipcli.runs.rank.index import Index
    from clipcli.runs.rank.queries import EncodedQueries
    from clipcli.tasks.search.flat import Hits, Kernel, Rows

FEWEST_QUERIES = 256
"""Fewer are bound by reading the corpus, wherever the products are made."""
WORTHWHILE = 1 << 38
"""Multiplications: a thousand queries over half a million vectors of 512 numbers; seconds on a CPU."""


def accelerated(device: str, queries: int, rows: int, dim: int, console: Console) -> Kernel | None:
    """Return what proposes rows on an accelerator; None where the CPU is as good.

    Args:
        device: `auto`, or what was asked for: `cpu` is obeyed always, another one as soon as there are many queries.
        queries: how many.
        rows: of the corpus.
        dim: numbers per vector.
        console: told where the search runs.

    Raises:
        TorchMissingError: torch is not installed.
        DeviceError: the device that was asked for is not there.
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
"""Hits in memory together when nothing limits them: 130 MB."""
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
        """Return what was asked; `default` is the number of hits where nothing else limits them."""
        open_end = hits.all or hits.relevant or hits.min_score is not None
        top = hits.top_k if hits.top_k is not None or open_end else default
        return cls(top, hits.min_score, hits.relevant, hits.exclude_copies)


@dataclass(frozen=True)
class IndexFinder:
    """Queries over an index: only the best few of each, and only nearly all of those."""

    index: Index
    asked: EncodedQueries
    limits: HitLimits
    keeps: Callable[[str], bool] | None

    def with_queries(self, asked: EncodedQueries) -> IndexFinder:
        """Return a finder of other queries over the same index."""
        return replace(self, asked=asked)

    def results(self) -> Iterator[Result]:
        """Yield what each query found, in the order asked."""
        names, keeps = self.index.names, self.keeps
        top = self.limits.top or len(names)
        floor = -2.0 if self.limits.min_score is None else self.limits.min_score
        same = rows_named(names, self.asked.images)
        for number, (query, vector) in enumerate(zip(self.asked.queries, self.asked.vectors, strict=True), start=1):
            own = {row for path in query.images for row in same[path]}

            def counts(row: int, own: set[int] = own) -> bool:
                return row not in own and (keeps is None or keeps(names[row]))

            found = self.index.search(vector, top, floor, counts)
            pairs = enumerate(zip(found.rows.tolist(), found.scores.tolist(), strict=True), start=1)
            paths = ((rank, row, score, self.index.file(row)) for rank, (row, score) in pairs)
            hits = (Hit(rank, names[row], path, score, is_url(path)) for rank, row, score, path in paths)
            yield Result(number, query, tuple(hits))


@dataclass(frozen=True)
class CorpusFinder:
    """Queries over a corpus."""

    corpus: Corpus
    asked: EncodedQueries
    limits: HitLimits
    keeps: Callable[[str], bool] | None
    console: Console
    device: str = "cpu"
    """The device for products of many queries; `auto` picks it by cost."""

    def with_queries(self, asked: EncodedQueries) -> CorpusFinder:
        """Return a finder of other queries over the same corpus, which need not be looked through again."""
        other = replace(self, asked=asked)
        other.__dict__["_allowed"] = self._allowed
        return other

    @property
    def leaves_nothing(self) -> bool:
        """Return whether the globs keep no row at all."""
        return self._allowed is not None and not self._allowed.any()

    def results(self) -> Iterator[Result]:
        """Yield what each query found, in the order asked.

        Raises:
            VectorsError: a row that would give wrong answers.
        """
        try:
            step = len(self.asked.queries) or 1
            if self.limits.top is None:
                step = max(_HITS_AT_ONCE // max(len(self.corpus), 1), 1)
            for start in range(0, len(self.asked.queries), step):
                queries = self.asked.queries[start : start + step]
                found = self._search(queries, self.asked.vectors[start : start + step])
                for number, (query, hits) in enumerate(zip(queries, found, strict=True), start=start + 1):
                    yield self._result(number, query, hits)
        except UnusableRowError as error:
            raise self.corpus.refusal(error) from error

    def _search(self, queries: tuple[Query, ...], vectors: Vectors) -> list[Hits]:
        excluded = [self.excluded(query) for query in queries]
        floor, top = self._floors(vectors)
        wanted = SearchLimits(top, floor, excluded if any(len(rows) for rows in excluded) else (), self._allowed)
        kernel = self._kernel
        rows = rows_a_block(self.corpus.dim, len(vectors) if kernel is None else 1)
        return search(vectors, self.corpus.blocks(rows), wanted, self.corpus.names, kernel)

    @cached_property
    def _kernel(self) -> Kernel | None:
        """Return an accelerator where it helps.

        Where nothing limits the hits, scoring all pairs exactly is the work.
        """
        queries, limits = len(self.asked.queries), self.limits
        if limits.top is None and limits.min_score is None and not limits.relevant:
            return None
        return accelerated(self.device, queries, len(self.corpus), self.corpus.dim, self.console)

    def _result(self, number: int, query: Query, hits: Hits) -> Result:
        corpus, pairs = self.corpus, zip(hits.rows.tolist(), hits.scores.tolist(), strict=True)
        found = (
            Hit(rank, corpus.name(row), corpus.path(row), score, corpus.is_far(row), corpus.fields(row))
            for rank, (row, score) in enumerate(pairs, start=1)
        )
        return Result(number, query, tuple(found))

    @cached_property
    def _allowed(self) -> npt.NDArray[np.bool_] | None:
        """Rows of vector files that the globs keep; images were chosen before they were read."""
        keeps = self.keeps
        if keeps is None:
            return None
        return np.fromiter((keeps(name) for name in self.corpus.names), np.bool_, len(self.corpus))

    def _floors(self, vectors: Vectors) -> tuple[Scores | None, int | None]:
        """Return the lowest scores that count, and how many hits."""
        lowest = None if self.limits.min_score is None else np.full(len(vectors), self.limits.min_score, np.float32)
        if not self.limits.relevant:
            return lowest, self.limits.top
        rows = sample_rows(len(self.corpus)) if self._allowed is None else np.flatnonzero(self._allowed)
        count = len(self.corpus) if self._allowed is None else len(rows)
        if count < FEWEST:
            self.console.warning(f"{count} images are too few to tell what stands out; --relevant cuts nothing off")
            return lowest, self.limits.top or TOP_K
        rows = rows[sample_rows(len(rows))]
        sample = self.corpus.take(rows)
        found = np.concatenate([floors(vectors[n : n + 64] @ sample.T, count) for n in range(0, len(vectors), 64)])
        return found if lowest is None else np.maximum(found, lowest), self.limits.top

    def excluded(self, query: Query) -> Rows:
        """Rows that are no hits: the query's own images, and their copies if asked."""
        rows = [row for path in query.images for row in self._same[path]]
        return np.unique(np.array(rows, np.int64))

    @cached_property
    def _same(self) -> dict[str, list[int]]:
        """By image of the queries: where it is itself in the corpus, and where its copies are if asked."""
        if self.corpus.kind == "text":
            return {path: [] for path in self.asked.images}
        same = rows_named(self.corpus.names, self.asked.images)
        if self.limits.exclude_copies:
            for path, row in self._copies():
                same[path].append(row)
        return same

    def _copies(self) -> Iterator[tuple[str, int]]:
        """Images of the same bytes; in vector files, which know no bytes, rows of the same vector."""
        paths, start = list(self.asked.images), 0
        vectors = stack(list(self.asked.images.values()), self.corpus.dim)
        for part in self.corpus.parts:
            if isinstance(part, ImagePart):
                rows = enumerate(part.digests, start)
                yield from ((path, row) for row, own in rows for path in paths if self.asked.digests[path] == own)
            else:
                at = start
                blocks = ((at + n, some) for n, some in part.blocks(rows_a_block(self.corpus.dim, len(paths))))
                found = search(vectors, blocks, SearchLimits(None, np.full(len(paths), _SAME, np.float32)))
                yield from ((path, row) for path, hits in zip(paths, found, strict=True) for row in hits.rows.tolist())
            start += len(part.names)
