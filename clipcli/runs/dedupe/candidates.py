"""Which contents are worth comparing: those near each other in CLIP space, and those near by perceptual hash.

Vectors find crops, borders and captions; hashes find what a model is blind to, such as tiny, blurred and grey copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipcli.tasks.dedupe.ivf import exact_is_quick, join_self_approximately, join_sets_approximately
from clipcli.tasks.dedupe.join import collapse, join_self, join_sets
from clipcli.tasks.dedupe.join_rows import HashSource, VectorSource, cosine_of
from clipcli.tasks.dedupe.likeness import HASH_SURE
from clipcli.tasks.dedupe.pairs import DEFAULT_LIMIT, Neighbours, PairBuffer, Pairs

if TYPE_CHECKING:
    import numpy.typing as npt

    from clipcli.core.console import Console
    from clipcli.core.vectors import Vectors
    from clipcli.tasks.dedupe.join_rows import Bits, Indices, RowSource


@dataclass
class CandidateIndex:
    """Partners among n contents, where identical rows were joined as one."""

    neighbours: Neighbours
    kind: Indices
    """(n,) the row of the join that each content is in."""
    _order: Indices
    _starts: Indices

    @classmethod
    def of(cls, neighbours: Neighbours, kind: Indices) -> CandidateIndex:
        """A proposer for contents of the given kinds."""
        order = np.argsort(kind, kind="stable")
        return cls(neighbours, kind, order, np.searchsorted(kind[order], np.arange(len(neighbours.source) + 1)))

    def partners(self, number: int, at_least: float = -1.0) -> Indices:
        """Contents that may match one, the most alike first."""
        row = int(self.kind[number])
        rows, cosines = self.neighbours.of(row)
        rows = rows[cosines >= at_least][np.argsort(-cosines[cosines >= at_least], kind="stable")]
        found = np.concatenate([self._members(row), *(self._members(int(other)) for other in rows)])
        return np.asarray(found[found != number], np.int64)

    def with_partner(self, at_least: float) -> npt.NDArray[np.bool_]:
        """(n,) contents that have any partner of at least that cosine."""
        pairs = self.neighbours.pairs
        near = pairs.cosine >= at_least
        rows = np.diff(self._starts) > 1
        rows[pairs.first[near]] = True
        rows[pairs.second[near]] = True
        return np.asarray(rows[self.kind], bool)

    def _members(self, row: int) -> Indices:
        return self._order[self._starts[row] : self._starts[row + 1]]


def propose_by_vectors(vectors: Vectors, threshold: float, talk: Console) -> CandidateIndex:
    """Partners by cosine."""
    kinds = collapse(vectors)
    source = VectorSource(vectors, None if len(kinds.firsts) == len(vectors) else kinds.firsts)
    return CandidateIndex.of(Neighbours(source, threshold, _join(source, threshold, talk, "vectors")), kinds.kind)


def propose_by_hashes(bits: Bits, talk: Console) -> CandidateIndex:
    """Partners by Hamming distance; of turned pictures too, where the hashes of all eight turns are given."""
    kinds = collapse(np.ascontiguousarray(bits).view(np.uint32))
    source = HashSource(np.ascontiguousarray(bits[kinds.firsts, :32]))
    threshold = cosine_of(HASH_SURE)
    pairs = _join(source, threshold, talk, "hashes")
    if bits.shape[1] > 32:  # noqa: PLR2004 - the hash of one turn
        turned = HashSource(bits[kinds.firsts, 32:].reshape(-1, 32))
        pairs = _with_turned(pairs, join_between(source, turned, threshold, talk, "turns"), len(source))
    return CandidateIndex.of(Neighbours(source, threshold, pairs), kinds.kind)


def join_between(
    queries: RowSource, references: RowSource, threshold: float, talk: Console, what: str, *, limit: int = DEFAULT_LIMIT
) -> Pairs:
    """Pairs of two sets; exact, or approximate where that would take long, which is then said with its recall."""
    if exact_is_quick(len(queries) * len(references)):
        with talk.progress(len(queries), "row", doing=f"joining {what}") as advance:
            return join_sets(queries, references, threshold, limit=limit, advance=advance)
    with talk.progress(len(queries) + len(references), "row", doing=f"joining {what}") as advance:
        pairs, recall = join_sets_approximately(queries, references, threshold, limit=limit, advance=advance)
    talk.note(f"approximate search of {len(queries):,} {what} in {len(references):,}: {recall}")
    return pairs


def _join(source: RowSource, threshold: float, talk: Console, what: str) -> Pairs:
    if exact_is_quick(len(source) ** 2 // 2):
        with talk.progress(len(source), "row", doing=f"joining {what}") as advance:
            return join_self(source, threshold, advance=advance)
    with talk.progress(2 * len(source), "row", doing=f"joining {what}") as advance:
        pairs, recall = join_self_approximately(source, threshold, advance=advance)
    talk.note(f"approximate search over {len(source):,} {what}: {recall}")
    return pairs


def _with_turned(upright: Pairs, turned: Pairs, rows: int) -> Pairs:
    """Pairs of a row and a turned row, as pairs of rows."""
    buffer = PairBuffer(rows, selfjoin=True)
    buffer.add(upright.first, upright.second, upright.cosine)
    partner = turned.second // 7
    other = partner != turned.first
    one, two = turned.first[other], partner[other]
    buffer.add(np.minimum(one, two), np.maximum(one, two), turned.cosine[other])
    pairs = buffer.finish()
    return Pairs(pairs.first, pairs.second, pairs.cosine, pairs.crowded | upright.crowded | turned.crowded)
