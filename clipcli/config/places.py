"""On which line of a TOML file a key stands: the parser of the standard library does not say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from clipcli.decode import DecodeError, parse_toml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Place = tuple[str, ...]
_HEADER = re.compile(r"\s*\[\[?(?P<name>[^\[\]]+)\]\]?\s*(#.*)?$")
_PAIR = re.compile(r"""\s*(?P<key>(?:"[^"]*"|'[^']*'|[\w.\s-])+?)\s*=""")
_FENCE = re.compile(r'"""|\'\'\'')


def lines_of(text: str) -> Mapping[Place, int]:
    """The line, from 1, on which each table and each key is first named; keys of inline tables are not found."""
    found: dict[Place, int] = {}
    table: Place = ()
    for number, line in _outside_strings(text):
        if header := _HEADER.match(line):
            table = named = _keys(header["name"])
        elif pair := _PAIR.match(line):
            named = (*table, *_keys(pair["key"]))
        else:
            continue
        for end in range(1, len(named) + 1):
            found.setdefault(named[:end], number)
    return found


def line_of(lines: Mapping[Place, int], place: Place) -> int | None:
    """The line of a place, or of the nearest thing around it that has one."""
    return next((lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in lines), None)


def _outside_strings(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines that do not start inside a string of several lines."""
    fence: str | None = None
    for number, line in enumerate(text.split("\n"), start=1):
        if fence is None:
            yield number, line
        for mark in _FENCE.findall(line):
            fence = mark if fence is None else None if mark == fence else fence


def _keys(written: str) -> Place:
    """The parts of a dotted key, quotes and escapes undone by the parser itself."""
    try:
        node: Any = parse_toml(f"{written} = 0")
    except DecodeError:
        return ()
    keys: list[str] = []
    while isinstance(node, dict) and node:
        key, node = next(iter(node.items()))
        keys.append(key)
    return tuple(keys)
