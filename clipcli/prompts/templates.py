"""Templates, texts with `{}` for the label: check and fill them, and read them from text and JSON files.

JSON files have CLIP_benchmark's format: templates, or prompts per label, of one or several data sets. CuPL ("customized
prompts via language models", arXiv:2209.03320) publishes the second form: whole sentences about each label.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from clipcli.errors import did_you_mean
from clipcli.inputs.text_files import Fault, Faults, content_lines, escape, plain, quoted, tidy, unusable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


PLACEHOLDER = "{}"
"""The placeholder of the label; `{c}`, as in CLIP_benchmark, means the same."""

_BRACES = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
"""Literal braces, fields and stray braces, as in `str.format`."""
_LOOKALIKE = re.compile(r"%s|<\w+>|\[\w+\]|\(\)|\$\w+")
"""Placeholders of other tools."""
_LITERAL_BRACES = {"{{": "{", "}}": "}"}
_MOST_SHOWN = 40
"""Most characters of a field that a message repeats."""


def fill(template: str, phrase: str) -> str:
    """Return the template with the phrase in each placeholder; `{{` and `}}` become braces."""
    return _BRACES.sub(lambda match: _LITERAL_BRACES.get(match[0], phrase), template)


def check_template(text: str, *, whole: bool = False) -> tuple[str, str] | None:
    """Return a template's problem and a hint, or None if it is good.

    Args:
        text: the template.
        whole: accept a text without placeholder: a prompt of a single label.
    """
    if problem := unusable(text):
        return f"{problem}: {quoted(text)}", ""
    fields = [match[0] for match in _BRACES.finditer(text) if match[0] not in _LITERAL_BRACES]
    for field in fields:
        if len(field) == 1:
            return f"a stray {field} in {quoted(text)}", f"{PLACEHOLDER} stands for the label, {field * 2} for a brace"
        if field not in (PLACEHOLDER, "{c}"):
            return (
                f"{field if len(field) <= _MOST_SHOWN else field[:_MOST_SHOWN] + '…'} in {quoted(text)}",
                f"write {PLACEHOLDER} for the label",
            )
    if fields or whole:
        return None
    lookalike = _LOOKALIKE.search(text)
    suggestion = (
        f"{PLACEHOLDER} instead of {lookalike[0]}"
        if lookalike
        else f"for example {quoted(text.rstrip('.') + ' ' + PLACEHOLDER)}"
    )
    return f"no {PLACEHOLDER} in {quoted(text)}", suggestion


def normal(text: str) -> str:
    """Return a valid template in normal form: tidy, with `{}` for `{c}`."""
    return _BRACES.sub(lambda match: PLACEHOLDER if match[0] == "{c}" else match[0], tidy(text))


def template_line(template: str) -> str:
    """Return the line of a template file that parses as this template."""
    return escape(template)


def parse_lines(text: str, source: str) -> tuple[tuple[str, ...], list[Fault]]:
    """Return the templates of a text file, one per line without duplicates, and all its faults."""
    faults = Faults(source)
    templates: dict[str, None] = {}
    for number, line in content_lines(text, faults):
        template = plain(line)
        if fault := check_template(template):
            faults.add(number, *fault)
        else:
            templates[normal(template)] = None
    if not templates and not faults.entries:
        faults.add(None, "holds no templates", f"one template per line, {PLACEHOLDER} for the label")
    return tuple(templates), faults.in_order()


def purpose(text: str) -> str:
    """Return the purpose of a template file: its first comment."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    return first.strip().lstrip("#").strip() if first.lstrip().startswith("#") else ""


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_JSON_SHAPE = "a list of templates, or an object from label to a list of its prompts"


class _JsonText(NamedTuple):
    """A string and the line it begins on."""

    text: str
    line: int


class _JsonList(NamedTuple):
    items: tuple[_JsonNode, ...]
    line: int


class _JsonObject(NamedTuple):
    pairs: tuple[tuple[_JsonText, _JsonNode], ...]
    line: int


class _JsonOther(NamedTuple):
    """A number, a boolean or null; `line` is the line of the string before it."""

    line: int


_JsonNode: TypeAlias = _JsonText | _JsonList | _JsonObject | _JsonOther


@dataclass(frozen=True)
class JsonPrompts:
    """The content of a file: templates for every label, or prompts per label. One of the two is empty."""

    templates: tuple[str, ...]
    per_label: Mapping[str, tuple[str, ...]]


def parse_json_prompts(text: str, source: str, key: str | None = None) -> tuple[JsonPrompts, list[Fault]]:
    """Return the prompts of a JSON file and all its faults.

    Args:
        text: the file's text.
        source: the file's name in messages.
        key: the data set to read from a file with several.
    """
    faults = Faults(source)
    reader = _JsonReader(faults)
    try:
        node = _with_lines(json.loads(text, object_pairs_hook=_JsonMembers), _StringLines(text))
    except json.JSONDecodeError as error:
        faults.add(error.lineno, f"not JSON: {error.msg.lower()} (column {error.colno})")
    except (ValueError, RecursionError):
        faults.add(None, "not a template file: numbers too long or nesting too deep", _JSON_SHAPE)
    else:
        return reader.read(node if key is None else reader.pick(node, key)), faults.in_order()
    return JsonPrompts((), {}), faults.entries


class _JsonMembers(list[tuple[str, object]]):
    """The members of an object in order, repeated keys included."""


class _StringLines:
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


def _with_lines(value: object, lines: _StringLines) -> _JsonNode:
    if isinstance(value, str):
        return _JsonText(value, lines.take())
    start = lines.last
    if isinstance(value, _JsonMembers):
        return _JsonObject(
            tuple((_JsonText(key, lines.take()), _with_lines(item, lines)) for key, item in value), start
        )
    if isinstance(value, list):
        return _JsonList(tuple(_with_lines(item, lines) for item in value), start)
    return _JsonOther(start)


class _JsonReader:
    """Turns a parsed file into prompts and collects the faults."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def pick(self, node: _JsonNode, key: str) -> _JsonNode:
        """Return the member of an object that holds one data set."""
        pairs = node.pairs if isinstance(node, _JsonObject) else ()
        for name, member in pairs:
            if name.text == key:
                return member
        names = [name.text for name, _ in pairs]
        has = f"it has {', '.join(map(quoted, names[:5]))}" if names else "it is not an object of data sets"
        hint = did_you_mean(key, names) or has
        self._faults.add(None, f"no data set {quoted(key)}", hint)
        return _JsonList((), 1)

    def read(self, node: _JsonNode) -> JsonPrompts:
        """Return the prompts of a list of templates or of an object of labels."""
        if isinstance(node, _JsonList):
            templates = self._texts(node, whole=False)
            if not templates and not self._faults.entries:
                self._faults.add(node.line, "holds no templates", _JSON_SHAPE)
            return JsonPrompts(templates, {})
        if isinstance(node, _JsonObject):
            return JsonPrompts((), self._per_label(node))
        self._faults.add(node.line, "not a template file", _JSON_SHAPE)
        return JsonPrompts((), {})

    def _per_label(self, node: _JsonObject) -> dict[str, tuple[str, ...]]:
        if any(isinstance(member, _JsonObject) for _, member in node.pairs):
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
            elif isinstance(member, _JsonList):
                prompts[label] = self._texts(member, whole=True)
                if not member.items:
                    self._faults.add(key.line, f"no prompts for {quoted(label)}")
            else:
                self._faults.add(key.line, f"the prompts of {quoted(label)} are not a list", _JSON_SHAPE)
        if not prompts and not self._faults.entries:
            self._faults.add(None, "holds no prompts", _JSON_SHAPE)
        return prompts

    def _texts(self, node: _JsonList, *, whole: bool) -> tuple[str, ...]:
        texts: dict[str, None] = {}
        for item in node.items:
            if not isinstance(item, _JsonText):
                self._faults.add(item.line, "an entry that is not a text", _JSON_SHAPE)
            elif not tidy(item.text):
                self._faults.add(item.line, "an empty prompt")
            elif problem := check_template(item.text, whole=whole):
                self._faults.add(item.line, *problem)
            else:
                texts[normal(item.text)] = None
        return tuple(texts)
