"""Suggest the nearest known names for one that is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

GUESSES = 5
"""Most unknown names of one file that get a suggestion; each takes a while among 10,000 known ones."""

_BEGINNING = 4
"""Fewest letters of a word that counts as the beginning of a longer name."""


def nearest(word: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` names that begin with `word` or look like it; case is ignored."""
    from difflib import get_close_matches

    by_folded: dict[str, str] = {}
    for name in names:
        by_folded.setdefault(name.casefold(), name)
    begun = [folded for folded in by_folded if len(word) >= _BEGINNING and folded.startswith(word.casefold())]
    near = get_close_matches(word.casefold(), by_folded, n=count)
    return [by_folded[folded] for folded in list(dict.fromkeys([*sorted(begun, key=len), *near]))[:count]]


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return `did you mean 'cat' or 'cow'?`, or an empty text if no name is near."""
    names = [repr(name) for name in nearest(word, candidates)]
    if not names:
        return ""
    *others, last = names
    return f"did you mean {', '.join(others)} or {last}?" if others else f"did you mean {last}?"
