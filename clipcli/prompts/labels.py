"""Labels: from the command line, from files, and from named sets."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.core.suggest import GUESSES, did_you_mean
from clipcli.errors import LabelsError, UsageError
from clipcli.inputs.text_files import (
    Fault,
    Faults,
    content_lines,
    escape,
    plain,
    protect,
    quoted,
    read_text,
    refuse,
    shown_name,
    tidy,
    unusable,
)
from clipcli.prompts import shipped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NAME_ENDS = re.compile(r":(?=\s|$)")


@dataclass(frozen=True)
class LabelGroup:
    """A name and the labels it gathers, in the order of the file."""

    name: str
    labels: tuple[str, ...]


def parse_groups(path: str, labels: Sequence[Label] | None = None) -> tuple[LabelGroup, ...]:
    """Return the groups of a file, one `group: label; label` a line; a group may go on in a later line.

    Labels that no group names are left out; what becomes of them is the caller's choice. Without `labels` every label
    is known: `labels_of` makes them of the groups.

    Raises:
        LabelsError: an unreadable file, a line without `group:`, an unknown label (the nearest are named), a label in
            two groups (its probability would count twice), or a group called like a label that it does not hold.
    """
    text, faults = read_text(path), Faults(shown_name(path))
    if isinstance(text, Fault):
        refuse([text], LabelsError)
    reader = _Reader(None if labels is None else frozenset(label.name for label in labels), faults)
    for number, line in content_lines(text, faults):
        reader.take(number, line)
    groups = reader.finish()
    if not groups and not faults.found:
        faults.add(None, "holds no groups", "group: label; label")
    if faults.found:
        refuse(faults.in_order(), LabelsError)
    return groups


def labels_of(groups: Sequence[LabelGroup]) -> tuple[Label, ...]:
    """Return the labels of groups, in the order of the file."""
    return tuple(Label(name, (spoken(name),)) for group in groups for name in group.labels)


class _Reader:
    """Collects groups line by line, and what is wrong with them."""

    def __init__(self, known: frozenset[str] | None, faults: Faults) -> None:
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

    def finish(self) -> tuple[LabelGroup, ...]:
        """Return the groups, once all lines are read."""
        known = self._taken.keys() if self._known is None else self._known
        for name, number in self._group_lines.items():
            if name in known and name not in self._members[name]:
                problem = f"the group {quoted(name)} is called like a label that it does not hold"
                self._faults.add(number, problem, "give the group another name")
        return tuple(LabelGroup(name, tuple(members)) for name, members in self._members.items())

    def _problem(self, group: str, label: str, piece: str) -> tuple[str, str] | None:
        if not label:
            return f"an empty label in the group {quoted(group)}", "group: label; label"
        if self._known is not None and label not in self._known:
            apart = [plain(part) for part in piece.split(",")]
            commas = len(apart) > 1 and self._known.issuperset(apart)
            guess = did_you_mean(label, self._known) if len(self._faults.found) < GUESSES else ""
            return f"unknown label {quoted(label)}", "separate labels by ;" if commas else guess
        owner, line = self._taken.get(label, (group, 0))
        if owner != group:
            return f"{quoted(label)} is in the group {quoted(owner)} (line {line})", "a label belongs to one group"
        return None


NAMED_SETS = {"imagenet": shipped.labels}
"""Labels that `-l @NAME` stands for."""

_SEPARATORS = r":(?=\s|$)|;"
_ARGUMENT = "-l"


@dataclass(frozen=True)
class Label:
    """One answer that a picture can get."""

    name: str
    """What rows call it: tidy (`clipcli.inputs.text_files.tidy`), not empty."""
    phrases: tuple[str, ...]
    """What is put into templates; the name, spoken (`spoken`), unless a file says otherwise."""


@dataclass(frozen=True)
class _LabelLine:
    """A label and the place it was read from."""

    label: Label
    source: str
    line: int | None

    @property
    def place(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


def spoken(name: str) -> str:
    """Return the text that stands for a name: `red_car` is a red car, a `t-shirt` stays a t-shirt."""
    return tidy(name.replace("_", " ")) or name


def parse_labels(comma_lists: Sequence[str], label_files: Sequence[str]) -> tuple[Label, ...]:
    r"""Return all labels in the order given, those of the command line first.

    A label given twice with the same phrases counts once: a second copy would take half of its probability.

    Args:
        comma_lists: what `-l` was given: names separated by commas, `@imagenet` for a named set, `\,` for a comma.
        label_files: files, or `-` for stdin; one `name` or `name: phrase; phrase` a line.

    Raises:
        UsageError: nothing was given at all.
        LabelsError: an empty label, a faulty line, a name given twice with different phrases, an unknown set, an
            unreadable file, or no label anywhere.
    """
    if not comma_lists and not label_files:
        raise UsageError("no labels given", hint="-l cat,dog or --labels-file FILE, one label per line")
    labels, faults = check_labels(comma_lists, label_files)
    if faults:
        refuse(faults, LabelsError)
    return labels


def check_labels(comma_lists: Sequence[str], label_files: Sequence[str]) -> tuple[tuple[Label, ...], list[Fault]]:
    """Return the usable labels, and everything that is wrong with the files.

    Raises LabelsError for the command line's own.
    """
    items = [item for text in comma_lists for item in _from_argument(text)]
    faults: list[Fault] = []
    for path in label_files:
        in_file, wrong = _from_file(path)
        items += in_file
        faults += wrong
    labels, clashes = _merge(items)
    return labels, faults + clashes


def label_line(label: Label) -> str:
    """Return the line of a label file that reads back as this label."""
    name = escape(label.name, _SEPARATORS)
    if label.phrases == (spoken(label.name),):
        return name
    return f"{name}: " + "; ".join(escape(phrase, _SEPARATORS) for phrase in label.phrases)


def _from_argument(text: str) -> Iterator[_LabelLine]:
    if problem := unusable(text):
        raise LabelsError(f"{_ARGUMENT} {quoted(text)}: {problem}")
    for piece in protect(text).split(","):
        name = plain(piece)
        if not name:
            hint = "one comma between two labels, none at the end; a comma in a label is \\,"
            raise LabelsError(f"{_ARGUMENT} {quoted(text)}: an empty label", hint=hint)
        if piece.lstrip().startswith("@"):
            yield from _named_set(name.removeprefix("@"))
        else:
            yield _LabelLine(Label(name, (spoken(name),)), _ARGUMENT, None)


def _named_set(name: str) -> Iterator[_LabelLine]:
    if name not in NAMED_SETS:
        known = ", ".join(f"@{known}" for known in NAMED_SETS)
        hint = f"there is {known}"
        if os.path.isfile(name):  # noqa: PTH113 - never raises, whatever the name
            hint = f"labels of a file: --labels-file {name}"
        raise LabelsError(f"{_ARGUMENT} @{name}: no such label set", hint=f"{hint}; a label that starts with @ is \\@")
    for label, text in NAMED_SETS[name]().items():
        yield _LabelLine(Label(tidy(label), (tidy(text),)), f"@{name}", None)


def _from_file(path: str) -> tuple[list[_LabelLine], list[Fault]]:
    text, faults = read_text(path), Faults(shown_name(path))
    if isinstance(text, Fault):
        return [], [text]
    items: list[_LabelLine] = []
    for number, line in content_lines(text, faults):
        label = _parse_line(line)
        if isinstance(label, Label):
            items.append(_LabelLine(label, faults.source, number))
        else:
            faults.add(number, *label)
    if not items and not faults.found:
        faults.add(None, "holds no labels", "one label per line")
    return items, faults.in_order()


def _parse_line(line: str) -> Label | tuple[str, str]:
    """Return a label, or what is wrong and what to do."""
    colon = _NAME_ENDS.search(line)
    if colon is None:
        if ";" in line:
            hint = "name: phrase; phrase, or one label per line; a semicolon in a label is \\;"
            return f"phrases without a name: {quoted(plain(line))}", hint
        name = plain(line)
        return Label(name, (spoken(name),))
    name = plain(line[: colon.start()])
    phrases = tuple(plain(phrase) for phrase in line[colon.end() :].split(";"))
    if not name:
        return f"no name before the colon: {quoted(plain(line))}", "name: phrase; phrase"
    if not all(phrases):
        hint = "name: phrase; phrase, or the name alone; a colon at the end of a label is \\:"
        return f"an empty phrase for {quoted(name)}", hint
    return Label(name, tuple(dict.fromkeys(phrases)))


def _merge(items: Sequence[_LabelLine]) -> tuple[tuple[Label, ...], list[Fault]]:
    faults: list[Fault] = []
    first: dict[str, _LabelLine] = {}
    for item in items:
        earlier = first.setdefault(item.label.name, item)
        if earlier.label.phrases != item.label.phrases:
            problem = f"{quoted(item.label.name)} stands for other phrases than at {earlier.place}"
            faults.append(Fault(item.source, item.line, problem, "one line with all phrases, or two different names"))
    return tuple(item.label for item in first.values()), faults
