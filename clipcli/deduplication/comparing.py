"""One set against a reference set: every query finds its best reference, and nothing is compared within a set."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

import numpy as np

from clipcli.deduplication.deciding import Found, Member
from clipcli.deduplication.proposing import join_between
from clipcli.tasks.dedupe.collapse import collapse
from clipcli.tasks.dedupe.levels import LEVELS, includes
from clipcli.tasks.dedupe.likeness import HASH_SURE
from clipcli.tasks.dedupe.pairs import DEFAULT_LIMIT
from clipcli.tasks.dedupe.sources import HashSource, VectorSource, cosine_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clipcli.deduplication.deciding import Decider
    from clipcli.talk import Talk
    from clipcli.tasks.dedupe.pairs import Pairs
    from clipcli.tasks.dedupe.sources import Bits, Indices

_COMPARISONS: Final = 100_000
"""Pictures that one run compares at least, if there are so many; 8 for each query otherwise."""
_COMPARISONS_A_QUERY: Final = 8


def match(decider: Decider, bits: Bits, talk: Talk) -> list[Found]:
    """Groups that are led by a reference, by its path; their members are the queries that it fits best."""
    contents = decider.contents
    references = np.array([n for n, c in enumerate(contents) if any(f.reference for f in c.files)], np.int64)
    queries = np.array([n for n, c in enumerate(contents) if not any(f.reference for f in c.files)], np.int64)
    members: dict[int, list[Member]] = defaultdict(list)
    for number in references.tolist():
        if not all(file.reference for file in contents[number].files):
            members[number] = []
    candidates = _candidates(decider, bits, queries, references, talk)
    limit = _limit(len(queries))
    budget = max(_COMPARISONS, _COMPARISONS_A_QUERY * len(queries))
    with talk.progress(len(queries), doing="comparing") as advance:
        for query in queries.tolist():
            some = list(islice(dict.fromkeys(chain.from_iterable(one.of(query) for one in candidates)), limit))
            decider.unseen += max(0, len(some) - budget)
            best = _best(decider, query, some[:budget])
            budget = max(budget - len(some), _COMPARISONS_A_QUERY)
            if best is not None:
                members[best[0]].append(best[1])
            advance(1)
    found = [Found(head, tuple(some)) for head, some in members.items()]
    return sorted(found, key=lambda one: decider.best(one.leader).path)


def _limit(queries: int) -> int:
    """References that one query is compared with, at most: the fewer queries, the more."""
    return max(DEFAULT_LIMIT, _COMPARISONS // max(1, queries))


@dataclass(frozen=True)
class _Partners:
    """References of each query by one join, the nearest first."""

    kind: Indices
    """(contents,) which of the rows that were joined each content is."""
    members: Indices
    """References, by kind."""
    starts: Indices
    """Kind → its first place in `members`."""
    partners: Indices
    """Kinds of references, by the kind of the query and then by cosine."""
    places: Indices
    """Kind → its first place in `partners`."""

    @classmethod
    def of_pairs(cls, kind: Indices, references: Indices, pairs: Pairs) -> _Partners:
        """From pairs of kinds; a million equal rows are one kind, so that they cost no more than one."""
        members = references[np.argsort(kind[references], kind="stable")]
        order = np.lexsort((pairs.second, -pairs.cosine, pairs.first))
        kinds = np.arange(int(kind.max()) + 2)
        return cls(kind, members, np.searchsorted(kind[members], kinds), pairs.second[order],
                   np.searchsorted(pairs.first[order], kinds))  # fmt: skip

    def of(self, query: int) -> Iterator[int]:
        """References that may match."""
        kind = int(self.kind[query])
        for partner in self.partners[self.places[kind] : self.places[kind + 1]].tolist():
            yield from self.members[self.starts[partner] : self.starts[partner + 1]].tolist()


def _candidates(
    decider: Decider, bits: Bits, queries: Indices, references: Indices, talk: Talk
) -> tuple[_Partners, ...]:
    if not len(queries) or not len(references):
        return ()
    kinds = collapse(np.ascontiguousarray(bits).view(np.uint32))
    ours, theirs = np.unique(kinds.kind[queries]), np.unique(kinds.kind[references])
    turns = bits.shape[1] // 32
    one, two = HashSource(bits[kinds.firsts[ours], :32]), HashSource(bits[kinds.firsts[theirs]].reshape(-1, 32))
    pairs = join_between(one, two, cosine_of(HASH_SURE), talk, "hashes", limit=_limit(len(queries)))
    by_hashes = _Partners.of_pairs(kinds.kind, references, pairs.renamed(ours, np.repeat(theirs, turns)))
    if decider.vectors is None:
        return (by_hashes,)
    kinds = collapse(decider.vectors)
    ours, theirs = np.unique(kinds.kind[queries]), np.unique(kinds.kind[references])
    first, second = (VectorSource(decider.vectors, kinds.firsts[some]) for some in (ours, theirs))
    pairs = join_between(first, second, decider.thresholds.candidate, talk, "vectors", limit=_limit(len(queries)))
    return by_hashes, _Partners.of_pairs(kinds.kind, references, pairs.renamed(ours, theirs))


def _best(decider: Decider, query: int, candidates: Iterable[int]) -> tuple[int, Member] | None:
    """The reference of the surest level, then of the closest picture, then the first by path."""
    fits = []
    some = [number for number in candidates if not decider.apart(query, number)]
    decider.looker.prepare([query, *some])
    for number in some:
        member = _member(decider, query, number)
        if member is not None and includes(decider.level, member.level):
            closeness = member.likeness.structure if member.likeness else decider.cosine(query, number) or 0.0
            fits.append((LEVELS.index(member.level), -closeness, decider.best(number).path, number, member))
    return min(fits, key=lambda fit: fit[:3])[3:] if fits else None


def _member(decider: Decider, query: int, reference: int) -> Member | None:
    likeness = decider.likeness(query, reference)
    if likeness is not None and likeness.same:
        mine, other = (decider.looker.facts[number] for number in (query, reference))
        pixels = decider.looker.pixels([query, reference]) if mine.size == other.size else {}
        same = len(pixels) > 1 and pixels[query] == pixels[reference]
        return Member(query, "exact" if same else "near", likeness)
    if likeness is not None and likeness.verdict == "edited":
        return Member(query, "edited", likeness)
    cosine = decider.cosine(query, reference)
    if cosine is not None and cosine >= decider.thresholds.similar:
        return Member(query, "similar", likeness)
    return None
