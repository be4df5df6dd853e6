"""One set against a reference set: every query finds its best reference, and nothing is compared within a set."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

import numpy as np

from clipcli.core.vectors import unit_length
from clipcli.errors import VectorsError
from clipcli.inputs.sources.filesystems import is_url
from clipcli.plan.file_state import resolve
from clipcli.runs.dedupe.candidates import join_between
from clipcli.runs.dedupe.groups import Group, GroupMember
from clipcli.tasks.dedupe.ivf import IvfFinder, exact_is_quick, sample_of
from clipcli.tasks.dedupe.join import collapse, join_sets
from clipcli.tasks.dedupe.join_rows import HashSource, VectorSource, cosine_of
from clipcli.tasks.dedupe.keep import is_inside
from clipcli.tasks.dedupe.levels import LEVELS, includes
from clipcli.tasks.dedupe.likeness import HASH_SURE
from clipcli.tasks.dedupe.pairs import DEFAULT_LIMIT, PairBuffer
from clipcli.vectorfiles import ImageReading, holds_vectors, open_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from clipcli.core.console import Console
    from clipcli.core.vectors import Vectors
    from clipcli.inputs.collect import ImageRef
    from clipcli.runs.dedupe.groups import Grouper
    from clipcli.runs.dedupe.image_files import Collection
    from clipcli.session.session import Session
    from clipcli.tasks.dedupe.join_rows import Bits, Indices, RowSource
    from clipcli.tasks.dedupe.pairs import Pairs
    from clipcli.vectorfiles.vector_file import VectorFile


def inner_reference(folders: Sequence[str], against: str | None) -> str | None:
    """Return the real path of a reference folder that lies inside one of the folders that are searched; else None.

    Args:
        folders: real paths of the inputs that are folders.
        against: as `--against` names it.
    """
    if against is None or is_url(against) or not os.path.isdir(against):  # noqa: PTH112 - any bytes
        return None
    folder = os.path.realpath(against)
    return folder if any(folder != other and is_inside(folder, other) for other in folders) else None


def outside(refs: Iterable[ImageRef], folder: str | None) -> Iterator[ImageRef]:
    """Yield the images that do not lie in a folder: what lies in the reference is a reference."""
    for ref in refs:
        if folder is None or ref.source is not None or not is_inside(resolve(ref.path), folder):
            yield ref


_ROWS_AT_ONCE = 65_536


def is_vector_file(path: str | None) -> bool:
    """Whether `--against` names vectors rather than images."""
    return path is not None and holds_vectors(path)


def add_vectors(path: str, session: Session, collection: Collection, threshold: float, talk: Console) -> int:
    """Add the rows that come near any image of the collection; the others can match nothing. Return how many there are.

    The file is read block by block; it need not fit into memory.

    Raises:
        VectorsError: damaged, or made by another model.
    """
    file = open_vectors(path)
    if file.fingerprint != session.info.fingerprint:
        raise VectorsError(
            f"{path} was made by {file.model or 'another model'}, not by {session.info.name}",
            hint=f"add --model {file.model}" if file.model else "embed the references again with this model",
        )
    made = session.provenance
    if unlike := file.info.reading.unlike(ImageReading(made.rendering, ", ".join(made.decoding))):
        talk.warn(f"{path}: {unlike}")
    images = collection.peek()
    if not len(images):
        return len(file)
    near = _near(VectorSource(images), file, threshold, talk)
    with talk.progress(len(file), "row", doing="references") as advance:
        for start, vectors in _blocks(file):
            for row in near(vectors).tolist():
                collection.add_reference(file.names[start + row], vectors[row])
            advance(len(vectors))
    return len(file)


def _near(images: RowSource, file: VectorFile, threshold: float, talk: Console) -> Callable[[Vectors], Indices]:
    """A function that says which rows of a block come near any image: exact, or by way of cells of the images."""
    if exact_is_quick(len(images) * len(file)):
        return lambda vectors: np.unique(join_sets(VectorSource(vectors), images, threshold, limit=1).first)
    wanted = sample_of(len(file))
    some = [vectors[wanted[(wanted >= start) & (wanted < start + len(vectors))] - start]
            for start, vectors in _blocks(file)]  # fmt: skip
    finder = IvfFinder.of(images, threshold, np.concatenate(some), len(file))
    talk.note(f"approximate search of {len(file):,} references in {len(images):,} images: {finder.recall}")

    def find(vectors: Vectors) -> Indices:
        pairs = PairBuffer(len(vectors), selfjoin=False, limit=1)
        finder.find(VectorSource(vectors), pairs)
        return np.unique(pairs.finish().first)

    return find


def _blocks(file: VectorFile) -> Iterator[tuple[int, Vectors]]:
    for start, vectors in file.blocks(_ROWS_AT_ONCE):
        yield start, vectors if file.info.unit_length else unit_length(vectors)


_COMPARISONS: Final = 100_000
"""Pictures that one run compares at least, if there are so many; 8 for each query otherwise."""
_COMPARISONS_A_QUERY: Final = 8


def match(decider: Grouper, bits: Bits, talk: Console) -> list[Group]:
    """Groups that are led by a reference, by its path; their members are the queries that it fits best."""
    contents = decider.contents
    references = np.array([n for n, c in enumerate(contents) if any(f.reference for f in c.files)], np.int64)
    queries = np.array([n for n, c in enumerate(contents) if not any(f.reference for f in c.files)], np.int64)
    members: dict[int, list[GroupMember]] = defaultdict(list)
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
    found = [Group(head, tuple(some)) for head, some in members.items()]
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
    decider: Grouper, bits: Bits, queries: Indices, references: Indices, talk: Console
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


def _best(decider: Grouper, query: int, candidates: Iterable[int]) -> tuple[int, GroupMember] | None:
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


def _member(decider: Grouper, query: int, reference: int) -> GroupMember | None:
    likeness = decider.likeness(query, reference)
    if likeness is not None and likeness.same:
        mine, other = (decider.looker.facts[number] for number in (query, reference))
        pixels = decider.looker.pixels([query, reference]) if mine.size == other.size else {}
        same = len(pixels) > 1 and pixels[query] == pixels[reference]
        return GroupMember(query, "exact" if same else "near", likeness)
    if likeness is not None and likeness.verdict == "edited":
        return GroupMember(query, "edited", likeness)
    cosine = decider.cosine(query, reference)
    if cosine is not None and cosine >= decider.thresholds.similar:
        return GroupMember(query, "similar", likeness)
    return None
