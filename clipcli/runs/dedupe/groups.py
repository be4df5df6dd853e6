"""Candidates → groups: copies first, then the same picture, then what looks alike; the surest level wins."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import numpy as np

from clipcli.runs.dedupe.image_files import Content
from clipcli.tasks.dedupe.clusters import Grouping, Search, group
from clipcli.tasks.dedupe.detail import distances_from_typical, standings
from clipcli.tasks.dedupe.keep import FileFacts, rank
from clipcli.tasks.dedupe.levels import includes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from clipcli.core.console import Console
    from clipcli.core.vectors import Vectors
    from clipcli.plan.decisions import Decisions
    from clipcli.runs.dedupe.candidates import CandidateIndex
    from clipcli.runs.dedupe.image_files import ImageFile
    from clipcli.runs.dedupe.signatures import SignatureReader
    from clipcli.tasks.dedupe.keep import Rule
    from clipcli.tasks.dedupe.levels import Level, LevelThresholds
    from clipcli.tasks.dedupe.likeness import Likeness
    from clipcli.tasks.dedupe.pairs import Indices

_SAME: Final = 0.97
"""Score of two sketches of equal pixels, at least: JPEG files are shrunk by their own decoder first."""
_PATIENCE: Final = 8
"""Candidates that one file may be compared with in vain: a bound on the cost of a file, whatever the set holds."""
_ELECTED: Final = 24
"""Files of a group that are held against each other at full size."""


@dataclass(frozen=True)
class GroupMember:
    """A content in a group, and how it compares with the content that leads."""

    number: int
    level: Level
    likeness: Likeness | None = None
    surer: tuple[int, ...] | None = None
    """Other contents of the group that it is the same picture as, or the same pixels; None where that is not asked."""


@dataclass(frozen=True)
class Group:
    """A group: the content that leads, and those verified against it."""

    leader: int
    members: tuple[GroupMember, ...]


@dataclass
class Grouper:
    """Knows all contents and decides who belongs together. The result does not depend on the order of inputs."""

    contents: list[Content]
    vectors: Vectors | None
    looker: SignatureReader
    by_vectors: CandidateIndex | None
    """Candidates for look-alikes; None below that level."""
    by_sketches: CandidateIndex | None
    """Candidates for the same picture."""
    thresholds: LevelThresholds
    level: Level
    rules: Sequence[Rule]
    decisions: Decisions
    console: Console
    has_references: bool = False
    """One set is compared with another."""
    unseen: int = 0
    _twins: Indices | None = None
    _same: Indices | None = None
    """The content that each is the same picture as, before edits and look-alikes are joined."""
    _alike: Indices | None = None
    """The content that each is an edit of, or the same picture as, before look-alikes are joined."""
    _standing: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Content → how little of it is real, and how far it is from what most of its copies are like."""
    _place: dict[int, int] = field(default_factory=dict)

    def groups(self) -> list[Group]:
        """Return all groups of two or more files, by the path of the file that is kept."""
        everyone = np.arange(len(self.contents))
        order = self._order()
        leader = self._exact(order)
        if includes(self.level, "near"):
            near = self._near(order, leader)
            gathered = near.leader[leader]
            order = self._by_detail(gathered, order, leader)
            if not self._leads_first(order, gathered):
                near = self._near(order, leader)
            self.unseen += near.unseen
            leader = near.leader[leader]
        self._same = leader
        if includes(self.level, "edited"):
            leader = self._edited(order[leader[order] == order], leader)
        self._alike = leader
        if includes(self.level, "similar"):
            leader = self._similar(order[leader[order] == order], leader)
        byhead: dict[int, list[int]] = {}
        for number in everyone.tolist():
            byhead.setdefault(int(leader[number]), []).append(number)
        found = [self._found(head, some) for head, some in byhead.items()]
        several = [one for one in found if one.members or not self.contents[one.leader].is_one_file]
        several = [one for one in several if one.leader not in self.looker.errors]
        return sorted(several, key=lambda one: self.best(one.leader).path)

    def with_empty(self, found: list[Group], files: Sequence[ImageFile], *, against: bool) -> list[Group]:
        """Return the groups and one more of files of zero bytes; of both sets, where one is compared with another."""
        content = Content(sha256().hexdigest(), tuple(files))
        if not files or (len({file.reference for file in files}) == 1 if against else content.is_one_file):
            return found
        number = len(self.contents)
        self.contents.append(content)
        return sorted([*found, Group(number, ())], key=lambda one: self.best(one.leader).path)

    @property
    def shortened(self) -> int:
        """Times that a keeper's candidates were taken from a shortened list; 0 in any ordinary run."""
        return sum(one.neighbours.cut for one in (self.by_vectors, self.by_sketches) if one is not None)

    def best(self, number: int) -> ImageFile:
        """Return the file of a content that its rules keep; a reference, where there is one."""
        files = self.contents[number].files
        files = tuple(file for file in files if file.reference) or files
        return files[0] if len(files) == 1 else files[rank([self.facts(number, file) for file in files], self.rules)[0]]

    def facts(self, number: int, file: ImageFile) -> FileFacts:
        """Return what the rules may ask of a file."""
        seen = self.looker.facts.get(number)
        pixels, kind, coloured = (seen.width * seen.height, seen.format, seen.coloured) if seen else (0, "", False)
        return FileFacts(
            file.path, pixels, file.state.size, file.state.mtime_ns, kind, file.protected, coloured,
            seen is not None and seen.camera, *self._standing.get(number, (0, 0)),
        )  # fmt: skip

    def cosine(self, one: int, other: int) -> float | None:
        """Of two contents' vectors."""
        if self.vectors is None:
            return None
        return float(np.dot(self.vectors[one].astype(np.float64), self.vectors[other]))

    def likeness(self, one: int, other: int) -> Likeness | None:
        """Return how two pictures compare; None when one cannot be looked at."""
        return self.looker.likeness(one, other)

    def _order(self) -> Indices:
        """Contents with any candidate, the best to keep first."""
        involved = np.zeros(len(self.contents), bool)
        for proposer in (self.by_vectors, self.by_sketches):
            if proposer is not None:
                involved |= proposer.with_partner(-1.0)
        numbers = np.flatnonzero(involved)
        files = [self.facts(n, self.best(n)) for n in numbers.tolist()]
        order = numbers[rank(files, self.rules)] if len(numbers) else numbers
        self._place = {number: place for place, number in enumerate(order.tolist())}
        return order

    def _near(self, order: Indices, leader: Indices) -> Grouping:
        """Gather copies around the contents that come first and lead themselves."""
        heads = order[leader[order] == order]
        with self.console.progress(len(heads), doing="comparing") as advance:
            return group(
                heads, len(leader), lambda n: self._open(n, leader), self._verify, self._search(), advance=advance
            )

    def _search(self) -> Search:
        kinds = self.by_sketches.kind if self.by_sketches is not None else np.arange(len(self.contents))
        return Search(_PATIENCE, kinds, self.looker.compare_all)

    def _exact(self, order: Indices) -> Indices:
        """Contents with equal pixels share a leader, the best of them: equality needs no representative to be safe."""
        leader = np.arange(len(self.contents))
        if self.by_sketches is None:
            return leader
        near = self.by_sketches.with_partner(_SAME)
        sizes = {n: self.looker.facts[n].size for n in order[near[order]].tolist() if n in self.looker.facts}
        count = Counter(sizes.values())
        suspects = [n for n, size in sizes.items() if count[size] > 1]
        with self.console.progress(len(suspects), doing="exact pixels") as advance:
            pixels = self.looker.pixels(suspects, advance)
        first: dict[str, int] = {}
        for number in suspects:
            if number in pixels:
                head = first.setdefault(pixels[number], number)
                if not self.apart(head, number):
                    leader[number] = head
        self._twins = leader.copy()
        return leader

    def _open(self, number: int, leader: Indices) -> Indices:
        """Candidates that still lead themselves."""
        if self.by_sketches is None:
            return np.zeros(0, np.int64)
        partners = self.by_sketches.partners(number)
        return np.asarray(partners[leader[partners] == partners], np.int64)

    def _verify(self, number: int, others: Indices) -> npt.NDArray[np.bool_]:
        some = others.tolist()
        self.looker.compare_all((number, other) for other in some if not self.apart(number, other))
        return np.array([self.is_near(number, other) for other in some], bool)

    def is_near(self, one: int, other: int) -> bool:
        """Return whether two contents show the same picture, and nobody said that they do not."""
        if self.apart(one, other):
            return False
        found = self.likeness(one, other)
        return found is not None and found.same

    def apart(self, one: int, other: int) -> bool:
        """Return whether a person called them different."""
        return self.decisions.tells_apart(self.contents[one].digest, self.contents[other].digest)

    def _by_detail(self, leader: Indices, order: Indices, twin: Indices) -> Indices:
        """Return the order of contents with those of one group held against each other at full size.

        Most pixels need not be most detail: an enlarged or bordered copy gathers the group, and the original leads it.
        """
        members: dict[int, list[int]] = {}
        for number in order.tolist():
            members.setdefault(int(leader[number]), []).append(number)
        several = [some for some in members.values() if len(some) > 1]
        with self.console.progress(len(several), doing="detail") as advance:
            for some in several:
                self._hold_against_each_other([number for number in some if twin[number] == number])
                self._standing.update((n, self._standing[int(twin[n])]) for n in some if int(twin[n]) in self._standing)
                advance(1)
        for some in several:
            some[:] = [some[place] for place in rank([self.facts(n, self.best(n)) for n in some], self.rules)]
        return np.array([number for some in members.values() for number in some], np.int64)

    @staticmethod
    def _leads_first(order: Indices, leader: Indices) -> bool:
        """Return whether of each group the one that leads it comes first."""
        groups, firsts = np.unique(leader[order], return_index=True)
        return bool((order[firsts] == groups).all())

    def _hold_against_each_other(self, numbers: list[int]) -> None:
        """Note how much of each is real; of what comes far behind by the other rules, no more than of the worst."""
        spectra = [one for one in self.looker.spectra(numbers[:_ELECTED]) if one is not None]
        if not 1 < len(spectra) == len(numbers[:_ELECTED]):
            return
        unreal = standings(spectra)
        found = list(zip(unreal, distances_from_typical(spectra, unreal), strict=True))
        found += [max(found)] * (len(numbers) - len(found))
        self._standing.update(zip(numbers, found, strict=True))

    def _edited(self, heads: Indices, leader: Indices) -> Indices:
        """Groups join a head as a whole when their own head differs from it in one place."""
        order = np.argsort(leader, kind="stable")
        starts = np.searchsorted(leader[order], np.arange(len(leader) + 1))

        def candidates(number: int) -> Indices:
            members = order[starts[number] : starts[number + 1]][:_ELECTED]
            partners = [self._open(member, everyone) for member in members.tolist()]
            every = leader[np.concatenate([np.zeros(0, np.int64), *partners])]
            _, firsts = np.unique(every, return_index=True)
            every = every[np.sort(firsts)]
            return np.asarray(every[every != number], np.int64)

        def verify(number: int, others: Indices) -> npt.NDArray[np.bool_]:
            some = others.tolist()
            self.looker.compare_all((number, other) for other in some if not self.apart(number, other))
            return np.array([self._is_edited(number, other) for other in some], bool)

        everyone = np.arange(len(leader))
        search = Search(_PATIENCE, everyone, self.looker.compare_all)
        with self.console.progress(len(heads), doing="edits") as advance:
            found = group(heads, len(leader), candidates, verify, search, advance=advance)
        self.unseen += found.unseen
        return found.leader[leader]

    def _is_edited(self, one: int, other: int) -> bool:
        found = None if self.apart(one, other) else self.likeness(one, other)
        return found is not None and found.verdict != "other"

    def _similar(self, heads: Indices, leader: Indices) -> Indices:
        """Groups join a head as a whole, and only when every one of their contents is like that head."""
        proposer, vectors = self.by_vectors, self.vectors
        if proposer is None or vectors is None:
            return leader
        order = np.argsort(leader, kind="stable")
        starts = np.searchsorted(leader[order], np.arange(len(leader) + 1))

        def candidates(number: int) -> Indices:
            partners = proposer.partners(number, self.thresholds.similar)
            return np.asarray(partners[leader[partners] == partners], np.int64)

        def verify(number: int, others: Indices) -> npt.NDArray[np.bool_]:
            return np.array([like(number, order[starts[other] : starts[other + 1]]) for other in others], bool)

        def like(number: int, members: Indices) -> bool:
            near = vectors[members] @ vectors[number] >= self.thresholds.similar
            return bool(near.all()) and not any(self.apart(number, member) for member in members.tolist())

        return group(heads, len(leader), candidates, verify).leader[leader]

    def member(self, head: int, number: int) -> GroupMember:
        """Return what a content is of another."""
        if self._twins is not None and self._twins[number] == self._twins[head]:
            return GroupMember(number, "exact", self.likeness(head, number))
        likeness = self.likeness(head, number)
        if likeness and likeness.same:
            return GroupMember(number, "near", likeness)
        joined = self._alike is not None and self._alike[number] == head
        edited = joined or (likeness is not None and likeness.verdict == "edited")
        return GroupMember(number, "edited" if edited else "similar", likeness)

    def _found(self, head: int, numbers: Sequence[int]) -> Group:
        others = [number for number in numbers if number != head]
        members = [replace(self.member(head, number), surer=self._surer(head, number)) for number in others]
        return Group(head, tuple(sorted(members, key=lambda member: self._place.get(member.number, 0))))

    def _surer(self, head: int, number: int) -> tuple[int, ...]:
        heads = [int(leader[number]) for leader in (self._same, self._twins) if leader is not None]
        return tuple(dict.fromkeys(other for other in heads if other not in {head, number}))
