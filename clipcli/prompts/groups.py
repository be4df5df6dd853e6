"""Groups of labels whose probabilities are summed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.errors import LabelsError
from clipcli.spelling import GUESSES, did_you_mean
from clipcli.textfiles import Fault, Faults, content_lines, plain, quoted, read_text, refuse, shown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.prompts.labels import Label

_NAME_ENDS = re.compile(r":(?=\s|$)")


@dataclass(frozen=True)
class Group:
    """A name and the labels it gathers, in the order of the file."""

    name: str
    labels: tuple[str, ...]


def parse_groups(path: str, labels: Sequence[Label]) -> tuple[Group, ...]:
    """The groups of a file, one `group: label; label` a line; a group may go on in a later line.

    Labels that no group names are left out; what becomes of them is the caller's choice.

    Raises:
        LabelsError: an unreadable file, a line without `group:`, an unknown label (the nearest are named), a label in
            two groups (its probability would count twice), or a group called like a label that it does not hold.
    """
    text, faults = read_text(path), Faults(shown_name(path))
    if isinstance(text, Fault):
        refuse([text], LabelsError)
    reader = _Reader(frozenset(label.name for label in labels), faults)
    for number, line in content_lines(text, faults):
        reader.take(number, line)
    groups = reader.finish()
    if not groups and not faults.found:
        faults.add(None, "holds no groups", "group: label; label")
    if faults.found:
        refuse(faults.in_order(), LabelsError)
    return groups


class _Reader:
    """Collects groups line by line, and what is wrong with them."""

    def __init__(self, known: frozenset[str], faults: Faults) -> None:
        self._known = known
        self._faults = faults
        self._members: dict[str, list[str]] = {}
        self._group_lines: dict[str, int] = {}
        self._taken: dict[str, tuple[str, int]] = {}

    def take(self, number: int, line: str) -> None:
        """Read one line."""
        colon = _NAME_ENDS.search(line)
        name = plain(line[: colon.start()]) if colon else ""
        if colon is None or not name:
            self._faults.add(number, f"no group name: {quoted(plain(line))}", "group: label; label")
            return
        self._group_lines.setdefault(name, number)
        members = self._members.setdefault(name, [])
        for piece in line[colon.end() :].split(";"):
            label = plain(piece)
            if problem := self._problem(name, label, piece):
                self._faults.add(number, *problem)
            elif label not in self._taken:
                self._taken[label] = (name, number)
                members.append(label)

    def finish(self) -> tuple[Group, ...]:
        """The groups, once all lines are read."""
        for name, number in self._group_lines.items():
            if name in self._known and name not in self._members[name]:
                problem = f"the group {quoted(name)} is called like a label that it does not hold"
                self._faults.add(number, problem, "give the group another name")
        return tuple(Group(name, tuple(members)) for name, members in self._members.items())

    def _problem(self, group: str, label: str, piece: str) -> tuple[str, str] | None:
        if not label:
            return f"an empty label in the group {quoted(group)}", "group: label; label"
        if label not in self._known:
            apart = [plain(part) for part in piece.split(",")]
            commas = len(apart) > 1 and self._known.issuperset(apart)
            guess = did_you_mean(label, self._known) if len(self._faults.found) < GUESSES else ""
            return f"unknown label {quoted(label)}", "separate labels by ;" if commas else guess
        owner, line = self._taken.get(label, (group, 0))
        if owner != group:
            return f"{quoted(label)} is in the group {quoted(owner)} (line {line})", "a label belongs to one group"
        return None
