"""What a file holds beside its first picture: frames of an animation, pages, and what is no page (previews, layers)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL import Image

DOCUMENTS: Final = frozenset(("TIFF", "MPO", "DCX"))
"""Formats whose further pictures are pages of their own; in others they are frames."""
_LAYERED: Final = frozenset(("PSD", "MIC"))
"""Formats whose further pictures are layers of the first."""
_SUBFILE: Final = 254
"""The tag of a TIFF page that says what it is."""
_REDUCED: Final = 1


def count_of(image: Image.Image) -> int:
    """Pictures in a file, of any kind. Raises whatever Pillow raises for a damaged file."""
    return max(1, int(getattr(image, "n_frames", 1)))


def pages_of(image: Image.Image) -> list[int]:
    """Numbers of the pages or frames that a viewer shows one after another, at least one.

    Smaller copies of a TIFF page, previews and gain maps of a camera, and layers are none.
    Raises whatever Pillow raises for a damaged file.
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
    """Return the first picture, and those that are another view: the other eye, a part of a panorama."""
    entries = (getattr(image, "mpinfo", None) or {}).get(0xB002) or []
    kinds = [str(entry.get("Attribute", {}).get("MPType", "")) for entry in entries]
    return [0, *(number for number, kind in enumerate(kinds[:count]) if number and kind.startswith("Multi-Frame"))]
