"""Pairs through a partitioned index, for more rows than an exact join is worth; the recall is measured, not promised.

Rows are parted by k-means (Sivic and Zisserman, "Video Google", ICCV 2003; the inverted file of Jégou, Douze, Schmid,
"Product Quantization for Nearest Neighbor Search", TPAMI 2011), and each row looks into the parts nearest to it. On a
sample the true neighbours are counted by brute force, and more parts are opened until nearly all of them are found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from clipcli.tasks.dedupe.pairs import PairBuffer

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from clipcli.tasks.dedupe.pairs import Pairs
    from clipcli.tasks.dedupe.sources import Indices, Source

EXACT_LIMIT: Final = 250_000
"""Rows up to which the exact join is used: about three minutes on two cores at 512 numbers a row."""

_PARTNERS: Final = 24
_SAMPLE_ROWS: Final = 2048
_ENOUGH: Final = 0.995
_PROBES: Final = (4, 8, 16, 32, 64)
_ROWS_AT_ONCE: Final = 16_384
_HALF_PRECISION: Final = 2e-3
"""How far a cosine moves when one side is kept as float16."""


@dataclass(frozen=True)
class Recall:
    """What a brute-force look at some rows found, and how much of it the index finds."""

    rows: int
    true_pairs: int
    found_pairs: int
    probes: int
    """Parts of the index that each row looks into."""

    @property
    def share(self) -> float:
        """Found of true; 1 when there was nothing to find."""
        return self.found_pairs / self.true_pairs if self.true_pairs else 1.0


def is_available() -> bool:
    """Whether the optional package is installed."""
    try:
        import faiss  # noqa: F401
    except ImportError:
        return False
    return True


def join_self_approximately(
    source: Source, threshold: float, *, advance: Callable[[int], object] = lambda _n: None
) -> tuple[Pairs, Recall]:
    """Nearly all pairs `first < second` with a dot product of at least `threshold`, and the measured share.

    Memory: the source, half of it again for the index (float16), and the pairs.
    """
    index = _build(source)
    recall = _tune(index, source, threshold)
    pairs = PairBuffer(len(source), len(source), selfjoin=True)
    for start in range(0, len(source), _ROWS_AT_ONCE):
        block = source.block(start, start + _ROWS_AT_ONCE)
        cosine, partner = index.search(block, _PARTNERS + 1)
        rows = np.arange(start, start + len(block))[:, None]
        hits = (cosine >= threshold - _HALF_PRECISION) & (partner >= 0) & (partner != rows)
        pairs.mark_crowded(np.flatnonzero(hits.sum(axis=1) >= _PARTNERS) + start)
        _add_exactly(pairs, source, np.broadcast_to(rows, partner.shape)[hits], partner[hits], threshold)
        advance(len(block))
    return pairs.finish(), recall


def _add_exactly(pairs: PairBuffer, source: Source, rows: Indices, partners: Indices, threshold: float) -> None:
    """Take pairs by their cosines in float32, not by what the index kept."""
    first, second = np.minimum(rows, partners), np.maximum(rows, partners)
    for start in range(0, len(first), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        cosine = np.einsum("ij,ij->i", source.take(first[some]), source.take(second[some]), dtype=np.float32)
        kept = cosine >= threshold
        pairs.add(first[some][kept], second[some][kept], cosine[kept])


def _build(source: Source) -> Any:
    import faiss

    total = len(source)
    parts = max(1, min(int(4 * total**0.5), total // 40))
    coarse = faiss.IndexFlatIP(source.dim)
    index = faiss.IndexIVFScalarQuantizer(
        coarse, source.dim, parts, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.niter, index.cp.seed, index.cp.max_points_per_centroid = 5, 20, 40
    sample = np.linspace(0, total - 1, min(total, 40 * parts), dtype=np.int64)
    index.train(source.take(sample))
    for start in range(0, total, _ROWS_AT_ONCE):
        index.add(source.block(start, start + _ROWS_AT_ONCE))
    return index


def _tune(index: Any, source: Source, threshold: float) -> Recall:
    """Open more parts until the sample's true pairs are found."""
    rows = np.unique(np.linspace(0, len(source) - 1, min(len(source), _SAMPLE_ROWS), dtype=np.int64))
    queries = source.take(rows)
    truth = _true_partners(queries, rows, source, threshold)
    recall = Recall(len(rows), 0, 0, _PROBES[0])
    for probes in _PROBES:
        index.nprobe = probes
        _, partner = index.search(queries, _PARTNERS + 1)
        found = sum(len(np.intersect1d(partner[row], true)) for row, true in enumerate(truth))
        # A row with more partners than are asked for is scanned in full later, so those count as found.
        possible = sum(min(len(true), _PARTNERS) for true in truth)
        recall = Recall(len(rows), possible, min(found, possible), probes)
        if recall.share >= _ENOUGH:
            break
    return recall


def _true_partners(queries: npt.NDArray[np.float32], rows: Indices, source: Source, threshold: float) -> list[Indices]:
    found: list[list[Indices]] = [[] for _ in rows]
    for start in range(0, len(source), _ROWS_AT_ONCE):
        hits = queries @ source.block(start, start + _ROWS_AT_ONCE).T >= threshold
        for row, column in zip(*np.nonzero(hits), strict=True):
            if start + column != rows[row]:
                found[row].append(start + column)
    return [np.array(some, np.int64) for some in found]
