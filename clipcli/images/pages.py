"""Find the pages and frames of a file; previews and layers are not pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL import Image

DOCUMENTS: Final = frozenset(("TIFF", "MPO", "DCX"))
"""Formats whose further pictures are pages; in other formats they are frames."""
_LAYERED: Final = frozenset(("PSD", "MIC"))
"""Formats whose further pictures are layers of the first."""
_SUBFILE: Final = 254
"""The TIFF tag NewSubfileType."""
_REDUCED: Final = 1


def count_of(image: Image.Image) -> int:
    """Return the number of pictures of any kind in a file. Raises Pillow's errors for a damaged file."""
    return max(1, int(getattr(image, "n_frames", 1)))


def pages_of(image: Image.Image) -> list[int]:
    """Return the numbers of the pages or frames that a viewer shows in sequence, at least one.

    Reduced copies of a TIFF page, a camera's previews and gain maps, and layers are left out. Raises Pillow's errors
    for a damaged file.
    """
    count = count_of(image)
    if count == 1 or image.format in _LAYERED:
        return [0]
    if image.format == "MPO":
        return _of_camera(image, count)
    if image.format != "TIFF":
        return list(range(count))
    pages = []
    for number in range(count):
        image.seek(number)
        kind = image.tag_v2.get(_SUBFILE, 0)  # type: ignore[attr-defined]  # of a TIFF file
        if not (isinstance(kind, int) and kind & _REDUCED):
            pages.append(number)
    image.seek(0)
    return pages or [0]


def _of_camera(image: Image.Image, count: int) -> list[int]:
    """Return the first picture and other views: the second of a stereo pair, a part of a panorama."""
    entries = (getattr(image, "mpinfo", None) or {}).get(0xB002) or []
    kinds = [str(entry.get("Attribute", {}).get("MPType", "")) for entry in entries]
    return [0, *(number for number, kind in enumerate(kinds[:count]) if number and kind.startswith("Multi-Frame"))]
