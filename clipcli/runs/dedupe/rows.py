"""Make the rows of groups. As JSON Lines they are a plan, so they also record the state of each file."""

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
    """A file of a group, from which its row is made."""

    content: int
    file: ImageFile
    level: Level
    """Level at which it matches `kept`; for the leader, the loosest level of its group."""
    closest_level: Level
    """Closest level at which it matches any file of its group."""
    likeness: Likeness | None = None
    kept: MemberEntry | None = None
    """The file that stays in its place, with which it was compared; None for the leader."""


def entries(grouper: Grouper, remove: Level, group: Group) -> list[MemberEntry]:
    """Return the leader, then the others: the closest level first, and copies of another member after that member."""
    keeper = grouper.best(group.leader)
    first = MemberEntry(group.leader, keeper, "exact", "exact")
    others = [
        MemberEntry(group.leader, file, "exact", "exact", None, first)
        for file in _files(grouper, group.leader, keeper, stays=True)
    ]
    staying: dict[int, MemberEntry] = {}
    for member in sorted(group.members, key=lambda member: len(member.closer_leaders or ())):
        others += _of_member(grouper, remove, member, first, staying)
    others.sort(key=_sort_key)
    return [replace(first, level=max((entry.level for entry in others), key=LEVELS.index, default="exact")), *others]


def _of_member(
    grouper: Grouper, remove: Level, member: GroupMember, first: MemberEntry, staying: dict[int, MemberEntry]
) -> Iterator[MemberEntry]:
    closer = [(head, grouper.member(head, member.number)) for head in member.closer_leaders or ()]
    closest_level = min((member.level, *(match.level for _, match in closer)), key=LEVELS.index)
    kept, fits = first, member
    if not includes(remove, member.level):
        # It would stay as a look-alike of the leader, but it may be a copy of another member that stays.
        closer = [(head, match) for head, match in closer if head in staying and includes(remove, match.level)]
        kept, fits = next(((staying[head], match) for head, match in closer), (first, member))
    best = grouper.best(member.number)
    entry = MemberEntry(member.number, best, fits.level, closest_level, fits.likeness, kept)
    if not best.reference:
        yield entry
    stays = not includes(remove, fits.level)
    if stays:
        staying[member.number] = entry
    for file in _files(grouper, member.number, best, stays=stays):
        if stays and member.closer_leaders is not None:
            yield MemberEntry(member.number, file, "exact", "exact", None, entry)
        else:
            yield replace(entry, file=file, closest_level=closest_level if member.closer_leaders is None else "exact")


def _files(grouper: Grouper, content: int, best: ImageFile, *, stays: bool) -> Sequence[ImageFile]:
    """Return the other files of a content, without other names (hard links) of the best file if that stays.

    If it is to be removed, all of its names are returned, since its bytes are freed with the last of them. Beside a
    reference, all are returned too: `--against` reports the same file on both sides.
    """
    others = [file for file in grouper.contents[content].files if not file.reference and file is not best]
    if not stays or best.reference or grouper.has_references:
        return others
    return [file for file in others if not is_same_file(file, best)]


def _sort_key(entry: MemberEntry) -> tuple[int, str, int, str]:
    kept = entry.kept
    if kept is None or kept.kept is None:
        return LEVELS.index(entry.level), entry.file.path, -1, ""
    return LEVELS.index(kept.level), kept.file.path, LEVELS.index(entry.level), entry.file.path


OWN_COLUMNS: Final = (
    "group", "image", "level", "keep", "similarity", "min_similarity", "reason", "distance", "structure", "width",
    "height", "turn", "plan", "path", "root", "keeper", "bytes", "mtime_ns", "device", "inode", "sha256", "protected",
    "distinct", "page", "error",
)  # fmt: skip
"""Column names of rows; a kept column of a table with one of these names is renamed."""
_DIGITS = 4
_JSON_DIGITS = 6


@dataclass(frozen=True)
class DuplicateRow:
    """A file of a group, and how it compares with the file that is kept."""

    plan: PlanRow
    level: Level
    similarity: float | None
    """Cosine with the kept file, 1 for equal bytes; None without a model."""
    min_similarity: float | None
    """The smallest cosine of any two files of the group; None without a model."""
    width: int | None
    height: int | None
    reason: str
    """Why it is kept, or why it may go."""
    distance: int | None = None
    """Number of different bits of the two 256-bit perceptual hashes."""
    structure: float | None = None
    turn: int = 0
    closest_level: Level = "similar"
    """Closest level at which it matches any file of its group: a copy of a look-alike counts as a copy."""
    leads: bool = False
    """Whether it is the leader of its group."""
    same_file: bool = False
    """Whether it is the same file on disk as the kept file, by the same or another name."""
    names: int = 1
    """Number of hard links of the file, also outside of the inputs."""
    kept_image: str = ""
    """The kept file, as the user wrote it."""
    columns: ClassVar[tuple[str, ...]] = ("group", "image", "level", "keep", "similarity", "min_similarity")
    table_columns: ClassVar[tuple[str, ...]] = ("group", "image", "level", "keep", "size", "pixels", "reason")

    @property
    def group(self) -> int:
        """Return the number of the group, from 1."""
        return self.plan.group

    @property
    def image(self) -> str:
        """Return the name as the user wrote it."""
        return self.plan.image

    @property
    def copy_of(self) -> str | None:
        """Return the kept file for `--format groups`; None for files that stay."""
        return None if self.plan.keep else self.kept_image

    @property
    def path(self) -> str | None:
        """Return the path for `--paths`; None for files that stay."""
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
        """Return one line of TSV or CSV."""
        numbers = ("" if n is None else f"{n:.{_DIGITS}f}" for n in (self.similarity, self.min_similarity))
        return [(str(self.group), self.plan.image, self.level, "yes" if self.plan.keep else "no", *numbers)]

    def table_cells(self) -> list[tuple[str, ...]]:
        """Return one line of the table for a terminal."""
        keep, pixels = "yes" if self.plan.keep else "no", f"{self.width} × {self.height}" if self.width else ""
        return [(str(self.group), self.plan.image, self.level, keep, decimal_size(self.plan.size), pixels, self.reason)]


@dataclass(frozen=True)
class RowMaker:
    """Makes the rows of groups; `remove` is the loosest level whose files are marked to go."""

    grouper: Grouper
    remove: Level
    page: str = ""
    """Path of the HTML page that was made for the plan; empty for none."""

    def rows(self, number: int, group: Group) -> Iterator[DuplicateRow]:
        """Yield the kept file, then the others, the closest level first."""
        members, smallest = entries(self.grouper, self.remove, group), self._smallest_cosine(group)
        for entry in members:
            yield self._row(number, entry, smallest, self._reason(entry, members[1:]))

    def _row(self, group: int, entry: MemberEntry, smallest: float | None, why: str) -> DuplicateRow:
        file, likeness, kept = entry.file, entry.likeness, entry.kept or entry
        same_file = kept is not entry and is_same_file(file, kept.file)
        removed = kept is not entry and not file.protected and not same_file and includes(self.remove, entry.level)
        facts = self.grouper.signatures.facts.get(entry.content)
        plan = PlanRow(
            group, file.name, entry.level, not removed, redact(file.path), redact(file.root),
            redact(kept.file.path), file.state.size,
            file.state.mtime_ns, file.state.device, file.state.inode, self.grouper.contents[entry.content].digest,
            protected=file.protected, page=self.page,
        )  # fmt: skip
        same = entry.content == kept.content
        return DuplicateRow(
            plan, entry.level, 1.0 if same else self.grouper.cosine(kept.content, entry.content), smallest,
            facts.width if facts else None, facts.height if facts else None, why,
            likeness.distance if likeness else None, likeness.structure if likeness else None,
            likeness.turn if likeness else 0, entry.closest_level, kept is entry, same_file, file.state.names,
            kept.file.name,
        )  # fmt: skip

    def _reason(self, entry: MemberEntry, others: Sequence[MemberEntry]) -> str:
        if entry.kept is None:
            facts = [self.grouper.facts(other.content, other.file) for other in others]
            return reason(self.grouper.facts(entry.content, entry.file), facts, self.grouper.rules)
        if is_same_file(entry.file, entry.kept.file):
            return "the same file"
        if entry.file.protected and not self.grouper.has_references:
            return "protected"
        if entry.level == "exact":
            return "same bytes" if entry.content == entry.kept.content else "same pixels"
        return {"near": "same picture", "edited": "differs in one place"}.get(entry.level, "looks alike")

    def _smallest_cosine(self, group: Group) -> float | None:
        vectors = self.grouper.vectors
        if vectors is None or not group.members:
            return None if group.members else 1.0
        numbers = np.array([group.leader, *(member.number for member in group.members)])
        if self.grouper.by_vectors is not None:  # one of several equal vectors is enough
            numbers = numbers[np.unique(self.grouper.by_vectors.kind[numbers], return_index=True)[1]]
        return min(1.0, smallest_cosine(vectors[numbers]))


@dataclass
class Freed:
    """Counts the files to remove and the bytes that this frees: a file is freed with the last of its hard links."""

    files: int = 0
    """Number of names to remove."""
    bytes: int = 0
    further_names: int = 0
    """Number of rows whose file already had a row under another name."""
    _removed: Counter[tuple[int, int]] = field(default_factory=Counter)
    _seen: set[tuple[int, int]] = field(default_factory=set)
    _whole: int = 0

    def add(self, row: DuplicateRow) -> None:
        """Count a row."""
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
        """Return the number of files that lose a name but stay under another one, so that nothing is freed."""
        return len(self._removed) - self._whole


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, _JSON_DIGITS)
