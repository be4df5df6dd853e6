"""`shards/{00000..00099}.tar` and `{train,val}.tar`, as the shell and webdataset write them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_GROUP = re.compile(r"\{(?:(?P<first>\d+)\.\.(?P<last>\d+)|(?P<words>[^{}]*,[^{}]*))\}")


def has_braces(text: str) -> bool:
    """Whether the text stands for several."""
    return _GROUP.search(text) is not None


def expand_braces(text: str) -> Iterator[str]:
    """All that a text stands for, in order; numbers keep their leading zeros. A text without braces is itself."""
    group = _GROUP.search(text)
    if group is None:
        yield text
        return
    before, after = text[: group.start()], text[group.end() :]
    for piece in _pieces(group):
        for rest in expand_braces(after):
            yield before + piece + rest


def _pieces(group: re.Match[str]) -> Iterator[str]:
    if group["words"] is not None:
        yield from group["words"].split(",")
        return
    first, last = int(group["first"]), int(group["last"])
    padded = any(len(word) > 1 and word.startswith("0") for word in (group["first"], group["last"]))
    width = max(len(group["first"]), len(group["last"])) if padded else 0
    for number in range(first, last + 1) if first <= last else range(first, last - 1, -1):
        yield f"{number:0{width}d}"
