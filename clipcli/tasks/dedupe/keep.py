"""Rules for the file to keep: they are applied in order, and the first on which two files differ decides."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from clipcli.core.files import lies_in_skipped_folder
from clipcli.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Key: TypeAlias = "tuple[int | str, ...]"


@dataclass(frozen=True)
class FileFacts:
    """What the rules know of a file."""

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
    """True if the picture has any colour."""
    camera: bool = False
    """True if its metadata names the camera."""
    detail_loss: int = 0
    """Rank by real detail among its copies, 0 for the most (see `originals`); 0 if they were not compared."""
    atypical: int = 0
    """Distance from the median of its copies, in steps (see `originals`); 0 if they were not compared."""


@dataclass(frozen=True)
class Rule:
    """One preference: the file with the smallest `key` is kept."""

    name: str
    why: str
    """The reason that rows give if this rule decided."""
    key: Callable[[FileFacts], int]


def _depth(facts: FileFacts) -> int:
    return len(os.fsencode(facts.path))


def _stem(facts: FileFacts) -> str:
    return facts.path.rpartition(os.sep)[2].rpartition(".")[0]


_MARK: Final = re.compile(
    r"( ?\(\d{1,3}\)|[ _-]+(copy|kopi[aeo]?|copi[ae]|cópia|копия|コピー|副本|复制)( ?\(?\d{1,3}\)?)?"
    r"|[_~]\d{1,2})$|^(copy|kopie|copie|copia|cópia) (\(\d+\) )?(of|von|de|di) ",
    re.IGNORECASE,
)
"""Suffixes and prefixes that file managers, browsers and import programs add to the name of a second copy."""
_SIMPLE: Final = (
    Rule("camera", "camera data", lambda facts: not facts.camera),
    Rule("real-detail", "real detail", lambda facts: facts.detail_loss),
    Rule("most-pixels", "most pixels", lambda facts: -facts.pixels),
    Rule("fewest-pixels", "fewest pixels", lambda facts: facts.pixels),
    Rule("color", "in colour", lambda facts: not facts.coloured),
    Rule("typical", "most like the other copies", lambda facts: facts.atypical),
    Rule("largest-file", "most bytes", lambda facts: -facts.size),
    Rule("smallest-file", "fewest bytes", lambda facts: facts.size),
    Rule("plain-name", "plain name", lambda facts: _MARK.search(_stem(facts)) is not None),
    Rule("oldest", "oldest", lambda facts: facts.mtime_ns),
    Rule("newest", "newest", lambda facts: -facts.mtime_ns),
    Rule("shortest-path", "shortest path", _depth),
    Rule("longest-path", "longest path", lambda facts: -_depth(facts)),
)
_NAMED: Final = {rule.name: rule for rule in _SIMPLE}
_FORMER: Final = {"largest": "most-pixels", "smallest": "fewest-pixels", "coloured": "color", "colour": "color",
                  "heaviest": "largest-file", "lightest": "smallest-file"}  # fmt: skip
"""Names of earlier versions, which still work."""
_PROTECTED: Final = Rule("protected", "protected", lambda facts: not facts.protected)
_IN_USE: Final = Rule("in-use", "not in a bin or a cache", lambda facts: lies_in_skipped_folder(facts.path))
_SHORT: Final = Rule("short-name", "shorter name", lambda facts: len(_stem(facts)))
DEFAULT: Final = ("camera", "real-detail", "most-pixels", "color", "typical", "largest-file", "plain-name", "oldest")
_DEFAULT: Final = (_IN_USE, *(_NAMED[name] for name in DEFAULT), _SHORT)
"""Colour comes before bytes: a grey PNG may have more bytes than the colour JPEG that it was made from."""
KNOWN: Final = (*_NAMED, "in:DIR", "format:NAME")


def parse_rules(text: str | None) -> tuple[Rule, ...]:
    """Parse `most-pixels,oldest,in:DIR,…`; the rule for protected files comes first, the default rules come last.

    Raises:
        UsageError: a rule that does not exist.
    """
    asked = [_parse(word.strip()) for word in text.split(",")] if text else []
    return (_PROTECTED, *asked, *_DEFAULT)


def rank(files: Sequence[FileFacts], rules: Sequence[Rule]) -> list[int]:
    """Return the indices of `files`, the one to keep first; files that are equal by every rule are sorted by path."""
    return sorted(range(len(files)), key=lambda index: _key(files[index], rules))


def reason(kept: FileFacts, others: Sequence[FileFacts], rules: Sequence[Rule]) -> str:
    """Return why `kept` is kept: the first rule on which it differs from the second-best file."""
    if not others:
        return ""
    second = min(others, key=lambda facts: _key(facts, rules))
    return next((rule.why for rule in rules if rule.key(kept) != rule.key(second)), "first by path")


def is_inside(path: str, folder: str) -> bool:
    """Return whether an absolute path lies in an absolute folder, or is it."""
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
    word = _FORMER.get(word, word)
    if word in _NAMED:
        return _NAMED[word]
    hint = did_you_mean(word, (*KNOWN, *_FORMER)) or "one of " + ", ".join(KNOWN)
    raise UsageError(f"no rule {word!r} for --keep", hint=hint)
