"""The embedding cache: (space, content hash) → vector, in one SQLite file that can always be deleted."""

from __future__ import annotations

from clipcli.cache.folder import (
    SpaceInfo,
    cache_folder,
    close_to_others,
    is_private,
    make_folder,
    open_file,
    parse_size,
)
from clipcli.cache.store import MODEL_NOTE, EmbeddingCache, NoCache

__all__ = [
    "MODEL_NOTE",
    "EmbeddingCache",
    "NoCache",
    "SpaceInfo",
    "cache_folder",
    "close_to_others",
    "is_private",
    "make_folder",
    "open_file",
    "parse_size",
]
