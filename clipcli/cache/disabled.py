"""The cache that remembers nothing: `--no-cache`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from datetime import timedelta

    from clipcli.cache.folder import SpaceInfo
    from clipcli.core.vectors import Vector


class NoCache(AbstractContextManager["NoCache"]):
    """Has every method of `EmbeddingCache`; finds nothing and keeps nothing."""

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def is_writable(self) -> bool:
        """It never is."""
        return False

    def known_digest(self, _path: str, _stat: os.stat_result, /) -> str | None:
        """Nothing is known."""
        return None

    def remember_digest(self, _path: str, _stat: os.stat_result, _digest: str, /) -> None:
        """Nothing is remembered."""

    def get(self, _space: str, keys: Sequence[str], /) -> list[Vector | None]:
        """Nothing is found: a None for every key."""
        return [None] * len(keys)

    def put(self, _space: str, _items: Sequence[tuple[str, Vector]], /) -> None:
        """Nothing is kept."""

    def get_blobs(self, _space: str, keys: Sequence[str], /) -> list[bytes | None]:
        """Nothing is found: a None for every key."""
        return [None] * len(keys)

    def put_blobs(self, _space: str, _items: Sequence[tuple[str, bytes]], /) -> None:
        """Nothing is kept."""

    def note(self, _space: str, _name: str, /) -> str | None:
        """Nothing was noted."""
        return None

    def keep_note(self, _space: str, _name: str, _value: str, /) -> None:
        """Nothing is noted."""

    def info(self) -> list[SpaceInfo]:
        """Nothing is there."""
        return []

    def clear(self) -> int:
        """Nothing to remove."""
        return 0

    def prune(self, _max_bytes: int | None = None, _older_than: timedelta | None = None, /) -> int:
        """Nothing to remove."""
        return 0

    def close(self) -> None:
        """Nothing to close."""
