"""Sizes in words."""

from __future__ import annotations

_STEP = 1000.0


def size_words(size: float) -> str:
    """Return a number of bytes as a person reads it: `0 bytes`, `812 bytes`, `3.4 kB`, `12 MB`, `1.2 GB`."""
    if size < _STEP:
        return f"{size:,.0f} byte{'' if size == 1 else 's'}"
    for unit in ("kB", "MB", "GB"):
        size /= _STEP
        if size < _STEP:
            return f"{size:.1f} {unit}" if size < 10 else f"{size:.0f} {unit}"  # noqa: PLR2004 - two digits are enough
    return f"{size / _STEP:,.1f} TB"
