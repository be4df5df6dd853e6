"""One set against a reference set: every query finds its best reference, and nothing is compared within a set."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from clipcli.deduplication.deciding import Found, Member
from clipcli.tasks.dedupe.join import join_sets
from clipcli.tasks.dedupe.levels import LEVELS, includes
from clipcli.tasks.dedupe.likeness import HASH_SURE
from clipcli.tasks.dedupe.sources import HashSource, VectorSource, cosine_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clipcli.deduplication.deciding import Decider
    from clipcli.talk import Talk
    from clipcli.tasks.dedupe.pairs import Pairs
    from clipcli.tasks.dedupe.sources import Bits, Indices


def match(decider: Decider, bits: Bits | None, talk: Talk) -> list[Found]:
    """Groups that are led by a reference, by its path; their members are the queries that it fits best."""
    contents = decider.contents
    references = np.array([n for n, c in enumerate(contents) if any(f.reference for f in c.files)], np.int64)
    queries = np.array([n for n, c in enumerate(contents) if not any(f.reference for f in c.files)], np.int64)
    members: dict[int, list[Member]] = defaultdict(list)
    for number in references.tolist():
        if not all(file.reference for file in contents[number].files):
            members[number] = []
    candidates = _candidates(decider, bits, queries, references, talk)
    with talk.progress(len(candidates), doing="comparing") as advance:
        for query, some in candidates.items():
            best = _best(decider, query, some)
            if best is not None:
                members[best[0]].append(best[1])
            advance(1)
    found = [Found(head, tuple(some)) for head, some in members.items()]
    return sorted(found, key=lambda one: decider.best(one.leader).path)


def _candidates(
    decider: Decider, bits: Bits | None, queries: Indices, references: Indices, talk: Talk
) -> dict[int, list[int]]:
    found: dict[int, set[int]] = defaultdict(set)

    def take(pairs: Pairs, each: int = 1) -> None:
        for query, reference in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
            found[int(queries[query])].add(int(references[reference // each]))

    if not len(queries) or not len(references):
        return {}
    if decider.vectors is not None:
        one, two = VectorSource(decider.vectors, queries), VectorSource(decider.vectors, references)
        with talk.progress(len(queries), doing="joining vectors") as advance:
            take(join_sets(one, two, decider.thresholds.candidate, advance=advance))
    if bits is not None:
        upright = HashSource(np.ascontiguousarray(bits[queries, :32]))
        turns = bits.shape[1] // 32
        with talk.progress(len(queries), doing="joining hashes") as advance:
            every = HashSource(bits[references].reshape(-1, 32))
            take(join_sets(upright, every, cosine_of(HASH_SURE), advance=advance), turns)
    return {query: sorted(some) for query, some in sorted(found.items())}


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
    cosine = decider.cosine(query, reference)
    if cosine is not None and cosine >= decider.thresholds.similar:
        return Member(query, "similar", likeness)
    return None
