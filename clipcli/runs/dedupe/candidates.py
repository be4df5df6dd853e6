"""Candidate pairs: by sketches for the comparison of pixels, by vectors for *similar*.

The pairs by sketches depend on the pictures alone, not on a model or on the size of the set.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipcli.tasks.dedupe.ivf import exact_is_quick, join_self_approximately, join_sets_approximately
from clipcli.tasks.dedupe.join import collapse, join_self, join_sets
from clipcli.tasks.dedupe.pairs import DEFAULT_LIMIT, Neighbours, Pairs, VectorSource
from clipcli.tasks.dedupe.sketch_join import SketchSet, candidate_pairs
from clipcli.tasks.dedupe.sketches import SIDE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from clipcli.cache import EmbeddingCache, NoCache
    from clipcli.core.console import Console
    from clipcli.core.vectors import Vectors
    from clipcli.runs.dedupe.facts import Facts
    from clipcli.tasks.dedupe.join import Collapsed
    from clipcli.tasks.dedupe.pairs import Indices, RowSource
    from clipcli.tasks.dedupe.sketch_join import Join


@dataclass
class CandidateIndex:
    """Candidates among n contents; equal rows were joined as one."""

    neighbours: Neighbours
    kind: Indices
    """(n,) content → its row in the join."""
    _order: Indices
    _starts: Indices

    @classmethod
    def of(cls, neighbours: Neighbours, kind: Indices) -> CandidateIndex:
        """Return the index of pairs of rows, for contents of the given kinds."""
        order = np.argsort(kind, kind="stable")
        return cls(neighbours, kind, order, np.searchsorted(kind[order], np.arange(len(neighbours.pairs.crowded) + 1)))

    def partners(self, number: int, at_least: float = -1.0) -> Indices:
        """Return the contents that may match one, the closest first."""
        row = int(self.kind[number])
        rows, cosines = self.neighbours.of(row)
        rows = rows[cosines >= at_least][np.argsort(-cosines[cosines >= at_least], kind="stable")]
        partners = np.concatenate([self._members(row), *(self._members(int(other)) for other in rows)])
        return np.asarray(partners[partners != number], np.int64)

    def has_partner(self, at_least: float) -> npt.NDArray[np.bool_]:
        """Return (n,) bool: which contents have a candidate with at least that cosine."""
        pairs = self.neighbours.pairs
        near = pairs.cosine >= at_least
        rows = np.diff(self._starts) > 1
        rows[pairs.first[near]] = True
        rows[pairs.second[near]] = True
        return np.asarray(rows[self.kind], bool)

    def _members(self, row: int) -> Indices:
        return self._order[self._starts[row] : self._starts[row + 1]]


def index_by_vectors(vectors: Vectors, threshold: float, console: Console) -> CandidateIndex:
    """Return the candidates with at least a cosine of `threshold`."""
    kinds = collapse(vectors)
    source = VectorSource(vectors, None if len(kinds.firsts) == len(vectors) else kinds.firsts)
    return CandidateIndex.of(Neighbours(source, threshold, _join(source, threshold, console, "vectors")), kinds.kind)


def index_by_sketches(
    facts: Mapping[int, Facts], count: int, cache: EmbeddingCache | NoCache, console: Console, *, turns: bool
) -> CandidateIndex:
    """Return the candidates by sketches; the scores of copies are nearly 1.

    Args:
        facts: Content → facts of its picture; contents that cannot be read are missing.
        count: Number of contents.
        cache: Keeps the pairs of each set.
        console: Shows the progress, and the recall of an approximate search.
        turns: Whether pictures may be turned or mirrored.
    """
    kinds = kinds_of(facts, count)
    key, ranks = _key_of_set(facts, kinds)
    space = "candidates/1" + ("/turns" if turns else "")
    pairs = _unpacked(cache.get_blobs(space, [key])[0], ranks)
    if pairs is None:
        sketches = sketches_of(facts, kinds.firsts)
        pairs = candidate_pairs(sketches, sketches, _joiner(console), turns=turns)
        cache.put_blobs(space, [(key, _packed(pairs, ranks))])
    return CandidateIndex.of(Neighbours(None, 0.0, pairs), kinds.kind)


def pairs_between(
    facts: Mapping[int, Facts],
    kinds: Collapsed,
    queries: Indices,
    references: Indices,
    console: Console,
    *,
    turns: bool,
) -> Pairs:
    """Return pairs of kinds of queries and references, scored as by `index_by_sketches`."""
    sketches = sketches_of(facts, kinds.firsts)
    first, second = (np.isin(np.arange(len(kinds.firsts)), kinds.kind[rows]) for rows in (queries, references))
    return candidate_pairs(sketches.only(first), sketches.only(second), _joiner(console), turns=turns)


def kinds_of(facts: Mapping[int, Facts], count: int) -> Collapsed:
    """Return one kind per distinct sketch: a million contents with equal sketches cost as much as one."""
    keys = np.zeros((count, 8), np.uint32)
    for number in range(count):
        digest = facts[number].digest if number in facts else hashlib.sha256(b"%d" % number).digest()
        keys[number] = np.frombuffer(digest, np.uint32)
    return collapse(keys)


def sketches_of(facts: Mapping[int, Facts], numbers: Indices) -> SketchSet:
    """Return the sketches of the contents in `numbers`, in that order; empty for contents that cannot be read."""
    empty = np.zeros((0, SIDE, SIDE), np.uint8)
    known = [facts.get(number) for number in numbers.tolist()]
    return SketchSet.of(
        [picture.sketch if picture else empty for picture in known],
        [picture.drawn if picture else 0.0 for picture in known],
    )


def _key_of_set(facts: Mapping[int, Facts], kinds: Collapsed) -> tuple[str, Indices]:
    """Return a digest of the sketches of a set, which does not depend on their order, and the rank of each kind."""
    digests = [facts[number].digest if number in facts else b"" for number in kinds.firsts.tolist()]
    order = sorted(range(len(digests)), key=digests.__getitem__)
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return hashlib.sha256(b"".join(digests[number] for number in order)).hexdigest(), ranks


def _packed(pairs: Pairs, ranks: Indices) -> bytes:
    numbers = np.stack([ranks[pairs.first], ranks[pairs.second]]).astype("<u4")
    return numbers.tobytes() + pairs.cosine.astype("<f4").tobytes()


def _unpacked(data: bytes | None, ranks: Indices) -> Pairs | None:
    """Return the pairs that `_packed` made of the same set; None for other bytes."""
    if data is None or len(data) % 12:
        return None
    first, second = np.frombuffer(data, "<u4", len(data) // 6).reshape(2, -1).astype(np.int64)
    if len(first) and max(int(first.max()), int(second.max())) >= len(ranks):
        return None
    order = np.argsort(ranks)
    score = np.frombuffer(data, "<f4", offset=len(data) // 3 * 2).astype(np.float32)
    return Pairs(order[first], order[second], score, np.zeros(len(ranks), bool))


def _joiner(console: Console) -> Join:
    return lambda windows, wholes, threshold, limit: join_between(
        windows, wholes, threshold, console, "sketches", limit=limit
    )


def join_between(
    queries: RowSource,
    references: RowSource,
    threshold: float,
    console: Console,
    noun: str,
    *,
    limit: int = DEFAULT_LIMIT,
) -> Pairs:  # fmt: skip
    """Return pairs of two sets. If the exact join would take too long, an approximate one is used and reported."""
    if exact_is_quick(len(queries) * len(references)):
        with console.progress(len(queries), "row", doing=f"joining {noun}") as advance:
            return join_sets(queries, references, threshold, limit=limit, advance=advance)
    with console.progress(len(queries) + len(references), "row", doing=f"joining {noun}") as advance:
        pairs, recall = join_sets_approximately(queries, references, threshold, limit=limit, advance=advance)
    console.info(f"approximate search of {len(queries):,} {noun} in {len(references):,}: {recall}")
    return pairs


def _join(source: RowSource, threshold: float, console: Console, noun: str) -> Pairs:
    if exact_is_quick(len(source) ** 2 // 2):
        with console.progress(len(source), "row", doing=f"joining {noun}") as advance:
            return join_self(source, threshold, advance=advance)
    with console.progress(2 * len(source), "row", doing=f"joining {noun}") as advance:
        pairs, recall = join_self_approximately(source, threshold, advance=advance)
    console.info(f"approximate search over {len(source):,} {noun}: {recall}")
    return pairs
