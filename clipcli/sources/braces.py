"""`shards/{00000..00099}.tar` and `{train,val}.tar`, as the shell and webdataset write them.

Patterns may come from a list that somebody else wrote, so they are found in one pass, and how many names one stands for
is counted before the first is made.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_NAMES: Final = 10_000_000
"""A pattern that stands for more is a mistake, or made to keep a machine busy."""
MOST_GROUPS: Final = 16
_MOST_DIGITS: Final = 18
_RANGE: Final = re.compile(r"(\d{1,18})\.\.(\d{1,18})", re.ASCII)
_DIGITS: Final = re.compile(r"\d+\.\.\d+", re.ASCII)


@dataclass(frozen=True)
class _Group:
    """One pair of braces: its place in the text, and what it stands for."""

    start: int
    stop: int
    pieces: Sequence[str] | range
    width: int = 0
    """Digits of padded numbers."""

    def __iter__(self) -> Iterator[str]:
        return (f"{piece:0{self.width}d}" if isinstance(piece, int) else piece for piece in self.pieces)


def has_braces(text: str) -> bool:
    """Whether the text stands for several."""
    return next(_groups(text), None) is not None


def too_many(text: str) -> str | None:
    """Say why a text stands for more names than are looked for; None when it does not."""
    if any(_DIGITS.fullmatch(inner) and not _RANGE.fullmatch(inner) for _, _, inner in _pairs(text)):
        return f"a number in braces has more than {_MOST_DIGITS} digits"
    groups = list(_groups(text))
    if len(groups) > MOST_GROUPS:
        return f"more than {MOST_GROUPS} pairs of braces"
    return (
        f"this pattern stands for more than {MOST_NAMES:,} names"
        if math.prod(_length(group.pieces) for group in groups) > MOST_NAMES
        else None
    )


def expand_braces(text: str) -> Iterator[str]:
    """All that a text stands for, in order; numbers keep their leading zeros. A text without braces is itself.

    Whether that comes to an end `too_many` says.
    """
    return _expand(text, list(_groups(text)))


def _expand(text: str, groups: Sequence[_Group]) -> Iterator[str]:
    if not groups:
        yield text
        return
    first, *others = groups
    for piece in first:
        for rest in _expand(text[first.stop :], [_moved(group, first.stop) for group in others]):
            yield text[: first.start] + piece + rest


def _moved(group: _Group, by: int) -> _Group:
    return _Group(group.start - by, group.stop - by, group.pieces, group.width)


def _length(pieces: Sequence[str] | range) -> int:
    """Also of a range that is longer than `len` can say."""
    return abs(pieces.stop - pieces.start) if isinstance(pieces, range) else len(pieces)


def _pairs(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and content of braces that hold no other braces, in one pass."""
    start = -1
    for place in (match.start() for match in re.finditer(r"[{}]", text)):
        if text[place] == "{":
            start = place
        elif start >= 0:
            yield start, place + 1, text[start + 1 : place]
            start = -1


def _groups(text: str) -> Iterator[_Group]:
    for start, stop, inner in _pairs(text):
        if numbers := _RANGE.fullmatch(inner):
            first, last = int(numbers[1]), int(numbers[2])
            padded = any(len(word) > 1 and word.startswith("0") for word in numbers.groups())
            width = max(map(len, numbers.groups())) if padded else 0
            step = 1 if first <= last else -1
            yield _Group(start, stop, range(first, last + step, step), width)
        elif "," in inner:
            yield _Group(start, stop, inner.split(","))
