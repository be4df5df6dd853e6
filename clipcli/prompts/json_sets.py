"""Read template files in CLIP_benchmark's JSON format: templates, or prompts per label, of one or several data sets.

CuPL ("customized prompts via language models", arXiv:2209.03320) publishes the second form: whole sentences about each
label.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from clipcli.errors import did_you_mean
from clipcli.inputs.text_files import Fault, Faults, quoted, tidy
from clipcli.prompts.templates import check_template, normal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SHAPE = "a list of templates, or an object from label to a list of its prompts"


@dataclass(frozen=True)
class _Text:
    """A string and the line it begins on."""

    text: str
    line: int


@dataclass(frozen=True)
class _List:
    items: tuple[_Node, ...]
    line: int


@dataclass(frozen=True)
class _Object:
    pairs: tuple[tuple[_Text, _Node], ...]
    line: int


@dataclass(frozen=True)
class _Other:
    """A number, a boolean or null; `line` is the line of the string before it."""

    line: int


_Node: TypeAlias = _Text | _List | _Object | _Other


@dataclass(frozen=True)
class JsonPrompts:
    """The content of a file: templates for every label, or prompts per label. One of the two is empty."""

    templates: tuple[str, ...]
    per_label: Mapping[str, tuple[str, ...]]


def parse_json(text: str, source: str, key: str | None = None) -> tuple[JsonPrompts, list[Fault]]:
    """Return the prompts of a JSON file and all its faults.

    Args:
        text: the file's text.
        source: the file's name in messages.
        key: the data set to read from a file with several.
    """
    faults = Faults(source)
    reader = _Reader(faults)
    try:
        node = _with_lines(json.loads(text, object_pairs_hook=_Pairs), _Lines(text))
    except json.JSONDecodeError as error:
        faults.add(error.lineno, f"not JSON: {error.msg.lower()} (column {error.colno})")
    except (ValueError, RecursionError):
        faults.add(None, "not a template file: numbers too long or nesting too deep", _SHAPE)
    else:
        return reader.read(node if key is None else reader.pick(node, key)), faults.in_order()
    return JsonPrompts((), {}), faults.found


class _Pairs(list[tuple[str, object]]):
    """The members of an object in order, repeated keys included."""


class _Lines:
    """The line of each string of a valid JSON text, in order; `json` does not keep lines."""

    def __init__(self, text: str) -> None:
        self.last = 1
        self._lines = self._scan(text)

    def take(self) -> int:
        """Return the line of the next string."""
        self.last = next(self._lines)
        return self.last

    @staticmethod
    def _scan(text: str) -> Iterator[int]:
        line = 1
        starts = (match.start() for match in _STRING.finditer(text))
        for before, start in pairwise((0, *starts)):
            line += text.count("\n", before, start)
            yield line


def _with_lines(value: object, lines: _Lines) -> _Node:
    if isinstance(value, str):
        return _Text(value, lines.take())
    start = lines.last
    if isinstance(value, _Pairs):
        return _Object(tuple((_Text(key, lines.take()), _with_lines(item, lines)) for key, item in value), start)
    if isinstance(value, list):
        return _List(tuple(_with_lines(item, lines) for item in value), start)
    return _Other(start)


class _Reader:
    """Turns a parsed file into prompts and collects the faults."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def pick(self, node: _Node, key: str) -> _Node:
        """Return the member of an object that holds one data set."""
        pairs = node.pairs if isinstance(node, _Object) else ()
        for name, member in pairs:
            if name.text == key:
                return member
        names = [name.text for name, _ in pairs]
        has = f"it has {', '.join(map(quoted, names[:5]))}" if names else "it is not an object of data sets"
        hint = did_you_mean(key, names) or has
        self._faults.add(None, f"no data set {quoted(key)}", hint)
        return _List((), 1)

    def read(self, node: _Node) -> JsonPrompts:
        """Return the prompts of a list of templates or of an object of labels."""
        if isinstance(node, _List):
            templates = self._texts(node, whole=False)
            if not templates and not self._faults.found:
                self._faults.add(node.line, "holds no templates", _SHAPE)
            return JsonPrompts(templates, {})
        if isinstance(node, _Object):
            return JsonPrompts((), self._per_label(node))
        self._faults.add(node.line, "not a template file", _SHAPE)
        return JsonPrompts((), {})

    def _per_label(self, node: _Object) -> dict[str, tuple[str, ...]]:
        if any(isinstance(member, _Object) for _, member in node.pairs):
            first = node.pairs[0][0].text
            self._faults.add(
                node.pairs[0][0].line, "holds several data sets", f"name one: {self._faults.source}#{first}"
            )
            return {}
        prompts: dict[str, tuple[str, ...]] = {}
        for key, member in node.pairs:
            label = tidy(key.text)
            if not label:
                self._faults.add(key.line, "an empty label")
            elif label in prompts:
                self._faults.add(key.line, f"{quoted(label)} occurs twice", "give one list per label")
            elif isinstance(member, _List):
                prompts[label] = self._texts(member, whole=True)
                if not member.items:
                    self._faults.add(key.line, f"no prompts for {quoted(label)}")
            else:
                self._faults.add(key.line, f"the prompts of {quoted(label)} are not a list", _SHAPE)
        if not prompts and not self._faults.found:
            self._faults.add(None, "holds no prompts", _SHAPE)
        return prompts

    def _texts(self, node: _List, *, whole: bool) -> tuple[str, ...]:
        texts: dict[str, None] = {}
        for item in node.items:
            if not isinstance(item, _Text):
                self._faults.add(item.line, "an entry that is not a text", _SHAPE)
            elif not tidy(item.text):
                self._faults.add(item.line, "an empty prompt")
            elif problem := check_template(item.text, whole=whole):
                self._faults.add(item.line, *problem)
            else:
                texts[normal(item.text)] = None
        return tuple(texts)
