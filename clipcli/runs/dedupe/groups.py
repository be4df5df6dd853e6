"""Form groups from candidates: exact copies first, then near, edited and similar; the closest level counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import numpy as np

from clipcli.runs.dedupe.image_files import Content
from clipcli.tasks.dedupe.clusters import Grouping, Search, group
from clipcli.tasks.dedupe.keep import FileFacts, rank
from clipcli.tasks.dedupe.levels import includes
from clipcli.tasks.dedupe.originals import detail_losses, distances_from_typical

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from clipcli.core.console import Console
    from clipcli.core.vectors import Vectors
    from clipcli.plan.decisions import Decisions
    from clipcli.runs.dedupe.candidates import CandidateIndex
    from clipcli.runs.dedupe.image_files import ImageFile
    from clipcli.runs.dedupe.signatures import SignatureReader
    from clipcli.tasks.dedupe.detail import Detail
    from clipcli.tasks.dedupe.keep import Rule
    from clipcli.tasks.dedupe.levels import Level, LevelThresholds
    from clipcli.tasks.dedupe.likeness import Likeness
    from clipcli.tasks.dedupe.pairs import Indices

_SAME: Final = 0.97
"""Least score of the sketches of two files with equal pixels; not 1, since JPEG files are shrunk while decoding."""
_PATIENCE: Final = 8
"""Candidates of one file that may fail to match: this bounds the comparisons per file in any set."""
_MOST_DETAILS: Final = 128
"""Files of a group that are compared with each other at full size."""
_MOST_COMPARED: Final = 24
"""Files of a group whose candidates may be edits of it."""


@dataclass(frozen=True)
class GroupMember:
    """A content in a group, and how it compares with the leader."""

    number: int
    level: Level
    likeness: Likeness | None = None
    closer_leaders: tuple[int, ...] | None = None
    """Leaders of this content at *exact* and *near*, without the leader of the group; None if not computed."""


@dataclass(frozen=True)
class Group:
    """The content that leads a group, and the members that were verified against it."""

    leader: int
    members: tuple[GroupMember, ...]


@dataclass
class Grouper:
    """Forms the groups of a set of contents. The result does not depend on the order of inputs."""

    contents: list[Content]
    vectors: Vectors | None
    signatures: SignatureReader
    by_vectors: CandidateIndex | None
    """Candidates for *similar*; None if the run stops at a closer level."""
    by_sketches: CandidateIndex | None
    """Candidates for *exact*, *near* and *edited*; None before they are computed."""
    thresholds: LevelThresholds
    level: Level
    rules: Sequence[Rule]
    decisions: Decisions
    console: Console
    has_references: bool = False
    """Whether one set is compared with another."""
    not_compared: int = 0
    _exact_leader: Indices | None = None
    """(n,) leader of each content among contents with equal pixels."""
    _near_leader: Indices | None = None
    """(n,) leader of each content at the level *near*."""
    _edited_leader: Indices | None = None
    """(n,) leader of each content at the level *edited*."""
    _detail: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Content → its `FileFacts.detail_loss` and `FileFacts.atypical`."""
    _position: dict[int, int] = field(default_factory=dict)
    """Content → its position among contents with candidates, the best to keep first."""

    def groups(self) -> list[Group]:
        """Return all groups of two or more files, sorted by the path of the file that is kept."""
        everyone = np.arange(len(self.contents))
        order = self._order()
        leader = self._exact(order)
        if includes(self.level, "near"):
            near = self._near(order, leader)
            gathered = near.leader[leader]
            order = self._order_by_detail(gathered, order, leader)
            if not self._leads_first(order, gathered):
                near = self._near(order, leader)
            self.not_compared += near.not_compared
            leader = near.leader[leader]
        self._near_leader = leader
        if includes(self.level, "edited"):
            leader = self._edited(order[leader[order] == order], leader)
        self._edited_leader = leader
        if includes(self.level, "similar"):
            leader = self._similar(order[leader[order] == order], leader)
        by_leader: dict[int, list[int]] = {}
        for number in everyone.tolist():
            by_leader.setdefault(int(leader[number]), []).append(number)
        groups = [self._group(head, numbers) for head, numbers in by_leader.items()]
        groups = [group for group in groups if group.members or not self.contents[group.leader].is_one_file]
        groups = [group for group in groups if group.leader not in self.signatures.errors]
        return sorted(groups, key=lambda group: self.best(group.leader).path)

    def with_empty(self, groups: list[Group], files: Sequence[ImageFile], *, against: bool) -> list[Group]:
        """Return the groups and, if there are duplicates among the files of zero bytes, one group of them.

        With `against`, these are duplicates only if both sets have any.
        """
        content = Content(sha256().hexdigest(), tuple(files))
        if not files or (len({file.reference for file in files}) == 1 if against else content.is_one_file):
            return groups
        number = len(self.contents)
        self.contents.append(content)
        return sorted([*groups, Group(number, ())], key=lambda group: self.best(group.leader).path)

    @property
    def shortened(self) -> int:
        """Return the number of leaders whose list of candidates was cut to its limit; 0 in an ordinary run."""
        return sum(index.neighbours.cut for index in (self.by_vectors, self.by_sketches) if index is not None)

    def best(self, number: int) -> ImageFile:
        """Return the file of a content to keep by the rules; a file of the references comes first."""
        files = self.contents[number].files
        files = tuple(file for file in files if file.reference) or files
        return files[0] if len(files) == 1 else files[rank([self.facts(number, file) for file in files], self.rules)[0]]

    def facts(self, number: int, file: ImageFile) -> FileFacts:
        """Return what the rules know of a file of a content."""
        picture = self.signatures.facts.get(number)
        pixels, kind, coloured = (
            (picture.width * picture.height, picture.format, picture.coloured) if picture else (0, "", False)
        )
        return FileFacts(
            file.path, pixels, file.state.size, file.state.mtime_ns, kind, file.protected, coloured,
            picture is not None and picture.camera, *self._detail.get(number, (0, 0)),
        )  # fmt: skip

    def cosine(self, first: int, second: int) -> float | None:
        """Return the cosine of two contents' vectors; None without a model."""
        if self.vectors is None:
            return None
        return float(np.dot(self.vectors[first].astype(np.float64), self.vectors[second]))

    def likeness(self, first: int, second: int) -> Likeness | None:
        """Return how the pictures of two contents compare; None if one cannot be read."""
        return self.signatures.likeness(first, second)

    def _order(self) -> Indices:
        """Return the contents with any candidate, the best to keep first."""
        involved = np.zeros(len(self.contents), bool)
        for index in (self.by_vectors, self.by_sketches):
            if index is not None:
                involved |= index.has_partner(-1.0)
        numbers = np.flatnonzero(involved)
        files = [self.facts(n, self.best(n)) for n in numbers.tolist()]
        order = numbers[rank(files, self.rules)] if len(numbers) else numbers
        self._position = {number: position for position, number in enumerate(order.tolist())}
        return order

    def _near(self, order: Indices, leader: Indices) -> Grouping:
        """Group the exact leaders at the level *near*."""
        heads = order[leader[order] == order]
        with self.console.progress(len(heads), doing="comparing") as advance:
            return group(
                heads,
                len(leader),
                lambda n: self._free_candidates(n, leader),
                self._verify,
                self._search(),
                advance=advance,
            )

    def _search(self) -> Search:
        kinds = self.by_sketches.kind if self.by_sketches is not None else np.arange(len(self.contents))
        return Search(_PATIENCE, kinds, self.signatures.compare_all)

    def _exact(self, order: Indices) -> Indices:
        """Return the leader of each content: the first in `order` of those with equal pixels."""
        leader = np.arange(len(self.contents))
        if self.by_sketches is None:
            return leader
        # Only contents with a nearly equal sketch and the same size can be equal: the others need no digest.
        near = self.by_sketches.has_partner(_SAME)
        sizes = {n: self.signatures.facts[n].size for n in order[near[order]].tolist() if n in self.signatures.facts}
        count = Counter(sizes.values())
        suspects = [n for n, size in sizes.items() if count[size] > 1]
        with self.console.progress(len(suspects), doing="exact pixels") as advance:
            pixels = self.signatures.pixels(suspects, advance)
        first: dict[str, int] = {}
        for number in suspects:
            if number in pixels:
                head = first.setdefault(pixels[number], number)
                if not self.marked_different(head, number):
                    leader[number] = head
        self._exact_leader = leader.copy()
        return leader

    def _free_candidates(self, number: int, leader: Indices) -> Indices:
        """Return the candidates of a content that are leaders themselves."""
        if self.by_sketches is None:
            return np.zeros(0, np.int64)
        partners = self.by_sketches.partners(number)
        return np.asarray(partners[leader[partners] == partners], np.int64)

    def _verify(self, number: int, others: Indices) -> npt.NDArray[np.bool_]:
        self._compare_with(number, others)
        return np.array([self.is_near(number, other) for other in others.tolist()], bool)

    def _compare_with(self, number: int, others: Indices) -> None:
        """Compare a content with some others in one batch."""
        pairs = ((number, other) for other in others.tolist())
        self.signatures.compare_all(pair for pair in pairs if not self.marked_different(*pair))

    def is_near(self, first: int, second: int) -> bool:
        """Return whether two contents are *near* and the user has not marked them as different."""
        if self.marked_different(first, second):
            return False
        likeness = self.likeness(first, second)
        return likeness is not None and likeness.same

    def marked_different(self, first: int, second: int) -> bool:
        """Return whether the user has marked two contents as different, on the page of an earlier run."""
        return self.decisions.tells_apart(self.contents[first].digest, self.contents[second].digest)

    def _order_by_detail(self, leader: Indices, order: Indices, exact: Indices) -> Indices:
        """Return the contents of `order`, each group sorted again by real detail at full size.

        An enlarged or bordered copy has more pixels and no more detail, so the original must come before it.

        Args:
            leader: (n,) leader of each content at the level *near*.
            order: Contents with candidates, the best to keep first.
            exact: (n,) leader of each content at the level *exact*; its pixels stand for those of all that it leads.
        """
        members: dict[int, list[int]] = {}
        for number in order.tolist():
            members.setdefault(int(leader[number]), []).append(number)
        groups = [numbers for numbers in members.values() if len(numbers) > 1]
        leaders = [[number for number in numbers if exact[number] == number] for numbers in groups]
        compared = [number for numbers in leaders if len(numbers) > 1 for number in numbers[:_MOST_DETAILS]]
        with self.console.progress(len(compared), doing="detail") as advance:
            details = dict(zip(compared, self.signatures.details(compared, advance), strict=True))
        for numbers, of_group in zip(groups, leaders, strict=True):
            self._compare_detail(of_group, details)
            known = [number for number in numbers if int(exact[number]) in self._detail]
            self._detail.update((number, self._detail[int(exact[number])]) for number in known)
        for numbers in groups:
            numbers[:] = [numbers[i] for i in rank([self.facts(n, self.best(n)) for n in numbers], self.rules)]
        return np.array([number for numbers in members.values() for number in numbers], np.int64)

    @staticmethod
    def _leads_first(order: Indices, leader: Indices) -> bool:
        """Return whether the leader of each group comes first of its group in `order`."""
        groups, firsts = np.unique(leader[order], return_index=True)
        return bool((order[firsts] == groups).all())

    def _compare_detail(self, numbers: list[int], computed: dict[int, Detail | None]) -> None:
        """Set `_detail` of the contents of one group; those after the first 128 get the worst values of these."""
        compared = numbers[:_MOST_DETAILS]
        details = [detail for detail in map(computed.get, compared) if detail is not None]
        if not 1 < len(details) == len(compared):
            return
        losses = detail_losses(details)
        found = list(zip(losses, distances_from_typical(details, losses), strict=True))
        found += [max(found)] * (len(numbers) - len(found))
        self._detail.update(zip(numbers, found, strict=True))

    def _edited(self, heads: Indices, leader: Indices) -> Indices:
        """Join each group as a whole to a leader from which its own leader differs in one place."""
        order = np.argsort(leader, kind="stable")
        starts = np.searchsorted(leader[order], np.arange(len(leader) + 1))

        def candidates(number: int) -> Indices:
            members = order[starts[number] : starts[number + 1]][:_MOST_COMPARED]
            partners = [self._free_candidates(member, everyone) for member in members.tolist()]
            leaders = leader[np.concatenate([np.zeros(0, np.int64), *partners])]
            _, firsts = np.unique(leaders, return_index=True)
            leaders = leaders[np.sort(firsts)]
            return np.asarray(leaders[leaders != number], np.int64)

        def verify(number: int, others: Indices) -> npt.NDArray[np.bool_]:
            self._compare_with(number, others)
            return np.array([self._is_edited(number, other) for other in others.tolist()], bool)

        everyone = np.arange(len(leader))
        search = Search(_PATIENCE, everyone, self.signatures.compare_all)
        with self.console.progress(len(heads), doing="edits") as advance:
            grouping = group(heads, len(leader), candidates, verify, search, advance=advance)
        self.not_compared += grouping.not_compared
        return grouping.leader[leader]

    def _is_edited(self, first: int, second: int) -> bool:
        likeness = None if self.marked_different(first, second) else self.likeness(first, second)
        return likeness is not None and likeness.verdict != "other"

    def _similar(self, heads: Indices, leader: Indices) -> Indices:
        """Join each group as a whole to a leader to which all of its contents are similar."""
        index, vectors = self.by_vectors, self.vectors
        if index is None or vectors is None:
            return leader
        order = np.argsort(leader, kind="stable")
        starts = np.searchsorted(leader[order], np.arange(len(leader) + 1))

        def candidates(number: int) -> Indices:
            partners = index.partners(number, self.thresholds.similar)
            return np.asarray(partners[leader[partners] == partners], np.int64)

        def verify(number: int, others: Indices) -> npt.NDArray[np.bool_]:
            return np.array([all_similar(number, order[starts[other] : starts[other + 1]]) for other in others], bool)

        def all_similar(number: int, members: Indices) -> bool:
            near = vectors[members] @ vectors[number] >= self.thresholds.similar
            return bool(near.all()) and not any(self.marked_different(number, member) for member in members.tolist())

        return group(heads, len(leader), candidates, verify).leader[leader]

    def member(self, head: int, number: int) -> GroupMember:
        """Return a content as a member of the group that `head` leads, with its level."""
        if self._exact_leader is not None and self._exact_leader[number] == self._exact_leader[head]:
            return GroupMember(number, "exact", self.likeness(head, number))
        likeness = self.likeness(head, number)
        if likeness and likeness.same:
            return GroupMember(number, "near", likeness)
        joined = self._edited_leader is not None and self._edited_leader[number] == head
        edited = joined or (likeness is not None and likeness.verdict == "edited")
        return GroupMember(number, "edited" if edited else "similar", likeness)

    def _group(self, head: int, numbers: Sequence[int]) -> Group:
        others = [number for number in numbers if number != head]
        members = [
            replace(self.member(head, number), closer_leaders=self._closer_leaders(head, number)) for number in others
        ]
        return Group(head, tuple(sorted(members, key=lambda member: self._position.get(member.number, 0))))

    def _closer_leaders(self, head: int, number: int) -> tuple[int, ...]:
        heads = [int(leader[number]) for leader in (self._near_leader, self._exact_leader) if leader is not None]
        return tuple(dict.fromkeys(other for other in heads if other not in {head, number}))
