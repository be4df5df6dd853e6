"""Large photos shrink to the same bytes as with Pillow, whatever their sizes, modes and pixels."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from math import ceil

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from clipcli.images import resample
from clipcli.images.resample import shrink

MODES = ["L", "RGB"]


def noise(rng, shape):
    return rng.integers(0, 256, shape, dtype=np.uint8)


def extremes(rng, shape):
    return rng.choice(np.array([0, 255], np.uint8), shape)


def checkerboard(rng, shape):
    """Sums end near half a value everywhere, where rounding decides."""
    period = rng.integers(1, 4)
    rows, columns = np.indices(shape[:2]) // period
    return np.broadcast_to(((rows + columns) % 2 * 255).astype(np.uint8).reshape(*shape[:2], 1), (*shape[:2], 3))


def stripes(rng, shape):
    """Edges overshoot, above white and below black."""
    lines = np.repeat(rng.choice(np.array([0, 255], np.uint8), shape[1] // 5 + 1), 5)[: shape[1]]
    return np.broadcast_to(lines[None, :, None], shape)


def flat(rng, shape):
    return np.full(shape, rng.integers(0, 256), np.uint8)


def image_of(paint, mode, size, seed=0):
    pixels = paint(np.random.default_rng(seed), (size[1], size[0], 3))
    return Image.fromarray(np.ascontiguousarray(pixels if mode == "RGB" else pixels[..., 0]))


def with_pillow(image, size, box):
    pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC).crop(box))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def assert_same(image, size, box):
    ours = shrink(image, size, box)
    assert ours is not None
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, with_pillow(image, size, box))


@st.composite
def shrinkings(draw):
    """A size, a smaller one and a part of it, of which Pillow takes the horizontal axis first."""
    target = draw(st.tuples(st.integers(1, 70), st.integers(1, 70)))
    factor = draw(st.floats(2.5, 20))
    size = [max(ceil(2.5 * edge), round(edge * factor * draw(st.floats(0.8, 1.2)))) for edge in target]
    # Wide enough for the horizontal axis to be the first.
    size[0] = max(size[0], target[0] + (size[1] - target[1] + 1) // 2)
    assume(size[0] <= 64 * target[0])
    left, top = draw(st.integers(0, target[0] - 1)), draw(st.integers(0, target[1] - 1))
    right, bottom = draw(st.integers(left + 1, target[0])), draw(st.integers(top + 1, target[1]))
    return tuple(size), target, (left, top, right, bottom)


@settings(max_examples=150, deadline=None)
@given(
    shrinkings(),
    st.sampled_from(MODES),
    st.sampled_from([noise, extremes, checkerboard, stripes, flat]),
    st.integers(0, 9),
)
def test_any_size_and_part(sizes, mode, paint, seed):
    size, target, box = sizes
    assert_same(image_of(paint, mode, size, seed), target, box)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("size", "target", "box"),
    [
        ((4000, 3000), (298, 224), (37, 0, 261, 224)),
        ((3000, 4000), (224, 298), (0, 37, 224, 261)),
        ((3000, 4000), (384, 384), (0, 0, 384, 384)),
        ((1999, 1501), (319, 240), (40, 0, 280, 240)),
        ((9001, 640), (150, 11), (60, 0, 71, 11)),
    ],
)
def test_sizes_of_cameras(mode, size, target, box):
    assert_same(image_of(noise, mode, size), target, box)


def test_checkerboards_of_every_phase():
    for width in range(300, 316):
        assert_same(image_of(checkerboard, "RGB", (width, 300), seed=width), (50, 50), (0, 0, 50, 50))


def test_strips_do_not_mix():
    """A thread keeps its strip: what a photo left in it must not show in the next one."""
    white, black = (Image.new("RGB", (900, 700 - cut), colour) for cut, colour in ((0, "white"), (37, "black")))
    for image in (white, black, white, black):
        assert_same(image, (100, 75), (3, 2, 97, 75))


def test_threads_have_strips_of_their_own():
    images = [image_of(noise, mode, (800 + 100 * number, 600), number) for number in range(6) for mode in MODES]
    whole = ((120, 90), (10, 0, 110, 90))
    with ThreadPoolExecutor(4) as pool:
        for image, ours in zip(images * 4, pool.map(lambda image: shrink(image, *whole), images * 4), strict=True):
            np.testing.assert_array_equal(ours, with_pillow(image, *whole))


@pytest.mark.parametrize(
    ("mode", "size", "target"),
    [
        ("RGBA", (800, 600), (80, 60)),
        ("P", (800, 600), (80, 60)),
        ("F", (800, 600), (80, 60)),
        ("RGB", (190, 150), (80, 60)),  # shrinks too little
        ("RGB", (8000, 60), (80, 20)),  # shrinks too much
        ("RGB", (400, 1000), (40, 40)),  # Pillow 13 begins vertically
    ],
)
def test_leaves_the_rest_to_pillow(mode, size, target):
    assert shrink(Image.new(mode, size), target, (0, 0, *target)) is None


def test_the_tallest_photo_that_begins_horizontally():
    tall = image_of(noise, "L", (400, 760), 1)
    assert_same(tall, (40, 40), (0, 0, 40, 40))
    assert shrink(image_of(noise, "L", (400, 761), 1), (40, 40), (0, 0, 40, 40)) is None


@pytest.fixture
def checked_again():
    resample._agrees_with_pillow.cache_clear()
    yield
    resample._agrees_with_pillow.cache_clear()


def vertical_first(image, size, method):
    return RESIZE(RESIZE(image, (image.width, size[1]), method), size, method)


def rounded_otherwise(image, size, method):
    """One value is one larger."""
    resized = RESIZE(image, size, method)
    pixels = np.array(resized)
    pixels.flat[1000] ^= 1
    return Image.fromarray(pixels)


RESIZE = Image.Image.resize


@pytest.mark.parametrize("other", [vertical_first, rounded_otherwise])
def test_another_arithmetic_of_pillow_turns_it_off(monkeypatch, checked_again, other):
    image, whole = image_of(noise, "RGB", (800, 600)), ((80, 60), (0, 0, 80, 60))
    assert shrink(image, *whole) is not None
    resample._agrees_with_pillow.cache_clear()
    monkeypatch.setattr(Image.Image, "resize", other)
    assert shrink(image, *whole) is None


def test_memory_is_bounded_by_strips():
    image = image_of(noise, "RGB", (6000, 4500))
    shrink(image, (298, 224), (37, 0, 261, 224))
    tracemalloc.start()
    try:
        shrink(image, (298, 224), (37, 0, 261, 224))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16e6, "the photo takes 81 MB, and 648 MB as float64"


def test_small_pictures_do_not_load_it():
    code = """
import sys
from PIL import Image
from clipcli.core.encoder import Preprocessing
from clipcli.images.preprocess import to_pixels
how = Preprocessing((224, 224), (0.5,) * 3, (0.5,) * 3)
to_pixels(Image.new("RGB", (1000, 900)), how)
assert "clipcli.images.resample" not in sys.modules
to_pixels(Image.new("RGB", (2000, 1500)), how)
assert "clipcli.images.resample" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
