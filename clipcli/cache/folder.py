"""Where the cache lives and how large it may grow: environment variables, and the defaults without them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from clipcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_FIRST_DAY = date(1970, 1, 1)


@dataclass(frozen=True)
class SpaceInfo:
    """Vectors that can be compared with each other: of one model, precision and variant."""

    space: str
    """`fingerprint/precision`, perhaps with a variant behind it."""
    model: str
    """The model's name, when a run told it."""
    entries: int
    bytes: int
    last_used: int
    """Days since 1970-01-01 (UTC)."""
    columns: ClassVar[tuple[str, ...]] = ("model", "space", "vectors", "bytes", "last used")
    path: ClassVar[None] = None

    @property
    def last_day(self) -> str:
        """Return the day of the last use, as `2025-01-31`."""
        return (_FIRST_DAY + timedelta(days=self.last_used)).isoformat()

    def record(self) -> Mapping[str, object]:
        """One JSON object."""
        counts = {"vectors": self.entries, "bytes": self.bytes}
        return {"model": self.model, "space": self.space, **counts, "last_used": self.last_day}

    def cells(self) -> Sequence[tuple[str, ...]]:
        """One line of text."""
        return [(self.model, self.space, str(self.entries), str(self.bytes), self.last_day)]


DEFAULT_MAX_BYTES = 2 * 1000**3
"""About a million vectors of 512 float32."""
_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def cache_folder() -> Path:
    """Return the folder of everything that can be computed again: `CLIPCLI_CACHE_DIR`, else the user's cache folder."""
    chosen = os.environ.get("CLIPCLI_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("clipcli")


def parse_size(text: str) -> int:
    """Bytes meant by `500M`, `2GB`, `1.5GiB` or a plain number; K, M, G, T are powers of 1000.

    Raises:
        UsageError: the text is not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", text.upper())
    if match is None or match[2] not in _UNITS:
        raise UsageError(f"not a size: {text!r}", hint="write a number of bytes, or 500M, 2GB, 1.5GiB")
    return int(float(match[1]) * _UNITS[match[2]])


@dataclass(frozen=True)
class CacheLimits:
    """What the cache keeps to by itself."""

    max_bytes: int = DEFAULT_MAX_BYTES
    itemsize: int = 4
    """Bytes of a kept number: 4 for float32, 2 for float16."""


def limits(say: Callable[[str], None]) -> CacheLimits:
    """`CLIPCLI_CACHE_MAX_SIZE` and `CLIPCLI_CACHE_DTYPE`; a value that cannot be read is said and not used."""
    size, dtype = (os.environ.get(f"CLIPCLI_CACHE_{name}") for name in ("MAX_SIZE", "DTYPE"))
    if dtype not in {None, "", "float32", "float16"}:
        say(f"--cache-dtype or CLIPCLI_CACHE_DTYPE: neither float32 nor float16: {dtype!r}")
    try:
        bound = parse_size(size) if size else DEFAULT_MAX_BYTES
    except UsageError as error:
        say(f"--cache-max-size or CLIPCLI_CACHE_MAX_SIZE: {error}")
        bound = DEFAULT_MAX_BYTES
    return CacheLimits(bound, 2 if dtype == "float16" else 4)
