"""Divide inputs among machines by a stable hash of their names; the machines need not communicate."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from clipcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_Input = TypeVar("_Input")


def parse_shard(text: str) -> tuple[int, int]:
    """Parse `i/n` and return (i, n) with 1 ≤ i ≤ n.

    Raises:
        UsageError: the text is not of this form.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count:
        raise UsageError(f"not a shard: {text!r}", hint="1/4, 2/4, 3/4 and 4/4 are the shards of four")
    return index, count


def shard_of(name: str, count: int) -> int:
    """Return the shard of a name, from 1 to `count`; the same on every machine and in every version."""
    digest = hashlib.sha256(_bytes(name)).digest()
    return int.from_bytes(digest[:8], "big") % count + 1


@dataclass
class Listing(Generic[_Input]):
    """Counts inputs while iterating; yields those of one shard with their position among all."""

    inputs: Iterable[_Input]
    name_of: Callable[[_Input], str]
    index: int = 1
    shards: int = 1
    count: int = 0
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256, repr=False)

    def __iter__(self) -> Iterator[tuple[int, _Input]]:
        for item in self.inputs:
            name = self.name_of(item)
            position = self.count
            self.count += 1
            self._hash.update(hashlib.sha256(_bytes(name)).digest())
            if self.shards == 1 or shard_of(name, self.shards) == self.index:
                yield position, item

    @property
    def digest(self) -> str:
        """Return the hash over the names of all inputs so far, in order."""
        return self._hash.hexdigest()[:32]


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
