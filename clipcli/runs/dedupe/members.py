"""A group → its files, each beside the file that it is a copy of.

That is the file that leads the group, as a rule. A group of look-alikes may also hold copies of each other: then the
best of these stays, as all look-alikes do, and the others are copies of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clipcli.runs.dedupe.image_files import is_same_file
from clipcli.tasks.dedupe.levels import LEVELS, includes

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
