"""One set against a reference set: every query finds its best reference, and nothing is compared within a set."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from clipcli.core.vectors import unit_length
from clipcli.errors import VectorsError
from clipcli.inputs.sources.filesystems import is_url
from clipcli.plan.file_state import resolve
from clipcli.runs.dedupe.candidates import join_between, kinds_of, pairs_between
from clipcli.runs.dedupe.groups import Group, GroupMember
from clipcli.tasks.dedupe.ivf import IvfFinder, exact_is_quick, sample_of
from clipcli.tasks.dedupe.join import collapse, join_sets
from clipcli.tasks.dedupe.keep import is_inside
from clipcli.tasks.dedupe.levels import LEVELS, includes
from clipcli.tasks.dedupe.pairs import PairBuffer, Pairs, VectorSource
from clipcli.vectorfiles import ImageReading, holds_vectors, open_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from clipcli.core.console import Console
    from clipcli.core.vectors import Vectors
    from clipcli.inputs.collect import ImageRef
    from clipcli.runs.dedupe.groups import Grouper
    from clipcli.runs.dedupe.image_files import Collection
    from clipcli.session.session import Session
    from clipcli.tasks.dedupe.pairs import Indices, RowSource
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
    """Return whether `--against` names vectors rather than images."""
    return path is not None and holds_vectors(path)


def add_vectors(path: str, session: Session, collection: Collection, threshold: float, console: Console) -> int:
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
    if difference := file.info.reading.difference_from(ImageReading(made.rendering, ", ".join(made.decoding))):
        console.warning(f"{path}: {difference}")
    images = collection.peek()
    if not len(images):
        return len(file)
    near = _near(VectorSource(images), file, threshold, console)
    with console.progress(len(file), "row", doing="references") as advance:
        for start, vectors in _blocks(file):
            for row in near(vectors).tolist():
                collection.add_reference(file.names[start + row], vectors[row])
            advance(len(vectors))
    return len(file)


def _near(images: RowSource, file: VectorFile, threshold: float, console: Console) -> Callable[[Vectors], Indices]:
    """A function that says which rows of a block come near any image: exact, or by way of cells of the images."""
    if exact_is_quick(len(images) * len(file)):
        return lambda vectors: np.unique(join_sets(VectorSource(vectors), images, threshold, limit=1).first)
    wanted = sample_of(len(file))
    some = [vectors[wanted[(wanted >= start) & (wanted < start + len(vectors))] - start]
            for start, vectors in _blocks(file)]  # fmt: skip
    finder = IvfFinder.of(images, threshold, np.concatenate(some), len(file))
    console.info(f"approximate search of {len(file):,} references in {len(images):,} images: {finder.recall}")

    def find(vectors: Vectors) -> Indices:
        pairs = PairBuffer(len(vectors), selfjoin=False, limit=1)
        finder.find(VectorSource(vectors), pairs)
        return np.unique(pairs.finish().first)

    return find


def _blocks(file: VectorFile) -> Iterator[tuple[int, Vectors]]:
    for start, vectors in file.blocks(_ROWS_AT_ONCE):
        yield start, vectors if file.info.unit_length else unit_length(vectors)


_A_QUERY: Final = 16
"""References that one query is compared with on its pixels, the most alike first."""
_QUERIES_AT_ONCE: Final = 64


def match(decider: Grouper, console: Console) -> list[Group]:
    """Groups that are led by a reference, by its path; their members are the queries that it fits best."""
    contents = decider.contents
    references = np.array([n for n, c in enumerate(contents) if any(f.reference for f in c.files)], np.int64)
    queries = np.array([n for n, c in enumerate(contents) if not any(f.reference for f in c.files)], np.int64)
    members: dict[int, list[GroupMember]] = defaultdict(list)
    for number in references.tolist():
        if not all(file.reference for file in contents[number].files):
            members[number] = []
    with console.progress(len(queries), doing="comparing") as advance:
        for _query, best in _best_of_each(decider, queries, references, console):
            if best is not None:
                members[best[0]].append(best[1])
            advance(1)
    found = [Group(head, tuple(some)) for head, some in members.items()]
    return sorted(found, key=lambda one: decider.best(one.leader).path)


def _best_of_each(
    decider: Grouper, queries: Indices, references: Indices, console: Console
) -> Iterator[tuple[int, tuple[int, GroupMember] | None]]:
    if not len(queries) or not len(references):
        yield from ((query, None) for query in queries.tolist())
        return
    by_pixels = _by_sketches(decider, queries, references, console)
    by_vectors = _by_vectors(decider, queries, references, console)
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        some = queries[start : start + _QUERIES_AT_ONCE].tolist()
        pictures = {query: _told_together(decider, query, islice(by_pixels.of(query), _A_QUERY)) for query in some}
        decider.looker.compare_all((query, number) for query in some for number in pictures[query])
        for query in some:
            fits = [(number, _by_picture(decider, query, number)) for number in pictures[query]]
            alike = [] if by_vectors is None else _told_together(decider, query, islice(by_vectors.of(query), _A_QUERY))
            fits += [(number, _by_cosine(decider, query, number)) for number in alike]
            yield query, _best(decider, query, fits)


def _told_together(decider: Grouper, query: int, numbers: Iterable[int]) -> list[int]:
    """Return those that nobody called different."""
    return [number for number in numbers if not decider.apart(query, number)]


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


def _by_sketches(decider: Grouper, queries: Indices, references: Indices, console: Console) -> _Partners:
    looker = decider.looker
    kinds = kinds_of(looker.facts, len(decider.contents))
    pairs = pairs_between(looker.facts, kinds, queries, references, console, turns=looker.turns)
    alone = np.unique(np.intersect1d(kinds.kind[queries], kinds.kind[references]))
    alone = np.array([kind for kind in alone.tolist() if int(kinds.firsts[kind]) in looker.facts], np.int64)
    same = np.ones(len(alone), np.float32)
    every = Pairs(np.concatenate([pairs.first, alone]), np.concatenate([pairs.second, alone]),
                  np.concatenate([pairs.cosine, same]), pairs.crowded)  # fmt: skip
    return _Partners.of_pairs(kinds.kind, references, every)


def _by_vectors(decider: Grouper, queries: Indices, references: Indices, console: Console) -> _Partners | None:
    """References that are similar; None where that is not asked."""
    if decider.vectors is None or not includes(decider.level, "similar"):
        return None
    kinds = collapse(decider.vectors)
    ours, theirs = np.unique(kinds.kind[queries]), np.unique(kinds.kind[references])
    first, second = (VectorSource(decider.vectors, kinds.firsts[some]) for some in (ours, theirs))
    pairs = join_between(first, second, decider.thresholds.similar, console, "vectors")
    return _Partners.of_pairs(kinds.kind, references, pairs.renamed(ours, theirs))


def _best(
    decider: Grouper, query: int, fits: Iterable[tuple[int, GroupMember | None]]
) -> tuple[int, GroupMember] | None:
    """Return the reference of the surest level, then of the closest picture, then the first by path."""
    ranked = []
    for number, member in fits:
        if member is not None and includes(decider.level, member.level):
            closeness = member.likeness.structure if member.likeness else decider.cosine(query, number) or 0.0
            ranked.append((LEVELS.index(member.level), -closeness, decider.best(number).path, number, member))
    return min(ranked, key=lambda fit: fit[:3])[3:] if ranked else None


def _by_picture(decider: Grouper, query: int, reference: int) -> GroupMember | None:
    likeness = decider.likeness(query, reference)
    if likeness is None or likeness.verdict == "other":
        return None
    if not likeness.same:
        return GroupMember(query, "edited", likeness)
    mine, other = (decider.looker.facts[number] for number in (query, reference))
    pixels = decider.looker.pixels([query, reference]) if mine.size == other.size else {}
    same = len(pixels) > 1 and pixels[query] == pixels[reference]
    return GroupMember(query, "exact" if same else "near", likeness)


def _by_cosine(decider: Grouper, query: int, reference: int) -> GroupMember | None:
    cosine = decider.cosine(query, reference)
    return GroupMember(query, "similar") if cosine is not None and cosine >= decider.thresholds.similar else None
