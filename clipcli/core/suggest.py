"""The nearest names to one that was not found."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

GUESSES = 5
"""Unknown names of one file that a guess is made for: each takes a while among 10,000 known ones."""

_BEGINNING = 4
"""Letters from which on a word may be the beginning of a longer name."""


def nearest(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Up to `count` of the known names that begin with `word` or look like it; case does not matter."""
    from difflib import get_close_matches

    by_folded: dict[str, str] = {}
    for name in known:
        by_folded.setdefault(name.casefold(), name)
    begun = [folded for folded in by_folded if len(word) >= _BEGINNING and folded.startswith(word.casefold())]
    near = get_close_matches(word.casefold(), by_folded, n=count)
    return [by_folded[folded] for folded in list(dict.fromkeys([*sorted(begun, key=len), *near]))[:count]]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean 'cat' or 'cow'?`, or nothing when no name is near."""
    names = [repr(name) for name in nearest(word, known)]
    if not names:
        return ""
    *others, last = names
    return f"did you mean {', '.join(others)} or {last}?" if others else f"did you mean {last}?"
