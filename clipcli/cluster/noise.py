"""Ray speaks on its own: its core on file descriptor 2, its nodes through this process's stdout, which is for data."""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.talk import Talk

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LOW_MEMORY = re.compile(r"low on memory|memory pressure|OutOfMemory")


@contextmanager
def start_muted() -> Iterator[None]:
    """While Ray's core starts nothing else of this process speaks, so its descriptor leads nowhere."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def ray_words(talk: Talk) -> Iterator[None]:
    """What the nodes report goes to `talk`, as details, in place of stdout; rows go there as before."""
    real = sys.stdout
    sys.stdout = _Words(real, talk)
    try:
        yield
    finally:
        sys.stdout = real


class _Words:
    """Stdout as far as bytes go; what is printed is Ray's."""

    def __init__(self, real: IO[str], talk: Talk) -> None:
        self._real = real
        self._talk = talk
        self._rest = ""

    def write(self, text: str) -> int:
        """Take lines as they are completed."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if said := _COLOUR.sub("", line).strip():
                self._talk.detail(said)
            if _LOW_MEMORY.search(line):
                self._talk.note_once("a node ran low on memory and Ray ended a worker there; it is started again")
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
