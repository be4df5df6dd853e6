"""Parse labels from the command line, from files and from named sets."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from clipcli.errors import MOST_SUGGESTIONS, LabelsError, UsageError, did_you_mean
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

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_NAME_ENDS = re.compile(r":(?=\s|$)")


@dataclass(frozen=True)
class LabelGroup:
    """A named group of labels, in the order of the file."""

    name: str
    labels: tuple[str, ...]


def parse_groups(path: str, labels: Sequence[Label] | None = None) -> tuple[LabelGroup, ...]:
    """Return the groups of a file with one `group: label; label` per line; a group may continue on a later line.

    Labels without a group are left out; the caller decides what to do with them. Without `labels`, every label of the
    file is accepted, and `labels_of` returns them.

    Raises:
        LabelsError: an unreadable file, a line without `group:`, an unknown label (the nearest are named), a label in
            two groups (its probability would count twice), or a group with the name of a label that is not in it.
    """
    text, faults = read_text(path), Faults(shown_name(path))
    if isinstance(text, Fault):
        refuse([text], LabelsError)
    reader = _GroupReader(None if labels is None else frozenset(label.name for label in labels), faults)
    for number, line in content_lines(text, faults):
        reader.take(number, line)
    groups = reader.finish()
    if not groups and not faults.entries:
        faults.add(None, "holds no groups", "group: label; label")
    if faults.entries:
        refuse(faults.in_order(), LabelsError)
    return groups


def labels_of(groups: Sequence[LabelGroup]) -> tuple[Label, ...]:
    """Return the labels of groups, in the order of the file."""
    return tuple(Label(name, (spoken(name),)) for group in groups for name in group.labels)


class _GroupReader:
    """Collects groups and their faults line by line."""

    def __init__(self, known: frozenset[str] | None, faults: Faults) -> None:
        self._known = known
        self._faults = faults
        self._members: dict[str, list[str]] = {}
        self._group_lines: dict[str, int] = {}
        self._owners: dict[str, tuple[str, int]] = {}

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
            elif label not in self._owners:
                self._owners[label] = (name, number)
                members.append(label)

    def finish(self) -> tuple[LabelGroup, ...]:
        """Return the groups after all lines have been read."""
        known = self._owners.keys() if self._known is None else self._known
        for name, number in self._group_lines.items():
            if name in known and name not in self._members[name]:
                problem = f"the group {quoted(name)} has the name of a label that is not in it"
                self._faults.add(number, problem, "give the group another name")
        return tuple(LabelGroup(name, tuple(members)) for name, members in self._members.items())

    def _problem(self, group: str, label: str, piece: str) -> tuple[str, str] | None:
        if not label:
            return f"an empty label in the group {quoted(group)}", "group: label; label"
        if self._known is not None and label not in self._known:
            apart = [plain(part) for part in piece.split(",")]
            commas = len(apart) > 1 and self._known.issuperset(apart)
            guess = did_you_mean(label, self._known) if len(self._faults.entries) < MOST_SUGGESTIONS else ""
            return f"unknown label {quoted(label)}", "separate labels by ;" if commas else guess
        owner, line = self._owners.get(label, (group, 0))
        if owner != group:
            return f"{quoted(label)} is in the group {quoted(owner)} (line {line})", "a label belongs to one group"
        return None


@cache
def _imagenet_classes() -> tuple[tuple[str, str], ...]:
    """Return WordNet id and name of each class of ImageNet, in the order of the classes."""
    text = Path(__file__).with_name("imagenet_classes.tsv").read_text("utf-8")
    pairs = (line.partition("\t") for line in text.splitlines() if not line.startswith("#"))
    return tuple((wordnet_id, name) for wordnet_id, _, name in pairs)


def imagenet_class_names() -> tuple[str, ...]:
    """Return the 1,000 class names of ImageNet, in the order of the classes; two names occur twice."""
    return tuple(name for _, name in _imagenet_classes())


def imagenet_labels() -> Mapping[str, str]:
    """Return 1,000 distinct labels of ImageNet, in the order of the classes, each with its class name.

    A name that occurs twice gets the class index, from 0: `missile (657)` and `missile (744)`.
    """
    names = imagenet_class_names()
    times = Counter(names)
    return {name if times[name] == 1 else f"{name} ({index})": name for index, name in enumerate(names)}


@cache
def wordnet_labels() -> Mapping[str, str]:
    """Return WordNet id → label, such as `n01440764` → `tench`."""
    return dict(zip((wordnet_id for wordnet_id, _ in _imagenet_classes()), imagenet_labels(), strict=True))


NAMED_SETS = {"imagenet": imagenet_labels}
"""The sets of labels for `-l @NAME`."""

_SEPARATORS = r":(?=\s|$)|;"
_ARGUMENT = "-l"


@dataclass(frozen=True)
class Label:
    """A class that a picture can be assigned to."""

    name: str
    """Its name in rows: tidy (`clipcli.inputs.text_files.tidy`), not empty."""
    phrases: tuple[str, ...]
    """The texts that fill templates: those of the label file, or the name as words (`spoken`)."""


class _LabelLine(NamedTuple):
    """A label and the line it was read from."""

    label: Label
    source: str
    line: int | None

    @property
    def position(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


def spoken(name: str) -> str:
    """Return a label's name as words: `red_car` becomes `red car`, `t-shirt` stays as it is."""
    return tidy(name.replace("_", " ")) or name


def parse_labels(comma_lists: Sequence[str], label_files: Sequence[str]) -> tuple[Label, ...]:
    r"""Return all labels in the order given, those of the command line first.

    A label given twice with the same phrases counts once: a second copy would take half of its probability.

    Args:
        comma_lists: values of `-l`: names separated by commas, `@imagenet` for a named set, `\,` for a comma.
        label_files: files, or `-` for stdin, with one `name` or `name: phrase; phrase` per line.

    Raises:
        UsageError: neither lists nor files were given.
        LabelsError: an empty label, a faulty line, a name given twice with different phrases, an unknown set, an
            unreadable file, or no label at all.
    """
    if not comma_lists and not label_files:
        raise UsageError("no labels given", hint="-l cat,dog or --labels-file FILE, one label per line")
    labels, faults = check_labels(comma_lists, label_files)
    if faults:
        refuse(faults, LabelsError)
    return labels


def check_labels(comma_lists: Sequence[str], label_files: Sequence[str]) -> tuple[tuple[Label, ...], list[Fault]]:
    """Return the usable labels and all faults of the files.

    Raises:
        LabelsError: a fault in `comma_lists`.
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
    """Return the line of a label file that parses as this label."""
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
    if not items and not faults.entries:
        faults.add(None, "holds no labels", "one label per line")
    return items, faults.in_order()


def _parse_line(line: str) -> Label | tuple[str, str]:
    """Return a label, or the problem and a hint."""
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
            problem = f"{quoted(item.label.name)} has other phrases than at {earlier.position}"
            faults.append(Fault(item.source, item.line, problem, "one line with all phrases, or two different names"))
    return tuple(item.label for item in first.values()), faults
