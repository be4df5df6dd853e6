"""Which file of a group is kept: ordered rules, the first that tells two files apart decides."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from clipcli.errors import UsageError
from clipcli.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Key: TypeAlias = "tuple[int | str, ...]"


@dataclass(frozen=True)
class FileFacts:
    """What rules may ask about a file."""

    path: str
    """Absolute."""
    pixels: int
    """Width × height; 0 when unknown."""
    size: int
    """Bytes."""
    mtime_ns: int
    format: str = ""
    """Pillow's name of it, in lower case."""
    protected: bool = False
    coloured: bool = False
    """Whether there is any colour in it."""


@dataclass(frozen=True)
class Rule:
    """One preference. `key` is smallest for the file to keep."""

    name: str
    why: str
    """How a row says that this rule decided."""
    key: Callable[[FileFacts], int]


def _depth(facts: FileFacts) -> int:
    return len(os.fsencode(facts.path))


_SIMPLE: Final = (
    Rule("largest", "most pixels", lambda facts: -facts.pixels),
    Rule("smallest", "fewest pixels", lambda facts: facts.pixels),
    Rule("coloured", "in colour", lambda facts: not facts.coloured),
    Rule("heaviest", "most bytes", lambda facts: -facts.size),
    Rule("lightest", "fewest bytes", lambda facts: facts.size),
    Rule("oldest", "oldest", lambda facts: facts.mtime_ns),
    Rule("newest", "newest", lambda facts: -facts.mtime_ns),
    Rule("shortest-path", "shortest path", _depth),
    Rule("longest-path", "longest path", lambda facts: -_depth(facts)),
)
_NAMED: Final = {rule.name: rule for rule in _SIMPLE}
_PROTECTED: Final = Rule("protected", "protected", lambda facts: not facts.protected)
_DEFAULT: Final = tuple(_NAMED[name] for name in ("largest", "coloured", "heaviest", "oldest"))
"""Bytes know nothing of colour: a grey PNG is heavier than the colour JPEG that it was made from."""
KNOWN: Final = (*_NAMED, "in:DIR", "format:NAME")


def parse_rules(text: str | None) -> tuple[Rule, ...]:
    """`largest,oldest,in:DIR,…` → rules in their order; protected files come before any, the defaults after all.

    Raises:
        UsageError: a rule that does not exist.
    """
    asked = [_parse(word.strip()) for word in text.split(",")] if text else []
    return (_PROTECTED, *asked, *_DEFAULT)


def rank(files: Sequence[FileFacts], rules: Sequence[Rule]) -> list[int]:
    """Numbers of the files, the one to keep first; files that no rule tells apart go by path."""
    return sorted(range(len(files)), key=lambda index: _key(files[index], rules))


def reason(kept: FileFacts, others: Sequence[FileFacts], rules: Sequence[Rule]) -> str:
    """Why `kept` is kept: the rule that parts it from the one that came closest."""
    if not others:
        return ""
    second = min(others, key=lambda facts: _key(facts, rules))
    return next((rule.why for rule in rules if rule.key(kept) != rule.key(second)), "first by path")


def is_inside(path: str, folder: str) -> bool:
    """Whether an absolute path lies in an absolute folder, or is it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _key(facts: FileFacts, rules: Sequence[Rule]) -> _Key:
    return (*(rule.key(facts) for rule in rules), facts.path)


def _parse(word: str) -> Rule:
    name, _, value = word.partition(":")
    if name == "in" and value:
        folder = os.path.realpath(value)  # as the paths of files are
        return Rule(word, f"in {value}", lambda facts: not is_inside(facts.path, folder))
    if name == "format" and value:
        wanted = {"jpg": "jpeg", "tif": "tiff"}.get(value.lower(), value.lower())
        return Rule(word, wanted, lambda facts: facts.format != wanted)
    if word in _NAMED:
        return _NAMED[word]
    raise UsageError(f"no rule {word!r} for --keep", hint=did_you_mean(word, KNOWN) or "one of " + ", ".join(KNOWN))
