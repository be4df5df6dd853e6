"""Measure retrieval: recall@k, median rank, mean average precision.

Recall@k is the share of queries with at least one relevant row among their k best, as the figures for MS-COCO and
Flickr30k are computed (Faghri et al., "VSE++", arXiv:1707.05612, section 4.1; with one relevant image a caption this is
recall in the strict sense, and for image queries any of the five captions counts). The median rank is that of each
query's best relevant row, 1 for the first. Average precision follows the TREC definition: the mean, over the relevant
rows, of the precision at their ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from clipcli.tasks.search.flat import SCORES_AT_ONCE, exact_scores, product_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clipcli.core.vectors import Scores, Vectors
    from clipcli.tasks.search.flat import Block, Blocks, Rows

Ranks: TypeAlias = "npt.NDArray[np.int64]"

DEPTHS = (1, 5, 10)


@dataclass(frozen=True)
class Retrieval:
    """Figures over all queries, each 0 to 1 but the ranks."""

    queries: int
    recall: dict[int, float]
    """By depth."""
    median_rank: float
    mean_average_precision: float


@dataclass(frozen=True)
class Relevant:
    """The expected rows of some queries, with the vectors to compute their ranks."""

    queries: Vectors
    """(n, dim), unit length."""
    rows: Sequence[Rows]
    """Row numbers, query by query, at least one each."""
    vectors: Sequence[Vectors]
    """Of those rows, (relevant, dim), query by query."""
    excluded: Sequence[Rows] = ()
    """Rows that are no hits and have no rank, query by query; empty for none."""


def relevant_ranks(relevant: Relevant, blocks: Blocks, name_of: Callable[[int], str]) -> list[Ranks]:
    """Return the ranks of the relevant rows of each query, ascending; 1 is the best row in the order of `search`.

    Nothing is sorted: a row's rank is the number of rows before it, counted block by block. Rows whose product is
    within its error bound of the relevant row's are scored again, as `search` does.
    """
    owners = np.repeat(np.arange(len(relevant.rows)), [len(rows) for rows in relevant.rows])
    rows = np.concatenate(relevant.rows) if len(owners) else np.empty(0, np.int64)
    vectors = np.concatenate(relevant.vectors) if len(owners) else np.empty_like(relevant.queries[:0])
    counter = _Counter(relevant.queries[owners], rows, exact_scores(relevant.queries[owners], vectors), name_of)
    counter.leave_out([relevant.excluded[owner] for owner in owners.tolist()] if relevant.excluded else [])
    for start, block in blocks:
        counter.add(start, block)
    return [np.sort(counter.before[owners == query] + 1) for query in range(len(relevant.rows))]


def evaluate(
    ranks: Sequence[Ranks], depths: Sequence[int] = DEPTHS, relevant: Sequence[int] | None = None
) -> Retrieval:
    """Figures from the ranks of the relevant rows of each query; a query without any counts as not found.

    Args:
        ranks: of each query, those that its relevant rows have.
        depths: of recall.
        relevant: how many rows each query should find, where some of them have no rank at all.
    """
    best = np.array([ranks_of_query.min() if len(ranks_of_query) else np.inf for ranks_of_query in ranks])
    recall = {depth: float(np.mean(best <= depth)) if len(best) else 0.0 for depth in depths}
    counts = [len(ranks_of_query) for ranks_of_query in ranks] if relevant is None else relevant
    precision = [
        float(np.sum(np.arange(1, len(ranks_of_query) + 1) / np.sort(ranks_of_query))) / max(count, 1)
        for ranks_of_query, count in zip(ranks, counts, strict=True)
    ]
    median = float(np.median(best)) if len(best) else float("nan")
    return Retrieval(len(ranks), recall, median, float(np.mean(precision)) if precision else 0.0)


class _Counter:
    """Counts the rows that rank before each (query, row) pair."""

    def __init__(self, queries: Vectors, rows: Rows, scores: Scores, name_of: Callable[[int], str]) -> None:
        self.queries, self.rows, self.scores, self.name_of = queries, rows, scores, name_of
        self.before = np.zeros(len(rows), np.int64)
        self._excluded = np.empty((2, 0), np.int64)
        """Numbers of pairs, and the rows that they do not count."""

    def leave_out(self, excluded: Sequence[Rows]) -> None:
        """Exclude rows from the count, pair by pair."""
        if excluded:
            pairs = np.repeat(np.arange(len(excluded)), [len(rows) for rows in excluded])
            self._excluded = np.stack([pairs, np.concatenate(excluded)])

    def add(self, start: int, block: Block) -> None:
        block = np.asarray(block, np.float32)
        error = np.float32(product_error(block.shape[1]))
        step = max(SCORES_AT_ONCE // max(len(block), 1), 1)
        for first in range(0, len(self.rows), step):
            chunk = slice(first, first + step)
            products = self.queries[chunk] @ block.T
            pairs, rows = self._excluded - [[first], [start]]
            here = (pairs >= 0) & (pairs < len(products)) & (rows >= 0) & (rows < len(block))
            products[pairs[here], rows[here]] = -np.inf
            limit = self.scores[chunk][:, None]
            above = products > limit + error
            self.before[chunk] += above.sum(axis=1)
            pairs, columns = np.nonzero((products >= limit - error) & ~above)
            self._decide(pairs + first, columns, start, block)

    def _decide(self, pairs: Rows, columns: Rows, start: int, block: Vectors) -> None:
        scores = exact_scores(self.queries[pairs], block[columns])
        np.add.at(self.before, pairs[scores > self.scores[pairs]], 1)
        tied = (scores == self.scores[pairs]) & (start + columns != self.rows[pairs])
        for pair, row in zip(pairs[tied].tolist(), (start + columns[tied]).tolist(), strict=True):
            own = int(self.rows[pair])
            self.before[pair] += (self.name_of(row), row) < (self.name_of(own), own)
