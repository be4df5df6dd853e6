"""The embedding cache: (space, content hash) → vector, in one SQLite file that can always be deleted."""

from __future__ import annotations

from clipcli.cache.database import SpaceInfo, cache_folder, parse_size
from clipcli.cache.store import MODEL_NOTE, EmbeddingCache, NoCache

__all__ = ["MODEL_NOTE", "EmbeddingCache", "NoCache", "SpaceInfo", "cache_folder", "parse_size"]
