"""Groups → rows. In JSON Lines they are also a plan, so they say what each file was when it was looked at."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from clipcli.core.files import decimal_size
from clipcli.core.redaction import redact
from clipcli.plan.plan_file import PlanRow
from clipcli.runs.dedupe.image_files import is_same_file
from clipcli.tasks.dedupe.clusters import smallest_cosine
from clipcli.tasks.dedupe.keep import reason
from clipcli.tasks.dedupe.levels import LEVELS, includes
from clipcli.tasks.dedupe.likeness import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.runs.dedupe.groups import Group, Grouper, GroupMember
    from clipcli.runs.dedupe.image_files import ImageFile
    from clipcli.tasks.dedupe.levels import Level
    from clipcli.tasks.dedupe.likeness import Likeness


@dataclass(frozen=True)
class MemberEntry:
    """A file of a group before it is a row."""

    content: int
    file: ImageFile
    level: Level
    """What it is of the file that is kept for it; of the file that leads, the loosest of its group."""
    surest: Level
    """What it is of any file in its group."""
    likeness: Likeness | None = None
    kept: MemberEntry | None = None
    """The file that it was compared with; None for the one that leads."""


def entries(decider: Grouper, remove: Level, found: Group) -> list[MemberEntry]:
    """Return the file that leads, then the others: the surest level first, copies of a look-alike behind it."""
    keeper = decider.best(found.leader)
    first = MemberEntry(found.leader, keeper, "exact", "exact")
    others = [
        MemberEntry(found.leader, file, "exact", "exact", None, first)
        for file in _files(decider, found.leader, keeper, stays=True)
    ]
    staying: dict[int, MemberEntry] = {}
    for member in sorted(found.members, key=lambda one: len(one.surer or ())):
        others += _of_member(decider, remove, member, first, staying)
    others.sort(key=_place)
    return [replace(first, level=max((entry.level for entry in others), key=LEVELS.index, default="exact")), *others]


def _of_member(
    decider: Grouper, remove: Level, member: GroupMember, first: MemberEntry, staying: dict[int, MemberEntry]
) -> Iterator[MemberEntry]:
    surer = [(head, decider.member(head, member.number)) for head in member.surer or ()]
    surest = min((member.level, *(one.level for _, one in surer)), key=LEVELS.index)
    kept, fits = first, member
    if not includes(remove, member.level):
        offered = ((staying[head], one) for head, one in surer if head in staying and includes(remove, one.level))
        kept, fits = next(offered, (first, member))
    best = decider.best(member.number)
    entry = MemberEntry(member.number, best, fits.level, surest, fits.likeness, kept)
    if not best.reference:
        yield entry
    stays = not includes(remove, fits.level)
    if stays:
        staying[member.number] = entry
    for file in _files(decider, member.number, best, stays=stays):
        if stays and member.surer is not None:
            yield MemberEntry(member.number, file, "exact", "exact", None, entry)
        else:
            yield replace(entry, file=file, surest=surest if member.surer is None else "exact")


def _files(decider: Grouper, content: int, best: ImageFile, *, stays: bool) -> Sequence[ImageFile]:
    """Return the other files of a content; where the best of them stays, its further names are no copies.

    All names of a file that goes are there: its bytes are freed with the last of them. A reference is another matter:
    that it is the same file is what was to be found.
    """
    others = [file for file in decider.contents[content].files if not file.reference and file is not best]
    if not stays or best.reference or decider.has_references:
        return others
    return [file for file in others if not is_same_file(file, best)]


def _place(entry: MemberEntry) -> tuple[int, str, int, str]:
    kept = entry.kept
    if kept is None or kept.kept is None:
        return LEVELS.index(entry.level), entry.file.path, -1, ""
    return LEVELS.index(kept.level), kept.file.path, LEVELS.index(entry.level), entry.file.path


OWN_COLUMNS: Final = (
    "group", "image", "level", "keep", "similarity", "min_similarity", "reason", "distance", "structure", "width",
    "height", "turn", "plan", "path", "root", "keeper", "bytes", "mtime_ns", "device", "inode", "sha256", "protected",
    "distinct", "page", "error",
)  # fmt: skip
"""Names that a column of a table cannot have in the output."""
_DIGITS = 4
_JSON_DIGITS = 6


@dataclass(frozen=True)
class DuplicateRow:
    """A file in a group, and what it has to do with the file that is kept."""

    plan: PlanRow
    level: Level
    similarity: float | None
    """Cosine with the kept file; 1 for the same bytes, None without a model."""
    min_similarity: float | None
    """The smallest cosine between any two of the group."""
    width: int | None
    height: int | None
    reason: str
    """Why it is kept, or why it may go."""
    distance: int | None = None
    """Bits of 256 by which the hashes differ."""
    structure: float | None = None
    turn: int = 0
    surest: Level = "similar"
    """What it is of any file in its group: a copy of a look-alike is a copy."""
    leads: bool = False
    """It is the file that its group is kept for."""
    same_file: bool = False
    """It is the very file that it is beside, by the same or another name."""
    names: int = 1
    """Of the file on its disk, also outside of what was searched."""
    kept_image: str = ""
    """The file that it was compared with, as the user wrote it."""
    columns: ClassVar[tuple[str, ...]] = ("group", "image", "level", "keep", "similarity", "min_similarity")
    table_columns: ClassVar[tuple[str, ...]] = ("group", "image", "level", "keep", "size", "pixels", "reason")

    @property
    def group(self) -> int:
        """Number of the group, from 1."""
        return self.plan.group

    @property
    def image(self) -> str:
        """As the user wrote it."""
        return self.plan.image

    @property
    def copy_of(self) -> str | None:
        """In a list of groups: the file that stays for it; None for files that stay."""
        return None if self.plan.keep else self.kept_image

    @property
    def path(self) -> str | None:
        """In a list of bare paths: what may go."""
        return None if self.plan.keep else self.plan.image

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        row: dict[str, object] = {
            "group": self.plan.group, "image": self.plan.image, "level": self.level, "keep": self.plan.keep,
            "similarity": _rounded(self.similarity), "min_similarity": _rounded(self.min_similarity),
            "reason": self.reason, "distance": self.distance, "structure": _rounded(self.structure),
            "width": self.width, "height": self.height,
        }  # fmt: skip
        if self.turn:
            row["turn"] = NAMES[self.turn]
        return {**row, **self.plan.record()}

    def cells(self) -> list[tuple[str, ...]]:
        """One line."""
        numbers = ("" if n is None else f"{n:.{_DIGITS}f}" for n in (self.similarity, self.min_similarity))
        return [(str(self.group), self.plan.image, self.level, "yes" if self.plan.keep else "no", *numbers)]

    def table_cells(self) -> list[tuple[str, ...]]:
        """One line of a table for people."""
        keep, pixels = "yes" if self.plan.keep else "no", f"{self.width} × {self.height}" if self.width else ""
        return [(str(self.group), self.plan.image, self.level, keep, decimal_size(self.plan.size), pixels, self.reason)]


@dataclass(frozen=True)
class RowMaker:
    """Makes the rows of groups; `remove` is the loosest level whose files are marked to go."""

    decider: Grouper
    remove: Level
    page: str = ""
    """The page on which a person is to look at the plan."""

    def rows(self, number: int, found: Group) -> Iterator[DuplicateRow]:
        """Yield the kept file first, then the others, the surest level first."""
        some, smallest = entries(self.decider, self.remove, found), self._smallest_cosine(found)
        for entry in some:
            yield self._row(number, entry, smallest, self._reason(entry, some[1:]))

    def _row(self, group: int, entry: MemberEntry, smallest: float | None, why: str) -> DuplicateRow:
        file, likeness, kept = entry.file, entry.likeness, entry.kept or entry
        same_file = kept is not entry and is_same_file(file, kept.file)
        removed = kept is not entry and not file.protected and not same_file and includes(self.remove, entry.level)
        seen = self.decider.looker.facts.get(entry.content)
        plan = PlanRow(
            group, file.name, entry.level, not removed, redact(file.path), redact(file.root),
            redact(kept.file.path), file.state.size,
            file.state.mtime_ns, file.state.device, file.state.inode, self.decider.contents[entry.content].digest,
            protected=file.protected, page=self.page,
        )  # fmt: skip
        same = entry.content == kept.content
        return DuplicateRow(
            plan, entry.level, 1.0 if same else self.decider.cosine(kept.content, entry.content), smallest,
            seen.width if seen else None, seen.height if seen else None, why,
            likeness.distance if likeness else None, likeness.structure if likeness else None,
            likeness.turn if likeness else 0, entry.surest, kept is entry, same_file, file.state.names, kept.file.name,
        )  # fmt: skip

    def _reason(self, entry: MemberEntry, others: Sequence[MemberEntry]) -> str:
        if entry.kept is None:
            facts = [self.decider.facts(other.content, other.file) for other in others]
            return reason(self.decider.facts(entry.content, entry.file), facts, self.decider.rules)
        if is_same_file(entry.file, entry.kept.file):
            return "the same file"
        if entry.file.protected and not self.decider.has_references:
            return "protected"
        if entry.level == "exact":
            return "same bytes" if entry.content == entry.kept.content else "same pixels"
        return {"near": "same picture", "edited": "differs in one place"}.get(entry.level, "looks alike")

    def _smallest_cosine(self, found: Group) -> float | None:
        vectors = self.decider.vectors
        if vectors is None or not found.members:
            return None if found.members else 1.0
        numbers = np.array([found.leader, *(member.number for member in found.members)])
        if self.decider.by_vectors is not None:  # equal vectors are known there
            numbers = numbers[np.unique(self.decider.by_vectors.kind[numbers], return_index=True)[1]]
        return min(1.0, smallest_cosine(vectors[numbers]))


@dataclass
class Freed:
    """What removing files frees: the bytes of a file go with the last of its names (hard links), not before."""

    files: int = 0
    """Names that go."""
    bytes: int = 0
    further_names: int = 0
    """Rows of files that an earlier row was of too."""
    _removed: Counter[tuple[int, int]] = field(default_factory=Counter)
    _seen: set[tuple[int, int]] = field(default_factory=set)
    _whole: int = 0

    def add(self, row: DuplicateRow) -> None:
        """Take a row."""
        file = row.plan.device, row.plan.inode
        if row.plan.inode and not row.leads:
            self.further_names += file in self._seen
            self._seen.add(file)
        if row.plan.keep:
            return
        self.files += 1
        self._removed[file] += 1
        if self._removed[file] == row.names or not row.plan.inode:
            self.bytes += row.plan.size
            self._whole += 1

    @property
    def held(self) -> int:
        """Files that lose a name and stay under another one, so that nothing of them is freed."""
        return len(self._removed) - self._whole


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, _JSON_DIGITS)
