"""Shrink large photos to the same bytes as Pillow's bicubic `Image.resize`, faster, with NumPy's matrix product.

Pillow resizes 8-bit images one axis after the other, horizontally first. Each axis is a weighted sum with integer
weights of 22 fractional bits, rounded half up and clipped to 0 … 255. Such a sum, and every part of it, is a multiple
of 2**-22 below 2**10, so float64 (53 bits) holds it exactly: neither the order in which BLAS adds matters, nor whether
it fuses products and sums. Only the part of the image that is kept is computed, which Pillow cannot do without changing
the weights.

Neighbouring outputs share most of their inputs. A group of them is one product with a small dense matrix, of which a
part is zero, and the groups of a run are one call. The photo is read in strips, so memory is bounded. The strips stay
with their thread: a new image would take one of the large blocks that Pillow keeps for photos (see `reuse_memory`) and
return it cut to size, and the next photo would have to fetch that memory from the system again.
"""

from __future__ import annotations

import math
import threading
from functools import cache, lru_cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided
from PIL import Image

Size: TypeAlias = tuple[int, int]
"""Width and height."""
Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom."""
Doubles: TypeAlias = npt.NDArray[np.float64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Indices: TypeAlias = npt.NDArray[np.intp]

_FRACTION_BITS: Final = 22
_RADIUS: Final = 2.0
"""Of the filter, in outputs."""
_MIN_FACTOR: Final = 2.5
"""Pillow is as fast for images that shrink less: few inputs make an output."""
_MAX_FACTOR: Final = 64.0
"""With more inputs to an output, a strip of bounded memory has too few rows."""
_MAX_PRODUCT: Final = 2**18
"""Multiplications of a product. OpenBLAS gives a larger one to several threads; here every core has its own photo."""
_STRIP_ROWS: Final = 64
_STRIP_STEP: Final = 512
"""The width of a strip is a multiple of it, so that photos of similar widths use the same one."""


class _Grouping(NamedTuple):
    """How many outputs make a group, and how many groups a run."""

    outputs: int
    """More outputs make denser products with more zeros, fewer make less of each."""
    groups: int
    """More groups make fewer calls, for which threads wait in turns, fewer need less of the cache."""


_COLUMNS: Final = _Grouping(8, 8)
_ROWS: Final = _Grouping(4, 4)


class _Run(NamedTuple):
    """Groups of outputs along an axis. Each has a window of inputs of the same size."""

    start: int
    """The first input of the first window; windows may begin before the axis and end after it, with weights of zero."""
    step: int
    """Inputs from the start of a window to the start of the next."""
    weights: Doubles
    """(groups, inputs, outputs), multiples of 2**-22; zero after the last output that is wanted."""

    @property
    def stop(self) -> int:
        """Return the input after the last window."""
        return self.start + (len(self.weights) - 1) * self.step + len(self.weights[0])


def shrink(image: Image.Image, size: Size, box: Box) -> Bytes | None:
    """Resize an image with Pillow's bicubic filter and return a part of the result.

    Args:
        image: an image of any mode; it is not changed.
        size: width and height of the whole resized image.
        box: the part of the resized image that is returned; it lies inside.

    Returns:
        Uint8 (bands, height, width), the bytes of `image.resize(size, BICUBIC).crop(box)`; None where Pillow is faster,
        and for modes, orders of the axes and arithmetics of the installed Pillow that are not known here.
    """
    factors = (image.width / size[0], image.height / size[1])
    # Pillow 13 begins with the vertical axis if that removes more than twice as many pixels, Pillow 12 in fewer cases.
    horizontal_first = image.height - size[1] <= 2 * (image.width - size[0])
    known = image.mode in {"L", "RGB"} and horizontal_first
    if not known or min(factors) < _MIN_FACTOR or max(factors) > _MAX_FACTOR or not _agrees_with_pillow():
        return None
    return _resized(image, size, box)


@cache
def _agrees_with_pillow() -> bool:
    """Compare with the installed Pillow, once per process and in a few milliseconds.

    A build with other arithmetic differs in some of these values (Pillow-SIMD rounds its weights to 16 bits), and a
    release with another order of the axes in many. The second photo is the tallest that begins horizontally.
    """
    for mode, photo, size in (("RGB", (512, 384), (85, 64)), ("L", (180, 360), (30, 60))):
        # Multiplicative hashing of the index: noise of all values without a random generator.
        hashed = np.arange(photo[0] * photo[1] * Image.getmodebands(mode), dtype=np.uint32) * np.uint32(2_654_435_761)
        image = Image.frombytes(mode, photo, (hashed >> np.uint32(24)).astype(np.uint8).tobytes())
        theirs = np.asarray(image.resize(size, Image.Resampling.BICUBIC)).reshape(size[1], size[0], -1)
        if not np.array_equal(_resized(image, size, (0, 0, *size)), theirs.transpose(2, 0, 1)):
            return False
    return True


def _resized(image: Image.Image, size: Size, box: Box) -> Bytes:
    """Resize a grey or colour image and return the part `box` of the result, uint8 (bands, height, width)."""
    left, top, right, bottom = box
    columns = _runs(image.width, size[0], left, right, _COLUMNS)
    rows = _runs(image.height, size[1], top, bottom, _ROWS)
    first_row = min(run.start for run in rows)
    planes = _shrink_width(image, columns, first_row, max(run.stop for run in rows))
    return _shrink_height(planes, rows, first_row)[:, : bottom - top, : right - left]


def _shrink_width(image: Image.Image, runs: tuple[_Run, ...], top: int, bottom: int) -> Bytes:
    """Resample the rows from `top` to before `bottom`, zero outside of the image, to uint8 (bands, rows, columns)."""
    bands = image.getbands()
    left = min(run.start for run in runs)
    height = _strip_height(len(bands), runs)
    strip = _strip(image.mode, max(run.stop for run in runs) - left, height)
    planes = np.empty((len(bands), height, strip.width), np.uint8)
    pixels = planes.reshape(len(bands) * height, strip.width)
    sums = np.empty((len(pixels), sum(len(run.weights) for run in runs), _COLUMNS.outputs))
    tile = np.empty(len(pixels) * max(run.weights[..., 0].size for run in runs))
    shrunk = np.zeros((len(bands), bottom - top, sums[0].size), np.uint8)
    for first in range(max(top, 0), min(bottom, image.height), height):
        strip.paste(image, (-left, -first))
        # Each band by itself: NumPy separates the bytes of pixels at a third of this speed.
        for plane, band in zip(planes, bands, strict=True):
            plane.reshape(-1)[:] = np.frombuffer(strip.tobytes("raw", band), np.uint8)
        _multiply(pixels, runs, left, tile, sums)
        # What the last strip has below the image is left over from the strip before.
        count = min(height, bottom - first, image.height - first)
        shrunk[:, first - top : first - top + count] = _rounded(sums).reshape(len(bands), height, -1)[:, :count]
    return shrunk


def _multiply(pixels: Bytes, runs: tuple[_Run, ...], left: int, tile: Doubles, sums: Doubles) -> None:
    """Write weighted sums along the rows of `pixels` to `sums` (rows, groups, outputs).

    Args:
        pixels: (rows, inputs); the first is input `left` of the runs.
        runs: the weights.
        left: see `pixels`.
        tile: memory for the inputs of any run.
        sums: what is written.
    """
    done = 0
    for start, step, weights in runs:
        shape = (len(weights), len(pixels), weights.shape[1])
        # A copy as float64, in the cache when it is multiplied and with rows that lie close together.
        inputs = tile[: math.prod(shape)].reshape(shape)
        inputs[...] = as_strided(pixels[:, start - left :], shape, (step, pixels.strides[0], 1))
        np.matmul(inputs, weights, out=sums[:, done : done + len(weights)].transpose(1, 0, 2))
        done += len(weights)


def _shrink_height(planes: Bytes, runs: tuple[_Run, ...], top: int) -> Bytes:
    """Resample uint8 (bands, rows, columns), the first row of which is row `top` of the image, along the columns."""
    bands, _, columns = planes.shape
    shrunk = []
    for start, step, weights in runs:
        groups, inputs, outputs = weights.shape
        by_band, by_row, by_column = planes.strides
        strides = (by_band, by_row * step, by_row, by_column)
        windows = as_strided(planes[:, start - top :], (bands, groups, inputs, columns), strides)
        sums = np.matmul(weights.transpose(0, 2, 1), windows.astype(np.float64))
        shrunk.append(_rounded(sums).reshape(bands, groups * outputs, columns))
    return np.concatenate(shrunk, axis=1)


def _rounded(sums: Doubles) -> Bytes:
    """Round half up and clip to 0 … 255; `sums` is used up."""
    sums += 0.5
    # The cast removes the fraction, which is rounding down for what is not negative.
    return np.clip(sums, 0.0, 255.0, out=sums).astype(np.uint8)


def _strip_height(bands: int, runs: tuple[_Run, ...]) -> int:
    """Return the number of rows that keeps a product small."""
    per_row: int = bands * max(run.weights[0].size for run in runs)
    return max(1, min(_STRIP_ROWS, _MAX_PRODUCT // per_row))


_KEPT = threading.local()
"""The strips of a thread, by mode."""


def _strip(mode: str, width: int, height: int) -> Image.Image:
    """Return this thread's image for strips, of exactly `height` and at least `width`; its content is undefined."""
    width = -(-width // _STRIP_STEP) * _STRIP_STEP
    strip: Image.Image | None = getattr(_KEPT, mode, None)
    if strip is None or strip.height != height or not width <= strip.width <= 2 * width:
        strip = Image.new(mode, (width, height))
        setattr(_KEPT, mode, strip)
    return strip


@lru_cache(maxsize=16)
def _runs(length: int, target: int, begin: int, end: int, grouping: _Grouping) -> tuple[_Run, ...]:
    """Return the runs of the outputs from `begin` to before `end`, of `target` outputs that `length` inputs make."""
    first, last, weights = _weights(length, target)
    by_run = grouping.outputs * grouping.groups
    return tuple(
        _run(first, last, weights, range(low, min(low + by_run, end)), grouping.outputs)
        for low in range(begin, end, by_run)
    )


def _run(first: Indices, last: Indices, weights: Doubles, outputs: range, count: int) -> _Run:
    """Put consecutive outputs in groups of `count`; the other arguments are what `_weights` returns."""
    groups = [outputs[at : at + count] for at in range(0, len(outputs), count)]
    starts = np.array([first[group[0]] for group in groups])
    stops = np.array([last[group[-1]] for group in groups])
    # Windows at equal distances, which one view can describe, are a little larger than each group needs.
    step = round((starts[-1] - starts[0]) / max(1, len(groups) - 1))
    steps = np.arange(len(groups)) * step
    start = int((starts - steps).min())
    shared = np.zeros((len(groups), int((stops - steps).max()) - start, count))
    for number, output in enumerate(outputs):
        group, column = divmod(number, count)
        inputs = slice(first[output] - start - steps[group], last[output] - start - steps[group])
        shared[group, inputs, column] = weights[output, : last[output] - first[output]]
    return _Run(start, step, shared)


def _weights(length: int, target: int) -> tuple[Indices, Indices, Doubles]:
    """Return the first input of each output, the one after its last, and the weights between, as Pillow rounds them.

    Every operation and its order are those of `precompute_coeffs` in Pillow's Resample.c, in double precision.
    """
    scale = length / target
    support = _RADIUS * scale
    centres = (np.arange(target) + 0.5) * scale
    first = np.maximum((centres - support + 0.5).astype(np.intp), 0)
    last = np.minimum((centres + support + 0.5).astype(np.intp), length)
    taps = np.arange((last - first).max())
    weights = _bicubic((taps + first[:, None] - centres[:, None] + 0.5) * (1.0 / scale))
    weights[taps >= (last - first)[:, None]] = 0.0
    # One after the other, as in C: NumPy's own sum adds in another order, which may round differently.
    total = np.zeros(target)
    for column in weights.T:
        total += column
    weights /= total[:, None]
    units = np.trunc(weights * 2**_FRACTION_BITS + np.where(weights < 0, -0.5, 0.5))
    return first, last, units / 2**_FRACTION_BITS


def _bicubic(x: Doubles) -> Doubles:
    """Return Keys' cubic kernel with a = -0.5, zero from the radius on."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return np.where(x < 1.0, near, np.where(x < _RADIUS, far, 0.0))
