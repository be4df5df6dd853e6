"""`dedupe --against`: find the best reference of each input. Nothing is compared within one of the two sets."""

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
    """Yield the images that do not lie in the reference folder; those that do are references, not inputs."""
    for ref in refs:
        if folder is None or ref.source is not None or not is_inside(resolve(ref.path), folder):
            yield ref


_ROWS_AT_ONCE = 65_536


def is_vector_file(path: str | None) -> bool:
    """Return whether `--against` names vectors rather than images."""
    return path is not None and holds_vectors(path)


def add_vectors(path: str, session: Session, collection: Collection, threshold: float, console: Console) -> int:
    """Add the rows of a vector file that are near any image of the collection; the others cannot match.

    The file is read in blocks, so it need not fit into memory.

    Returns:
        The number of rows of the file.

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
    """Return a function that finds the rows of a block that are near any image, exactly or by an IVF index."""
    if exact_is_quick(len(images) * len(file)):
        return lambda vectors: np.unique(join_sets(VectorSource(vectors), images, threshold, limit=1).first)
    rows = sample_of(len(file))
    sample = [vectors[rows[(rows >= start) & (rows < start + len(vectors))] - start]
              for start, vectors in _blocks(file)]  # fmt: skip
    finder = IvfFinder.of(images, threshold, np.concatenate(sample), len(file))
    console.info(f"approximate search of {len(file):,} references in {len(images):,} images: {finder.recall}")

    def find(vectors: Vectors) -> Indices:
        pairs = PairBuffer(len(vectors), selfjoin=False, limit=1)
        finder.find(VectorSource(vectors), pairs)
        return np.unique(pairs.finish().first)

    return find


def _blocks(file: VectorFile) -> Iterator[tuple[int, Vectors]]:
    for start, vectors in file.blocks(_ROWS_AT_ONCE):
        yield start, vectors if file.info.unit_length else unit_length(vectors)


_COMPARED_PER_QUERY: Final = 16
"""References that a query is compared with by pixels, the closest first."""
_QUERIES_AT_ONCE: Final = 64


def match(grouper: Grouper, console: Console) -> list[Group]:
    """Return one group per matched reference, sorted by its path; the members are the queries that match it best."""
    contents = grouper.contents
    references = np.array([n for n, c in enumerate(contents) if any(f.reference for f in c.files)], np.int64)
    queries = np.array([n for n, c in enumerate(contents) if not any(f.reference for f in c.files)], np.int64)
    members: dict[int, list[GroupMember]] = defaultdict(list)
    for number in references.tolist():
        if not all(file.reference for file in contents[number].files):
            members[number] = []
    with console.progress(len(queries), doing="comparing") as advance:
        for _query, best in _best_of_each(grouper, queries, references, console):
            if best is not None:
                members[best[0]].append(best[1])
            advance(1)
    groups = [Group(head, tuple(queries)) for head, queries in members.items()]
    return sorted(groups, key=lambda group: grouper.best(group.leader).path)


def _best_of_each(
    grouper: Grouper, queries: Indices, references: Indices, console: Console
) -> Iterator[tuple[int, tuple[int, GroupMember] | None]]:
    if not len(queries) or not len(references):
        yield from ((query, None) for query in queries.tolist())
        return
    by_pixels = _by_sketches(grouper, queries, references, console)
    by_vectors = _by_vectors(grouper, queries, references, console)
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        batch = queries[start : start + _QUERIES_AT_ONCE].tolist()
        pictures = {
            query: _unmarked(grouper, query, islice(by_pixels.of(query), _COMPARED_PER_QUERY)) for query in batch
        }
        grouper.signatures.compare_all((query, number) for query in batch for number in pictures[query])
        for query in batch:
            matches = [(number, _by_picture(grouper, query, number)) for number in pictures[query]]
            if by_vectors is not None:
                similar = _unmarked(grouper, query, islice(by_vectors.of(query), _COMPARED_PER_QUERY))
                matches += [(number, _by_cosine(grouper, query, number)) for number in similar]
            yield query, _best(grouper, query, matches)


def _unmarked(grouper: Grouper, query: int, numbers: Iterable[int]) -> list[int]:
    """Return those that the user has not marked as different from the query."""
    return [number for number in numbers if not grouper.marked_different(query, number)]


@dataclass(frozen=True)
class _Partners:
    """Candidate references of each query, from one join of unique rows, the closest first."""

    kind: Indices
    """(contents,) content → its unique row (its kind): a million equal rows cost as much as one."""
    members: Indices
    """Numbers of the references, sorted by kind."""
    member_starts: Indices
    """Kind → its first index in `members`."""
    partners: Indices
    """Kinds of references, sorted by the kind of the query, then by cosine."""
    partner_starts: Indices
    """Kind → its first index in `partners`."""

    @classmethod
    def of_pairs(cls, kind: Indices, references: Indices, pairs: Pairs) -> _Partners:
        """Return the candidates from pairs of kinds of queries and references."""
        members = references[np.argsort(kind[references], kind="stable")]
        order = np.lexsort((pairs.second, -pairs.cosine, pairs.first))
        kinds = np.arange(int(kind.max()) + 2)
        return cls(kind, members, np.searchsorted(kind[members], kinds), pairs.second[order],
                   np.searchsorted(pairs.first[order], kinds))  # fmt: skip

    def of(self, query: int) -> Iterator[int]:
        """Yield the references that may match a query, the closest first."""
        kind = int(self.kind[query])
        for partner in self.partners[self.partner_starts[kind] : self.partner_starts[kind + 1]].tolist():
            yield from self.members[self.member_starts[partner] : self.member_starts[partner + 1]].tolist()


def _by_sketches(grouper: Grouper, queries: Indices, references: Indices, console: Console) -> _Partners:
    signatures = grouper.signatures
    kinds = kinds_of(signatures.facts, len(grouper.contents))
    pairs = pairs_between(signatures.facts, kinds, queries, references, console, turns=signatures.turns)
    # A join gives pairs of different kinds; a query and a reference of one kind match as well.
    shared = np.intersect1d(kinds.kind[queries], kinds.kind[references])
    shared = np.array([kind for kind in shared.tolist() if int(kinds.firsts[kind]) in signatures.facts], np.int64)
    pairs = Pairs(np.concatenate([pairs.first, shared]), np.concatenate([pairs.second, shared]),
                  np.concatenate([pairs.cosine, np.ones(len(shared), np.float32)]), pairs.crowded)  # fmt: skip
    return _Partners.of_pairs(kinds.kind, references, pairs)


def _by_vectors(grouper: Grouper, queries: Indices, references: Indices, console: Console) -> _Partners | None:
    """Return the candidates for *similar*; None if that level was not asked for."""
    if grouper.vectors is None or not includes(grouper.level, "similar"):
        return None
    kinds = collapse(grouper.vectors)
    query_kinds, reference_kinds = np.unique(kinds.kind[queries]), np.unique(kinds.kind[references])
    first, second = (VectorSource(grouper.vectors, kinds.firsts[rows]) for rows in (query_kinds, reference_kinds))
    pairs = join_between(first, second, grouper.thresholds.similar, console, "vectors")
    return _Partners.of_pairs(kinds.kind, references, pairs.renamed(query_kinds, reference_kinds))


def _best(
    grouper: Grouper, query: int, matches: Iterable[tuple[int, GroupMember | None]]
) -> tuple[int, GroupMember] | None:
    """Return the reference with the closest level; of equal ones the most similar picture, then the first path."""
    ranked = []
    for number, member in matches:
        if member is not None and includes(grouper.level, member.level):
            closeness = member.likeness.structure if member.likeness else grouper.cosine(query, number) or 0.0
            ranked.append((LEVELS.index(member.level), -closeness, grouper.best(number).path, number, member))
    return min(ranked, key=lambda match: match[:3])[3:] if ranked else None


def _by_picture(grouper: Grouper, query: int, reference: int) -> GroupMember | None:
    likeness = grouper.likeness(query, reference)
    if likeness is None or likeness.verdict == "other":
        return None
    if not likeness.same:
        return GroupMember(query, "edited", likeness)
    facts, other = (grouper.signatures.facts[number] for number in (query, reference))
    pixels = grouper.signatures.pixels([query, reference]) if facts.size == other.size else {}
    same = len(pixels) > 1 and pixels[query] == pixels[reference]
    return GroupMember(query, "exact" if same else "near", likeness)


def _by_cosine(grouper: Grouper, query: int, reference: int) -> GroupMember | None:
    cosine = grouper.cosine(query, reference)
    return GroupMember(query, "similar") if cosine is not None and cosine >= grouper.thresholds.similar else None
