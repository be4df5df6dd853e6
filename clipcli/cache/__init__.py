"""The embedding cache: (space, content hash) → vector, in one SQLite file that is always safe to delete."""

from __future__ import annotations

from clipcli.cache.off import NoCache
from clipcli.cache.place import cache_folder, parse_size
from clipcli.cache.store import EmbeddingCache, SpaceInfo

__all__ = ["EmbeddingCache", "NoCache", "SpaceInfo", "cache_folder", "parse_size"]
