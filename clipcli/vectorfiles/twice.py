"""Names that stand in more than one file, found among any number of them in bounded memory."""

from __future__ import annotations

import hashlib
import tempfile
from typing import IO, TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import ExitStack

_BUCKETS: Final = 64
"""Looked through one by one: a billion names are 16 GB on disk, and 250 MB in memory at a time."""
_IN_MEMORY: Final = 32 << 20
_RECORD: Final = np.dtype([("high", "<u8"), ("low", "<u4"), ("file", "<u4")])
_DIGEST_BYTES: Final = 12


class Twice:
    """Take the names of files in turn; then ask for one that two files have."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._waiting = [bytearray() for _ in range(_BUCKETS)]
        self._bytes = 0
        self._files: list[IO[bytes]] = []

    def add(self, names: Iterable[str], file: int) -> None:
        """Names of a file, which has a number."""
        number = file.to_bytes(4, "little")
        for name in names:
            digest = digest_of(name)
            self._waiting[digest[0] % _BUCKETS] += digest + number
            self._bytes += _RECORD.itemsize
        if self._bytes > _IN_MEMORY:
            self._put_away()

    def find(self) -> tuple[int, int, bytes] | None:
        """Numbers of two files and the digest of a name that both have; None when there is none."""
        for bucket in range(_BUCKETS):
            records = np.frombuffer(self._all_of(bucket), _RECORD)
            records = records[np.lexsort((records["file"], records["low"], records["high"]))]
            one, other = records[:-1], records[1:]
            same = (one["high"] == other["high"]) & (one["low"] == other["low"]) & (one["file"] != other["file"])
            if same.any():
                place = int(same.argmax())
                digest = records[place].tobytes()[:_DIGEST_BYTES]
                return int(one["file"][place]), int(other["file"][place]), digest
        return None

    def _put_away(self) -> None:
        if not self._files:
            opened = (tempfile.TemporaryFile() for _ in range(_BUCKETS))  # noqa: SIM115 - the stack closes them
            self._files = [self._stack.enter_context(file) for file in opened]
        for file, waiting in zip(self._files, self._waiting, strict=True):
            file.write(waiting)
            waiting.clear()
        self._bytes = 0

    def _all_of(self, bucket: int) -> bytes:
        if not self._files:
            return bytes(self._waiting[bucket])
        self._files[bucket].seek(0)
        return self._files[bucket].read() + bytes(self._waiting[bucket])


def digest_of(name: str) -> bytes:
    """Twelve bytes that stand for a name: among a billion names two are alike by chance once in 10¹⁰ times."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
