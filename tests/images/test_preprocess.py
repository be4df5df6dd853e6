"""Bit-exact parity with open_clip's own eval transform: every mode, shape, resize mode and pretrained config."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipcli.core.encoder import Preprocessing
from clipcli.errors import ImageError
from clipcli.images.preprocess import to_pixels

BYTE_MODES = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"]
MODES = [*BYTE_MODES, "I", "I;16", "I;16B", "I;16L", "F"]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module")
def image_transform():
    return pytest.importorskip("open_clip.transform").image_transform


@cache
def noise(mode, size, seed=0):
    """Random pixels: any difference in rounding shows."""
    rng = np.random.default_rng(seed)
    width, height = size
    grey = rng.integers(0, 256, (height, width), dtype=np.uint8)
    if mode == "1":
        return Image.fromarray(grey).convert("1")
    if mode in {"P", "PA"}:
        image = Image.fromarray(grey)
        image.putpalette(rng.integers(0, 256, 768, dtype=np.uint8).tobytes())
        return image if mode == "P" else image.convert("PA")
    if mode in {"La", "RGBa"}:
        return noise(mode.upper(), size, seed).convert(mode)
    if mode == "F":
        return Image.fromarray(rng.uniform(-50, 300, (height, width)).astype(np.float32))
    if mode == "I":
        return Image.fromarray(rng.integers(-1000, 70000, (height, width), dtype=np.int32))
    length = len(Image.new(mode, size).tobytes())
    return Image.frombytes(mode, size, rng.bytes(length))


def expected(image_transform, image, how, size=None):
    """What open_clip gives; None where it raises."""
    transform = image_transform(
        image_size=how.image_size if size is None else size,
        is_train=False,
        mean=how.mean,
        std=how.std,
        resize_mode=how.resize_mode,
        interpolation=how.interpolation,
        fill_color=how.fill_color,
    )
    try:
        return transform(image).numpy()
    except Exception:  # noqa: BLE001 - whatever it cannot take, we must not take either
        return None


def assert_parity(image_transform, image, how, size=None):
    theirs = expected(image_transform, image, how, size)
    if theirs is None:
        with pytest.raises(ImageError) as caught:
            to_pixels(image, how)
        assert caught.value.stage == "preprocess"
        assert image.mode in caught.value.reason
        return
    ours = to_pixels(image, how)
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape == (3, *how.image_size)
    np.testing.assert_array_equal(ours.view(np.uint32), theirs.view(np.uint32))


edges = st.integers(1, 70)
targets = st.one_of(
    st.integers(1, 40).map(lambda edge: (edge, edge)), st.tuples(st.integers(1, 40), st.integers(1, 40))
)


@pytest.mark.thorough
@settings(max_examples=400, deadline=None)
@given(
    image=st.builds(noise, st.sampled_from(["RGB", *MODES]), st.tuples(edges, edges), st.integers(0, 3)),
    how=st.builds(
        Preprocessing,
        targets,
        st.just(MEAN),
        st.just(STD),
        st.sampled_from(["bicubic", "bilinear"]),
        st.sampled_from(["shortest", "longest", "squash"]),
        st.sampled_from([0, 127, 255]),
    ),
)
def test_any_mode_and_shape(image_transform, image, how):
    assert_parity(image_transform, image, how)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_each_mode_once(image_transform, mode, resize_mode):
    for size in ((90, 61), (61, 90), (20, 31), (48, 48)):
        how = Preprocessing((48, 48), MEAN, STD, "bicubic", resize_mode, 0)
        assert_parity(image_transform, noise(mode, size), how)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(2000, 1501), (1501, 2000)])
def test_large_photos(image_transform, mode, size):
    """Those of `resample`, and beside them what it leaves to Pillow: another filter, padding, transparency."""
    for target in ((224, 224), (224, 160), (160, 224)):
        for resize_mode in ("shortest", "squash", "longest"):
            for interpolation in ("bicubic", "bilinear"):
                how = Preprocessing(target, MEAN, STD, interpolation, resize_mode)
                assert_parity(image_transform, noise(mode, size), how)


def test_large_photos_are_not_resized_by_pillow(monkeypatch):
    photo = noise("RGB", (2000, 1501))
    expected = to_pixels(photo, Preprocessing((224, 224), MEAN, STD))
    monkeypatch.delattr(Image.Image, "resize")
    np.testing.assert_array_equal(to_pixels(photo, Preprocessing((224, 224), MEAN, STD)), expected)


def pretrained_preprocessings():
    """Each distinct preprocessing that open_clip's pretrained configs ask for."""
    import open_clip
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    found = set()
    for model, tag in open_clip.list_pretrained():
        size = open_clip.get_model_config(model)["vision_cfg"].get("image_size", 224)
        cfg = PreprocessCfg(**merge_preprocess_dict(PreprocessCfg(size=size), open_clip.get_pretrained_cfg(model, tag)))
        shape = tuple(cfg.size) if isinstance(cfg.size, (list, tuple)) else (cfg.size, cfg.size)
        found.add(
            Preprocessing(shape, tuple(cfg.mean), tuple(cfg.std), cfg.interpolation, cfg.resize_mode, cfg.fill_color)
        )
    return sorted(found, key=repr)


@pytest.mark.slow
def test_every_pretrained_config(image_transform):
    hows = pretrained_preprocessings()
    assert len(hows) >= 20
    for how in hows:
        for size in ((300, 200), (170, 301)):
            assert_parity(image_transform, noise("RGB", size), how)


def test_a_size_given_as_one_number(image_transform):
    for resize_mode in ("shortest", "longest", "squash"):
        how = Preprocessing((64, 64), MEAN, STD, "bicubic", resize_mode)
        assert_parity(image_transform, noise("RGB", (150, 99)), how, size=64)


def test_real_photos(image_transform, shared):
    paths = sorted((shared / "data/photos").rglob("*.jp*g"))[::32]
    assert len(paths) >= 5
    for path in paths:
        with Image.open(path) as image:
            image.load()
        for resize_mode in ("shortest", "longest", "squash"):
            assert_parity(image_transform, image, Preprocessing((224, 224), MEAN, STD, "bicubic", resize_mode))


@pytest.mark.thorough
def test_one_photo_in_every_mode_a_file_can_have(image_transform, shared):
    for path in sorted((shared / "data/duplicates/modes").iterdir()):
        if path.suffix == ".md":
            continue
        with Image.open(path) as image:
            assert_parity(image_transform, image, Preprocessing((224, 224), MEAN, STD))


def test_a_transparent_palette(image_transform):
    image = noise("P", (50, 40))
    image.info["transparency"] = 3
    for resize_mode in ("shortest", "longest"):
        assert_parity(image_transform, image, Preprocessing((32, 32), MEAN, STD, "bicubic", resize_mode, 255))


def test_every_byte_value_normalises_to_the_same_float(image_transform):
    ramp = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2))
    for mean, std in ((MEAN, STD), ((0.5,) * 3, (0.5,) * 3), ((0.0,) * 3, (1.0,) * 3)):
        assert_parity(image_transform, ramp, Preprocessing((16, 16), mean, std))


def test_writes_into_a_row_of_a_batch():
    how = Preprocessing((32, 32), MEAN, STD)
    image = noise("RGB", (50, 40))
    batch = np.full((2, 3, 32, 32), np.nan, np.float32)
    assert to_pixels(image, how, out=batch[1]).base is batch
    np.testing.assert_array_equal(batch[1], to_pixels(image, how))
    assert np.isnan(batch[0]).all()


def test_leaves_the_image_as_it_was():
    image = noise("P", (50, 40))
    before = (image.mode, image.size, image.tobytes(), image.getpalette())
    to_pixels(image, Preprocessing((64, 64), MEAN, STD, "bicubic", "longest"))
    assert (image.mode, image.size, image.tobytes(), image.getpalette()) == before


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_strip_too_thin_to_resize_is_an_error_not_twenty_gigabytes(mode):
    strip = Image.new(mode, (1, 100_000))
    with pytest.raises(ImageError, match="preprocess: too long and thin: resizing it would give 224 by 22,400,000"):
        to_pixels(strip, Preprocessing((224, 224), MEAN, STD))


def test_what_open_clip_cannot_take_says_why():
    flat = Image.new("RGB", (1000, 1))
    with pytest.raises(ImageError, match="preprocess: RGB image of 1000 by 1: height and width must be > 0"):
        to_pixels(flat, Preprocessing((8, 8), MEAN, STD, "bicubic", "longest"))
