"""Preprocess a Pillow image for the image tower with Pillow and NumPy only, bit-identical to open_clip's transform.

The order is open_clip's: resize and crop (or pad) in the image's own mode, convert to RGB, then scale and normalise in
float32. Both use Pillow for the pixels, so equal calls give equal bytes. The arithmetic is IEEE division and
subtraction in the same order, so equal bytes give equal floats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from clipcli.errors import ImageError

if TYPE_CHECKING:
    from clipcli.core.encoder import Preprocessing

MAX_RESIZED_PIXELS: Final = 178_956_970
"""Limit of a resized image: a strip of 1 by 100,000 pixels with its short edge resized to 224 would take 20 GB."""

_LARGE: Final = 2_000_000
"""Pixels of an image from which on `resample` is faster than Pillow even if it resizes only one and checks itself."""

_FILTERS: Final = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def to_pixels(
    image: Image.Image, how: Preprocessing, out: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Resize, crop, convert and normalise one image as the model's config says.

    Args:
        image: an image of any mode; it is not changed.
        how: the model's preprocessing.
        out: a float32 (3, height, width) array to write to, for example one row of a batch.

    Returns:
        Float32 (3, height, width), normalised; `out` if it was given.

    Raises:
        ImageError: at stage `preprocess`, Pillow cannot convert the mode to RGB, or the shape cannot be resized to the
            model's size. open_clip's transform fails for these images too.
    """
    try:
        planes = _planes(image, how)
    except ImageError:
        raise
    except Exception as error:
        raise ImageError("preprocess", f"{image.mode} image of {image.width} by {image.height}: {error}") from error
    pixels = np.empty((3, *how.image_size), np.float32) if out is None else out
    np.divide(planes, np.float32(255), out=pixels, dtype=np.float32)
    np.subtract(pixels, np.array(how.mean, np.float32)[:, None, None], out=pixels)
    np.divide(pixels, np.array(how.std, np.float32)[:, None, None], out=pixels)
    return pixels


def _planes(image: Image.Image, how: Preprocessing) -> npt.NDArray[np.uint8]:
    """Return the image at the model's size, uint8 (3, height, width), or (1, height, width) of a grey one."""
    size, method = _scaling(image.size, how)
    if size[0] * size[1] > MAX_RESIZED_PIXELS:
        raise ImageError("preprocess", f"too long and thin: resizing it would give {size[0]:,} by {size[1]:,} pixels")
    padded, box = _centre(size, how.image_size)
    if padded == size and method is Image.Resampling.BICUBIC and image.width * image.height >= _LARGE:
        # Only here: a start with small pictures need not read the module.
        from clipcli.images.resample import shrink

        planes = shrink(image, size, box)
        if planes is not None:
            return planes
    resized = _resized(image, size, method)
    if padded != size:
        resized = _padded(resized, padded, how.fill_color if how.resize_mode == "longest" else 0)
    if box != (0, 0, *padded):
        resized = resized.crop(box)
    rgb: npt.NDArray[np.uint8] = np.asarray(resized.convert("RGB")).transpose(2, 0, 1)
    return rgb


def _scaling(size: tuple[int, int], how: Preprocessing) -> tuple[tuple[int, int], Image.Resampling]:
    """Return the width and height to resize an image of `size` to, before it is cut or padded, and the filter."""
    height, width = how.image_size
    method = _FILTERS[how.interpolation]
    across, down = size[0] / width, size[1] / height
    if how.resize_mode == "squash":
        return (width, height), method
    if how.resize_mode == "longest":
        # Fit the longer edge and pad the other.
        return _scaled(size, max(across, down)), method
    if height == width:
        return _shortest_edge(size, height), method
    # open_clip always uses bicubic here, whatever the config says.
    return _scaled(size, min(across, down)), Image.Resampling.BICUBIC


def _shortest_edge(size: tuple[int, int], edge: int) -> tuple[int, int]:
    """Return width and height with the shorter edge at `edge`; the longer one is truncated, not rounded."""
    width, height = size
    return (edge, int(edge * height / width)) if width <= height else (int(edge * width / height), edge)


def _scaled(size: tuple[int, int], ratio: float) -> tuple[int, int]:
    """Return width and height divided by `ratio`, rounded half to even."""
    width, height = size
    return round(width / ratio), round(height / ratio)


def _centre(size: tuple[int, int], target: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """Return the width and height to pad `size` (width, height) to, and the box of `target` (height, width) in it."""
    height, width = target
    padded = (max(size[0], width), max(size[1], height))
    left = round((padded[0] - width) / 2)
    top = round((padded[1] - height) / 2)
    return padded, (left, top, left + width, top + height)


def _resized(image: Image.Image, size: tuple[int, int], method: Image.Resampling) -> Image.Image:
    # One call for both axes: Pillow chooses their order by size (and version) and rounds in between.
    return image if image.size == size else image.resize(size, method)


def _padded(image: Image.Image, size: tuple[int, int], fill: int) -> Image.Image:
    """Pad to `size` (width, height) around the centre; an odd pixel goes to the right or below."""
    across, down = size[0] - image.width, size[1] - image.height
    border = (across // 2, down // 2, (across + 1) // 2, (down + 1) // 2)
    bands = len(image.getbands())
    grown = ImageOps.expand(image, border, (fill,) * bands if bands > 1 else fill)
    palette = image.getpalette() if image.mode == "P" else None
    if palette is not None:
        # `fill` is an index into the image's palette, as in open_clip.
        grown.putpalette(palette)
    return grown
