"""Pixels as a viewer shows them: every mode that a file can have, against its picture in 8-bit RGB or grey."""

from __future__ import annotations

import functools
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw, TiffImagePlugin

from clipcli.errors import ImageError, UsageError
from clipcli.images import ON_WHITE, Rendering, decode
from clipcli.images.colour_modes import parse_colour


@functools.cache
def colours():
    """A drawing with 37 as its darkest number and 238 as its lightest."""
    image = Image.new("RGB", (60, 40), (238, 200, 90))
    draw = ImageDraw.Draw(image)
    draw.ellipse((5, 5, 35, 35), (37, 120, 220))
    draw.polygon([(40, 35), (58, 35), (49, 8)], (180, 37, 60))
    return image


@functools.cache
def grey():
    return np.asarray(colours().convert("L"))


def saved(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def shown(data, **options):
    image = decode(data, rendering=Rendering(**options))
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def assert_grey(data, tolerance=1):
    """The file shows the grey drawing."""
    pixels = shown(data)
    assert np.abs(pixels - grey()[..., None]).max() <= tolerance


def tiff(samples, **tags):
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        info[int(tag.removeprefix("tag"))] = value
    return saved(Image.fromarray(samples), "TIFF", tiffinfo=info)


WORDS = grey().astype(np.uint16)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(lambda: saved(Image.fromarray(WORDS * 257)), id="16-bit PNG"),
        pytest.param(lambda: tiff(WORDS * 257), id="16-bit TIFF"),
        pytest.param(lambda: tiff((WORDS * 257).astype(">u2")), id="16-bit TIFF, big endian"),
        pytest.param(lambda: saved(Image.fromarray(WORDS * 257), "JPEG2000"), id="16-bit JPEG 2000"),
        pytest.param(lambda: saved(Image.fromarray(WORDS * 257), "PPM"), id="16-bit PGM"),
        pytest.param(lambda: b"P5 60 40 4095\n" + np.rint(WORDS * (4095 / 255)).astype(">u2").tobytes(), id="PGM"),
        pytest.param(lambda: tiff(WORDS * 16, tag281=4095), id="12 in 16, stated"),
        pytest.param(lambda: tiff(WORDS * 16, tag281=3808), id="12 in 16, the highest value stated"),
        pytest.param(lambda: tiff(WORDS * 64, tag281=16383), id="14 in 16, stated"),
        pytest.param(lambda: tiff(WORDS * 16), id="12 in 16 without a word, TIFF"),
        pytest.param(lambda: saved(Image.fromarray(WORDS * 16)), id="12 in 16 without a word, PNG"),
        pytest.param(lambda: saved(Image.fromarray(WORDS)), id="8 in 16"),
        pytest.param(lambda: tiff((255 - WORDS) * 257, tag262=0), id="16-bit TIFF, white is zero"),
        pytest.param(lambda: tiff(WORDS.astype(np.int32)), id="int32 of 0 to 255"),
        pytest.param(lambda: tiff(WORDS.astype(np.int32) * 16), id="int32 of 12 bits"),
        pytest.param(lambda: tiff(WORDS.astype(np.int32) * 257), id="int32 of 16 bits"),
        pytest.param(lambda: tiff(WORDS.astype(np.int32) << 23), id="int32 of full depth"),
        pytest.param(lambda: tiff(WORDS.astype(np.float32) / 255), id="float of 0 to 1"),
        pytest.param(lambda: tiff(WORDS.astype(np.float32)), id="float of 0 to 255"),
        pytest.param(lambda: tiff(WORDS.astype(np.float32) * 257), id="float of 0 to 65535"),
        pytest.param(lambda: b"Pf 60 40 -1.0\n" + (grey()[::-1] / 255).astype("<f4").tobytes(), id="PFM"),
    ],
)  # fmt: skip
def test_deep_grey_is_scaled_to_what_its_numbers_mean(data):
    assert_grey(data(), tolerance=2)


def uint32(values):
    """A TIFF of 32 bits without a sign, which Pillow reads and does not write."""
    head = struct.pack("<2sHI", b"II", 42, 8)
    height, width = values.shape
    tags = [(256, 4, width), (257, 4, height), (258, 3, 32), (259, 3, 1), (262, 3, 1), (273, 4, 8 + 2 + 9 * 12 + 4),
            (277, 3, 1), (279, 4, values.size * 4), (339, 3, 1)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return head + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0) + values.astype("<u4").tobytes()


def test_whole_numbers_without_a_sign_use_their_highest_bit():
    assert_grey(uint32(WORDS.astype(np.uint32) << 24))


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(WORDS.astype(np.float32) - 1000, id="negative floats"),
        pytest.param(WORDS.astype(np.float32) * 1e9, id="huge floats"),
        pytest.param(WORDS.astype(np.float32) / 30, id="a depth in metres"),
        pytest.param(WORDS.astype(np.int32) * 5 - 700, id="Hounsfield units"),
    ],
)
def test_other_numbers_are_shown_from_the_lowest_to_the_highest(values):
    low, high = int(grey().min()), int(grey().max())
    expected = np.rint((grey() - float(low)) * 255 / (high - low))
    assert np.abs(shown(tiff(values)) - expected[..., None]).max() <= 1


def test_a_dark_picture_of_sixteen_bits_is_not_stretched():
    assert shown(saved(Image.fromarray(np.minimum(WORDS, 3)))).max() == 3


def test_numbers_that_are_not_finite_are_black_and_white():
    values = grey() / np.float32(255)
    values[0, :3] = [np.nan, np.inf, -np.inf]
    pixels = shown(tiff(values.astype(np.float32)))
    assert pixels[0, :3, 0].tolist() == [0, 255, 0]
    assert np.abs(pixels[1:] - grey()[1:, :, None]).max() <= 1
    with pytest.raises(ImageError, match="decode: damaged TIFF file: none of its values is finite"):
        shown(tiff(np.full((4, 5), np.nan, np.float32)))


def test_one_number_everywhere_is_a_picture_too():
    assert shown(tiff(np.full((4, 5), -3.5, np.float32))).max() == 0
    assert shown(saved(Image.new("I;16", (5, 4), 65535))).min() == 255


def test_a_large_picture_is_scaled_block_by_block(monkeypatch):
    monkeypatch.setattr("clipcli.images.colour_modes._BLOCK", 130)
    assert_grey(tiff(WORDS.astype(np.float32) / 255))


def drawing(colour, mode="RGBA"):
    """A disc on nothing; its hidden pixels have a colour too, as drawing programs leave it."""
    image = Image.new("RGBA", (60, 40), (*colour, 0))
    ImageDraw.Draw(image).ellipse((5, 5, 35, 35), (*colour, 255))
    return image.convert(mode)


def expected_drawing(colour, background):
    alpha = np.asarray(drawing(colour))[..., 3:] / 255
    return np.rint(alpha * np.array(colour) + (1 - alpha) * np.array(background))


def palette_with_a_hole():
    image = drawing((0, 0, 0)).convert("RGB").quantize(4)
    image.putdata([0 if alpha else 1 for alpha in drawing((0, 0, 0)).getchannel("A").tobytes()])
    image.putpalette([0, 0, 0, 0, 0, 0])
    return image


@pytest.mark.parametrize(("background", "colour"), [("white", (255,) * 3), ("#3060c0", (0x30, 0x60, 0xC0))])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(lambda: saved(drawing((0, 0, 0))), id="RGBA"),
        pytest.param(lambda: saved(drawing((0, 0, 0), "LA")), id="LA"),
        pytest.param(lambda: saved(palette_with_a_hole(), transparency=1), id="PNG palette, one index"),
        pytest.param(lambda: saved(palette_with_a_hole(), transparency=b"\xff\x00"), id="PNG palette, alphas"),
        pytest.param(lambda: saved(palette_with_a_hole(), "GIF", transparency=1), id="GIF"),
        pytest.param(lambda: saved(drawing((0, 0, 0)), "WEBP", lossless=True, exact=True), id="WebP"),
        pytest.param(lambda: saved(drawing((0, 0, 0)), "TIFF"), id="TIFF"),
        pytest.param(lambda: saved(drawing((0, 0, 0)), "ICO", sizes=[(60, 40)]), id="ICO"),
    ],
)  # fmt: skip
def test_transparent_parts_show_the_background(data, background, colour):
    pixels = shown(data(), background=parse_colour(background))
    assert np.abs(pixels - expected_drawing((0, 0, 0), colour)).max() <= 1


def png(colour_type, depth, row, *chunks, width=2):
    """A PNG of one row."""
    head = struct.pack(">IIBBBBB", width, 1, depth, colour_type, 0, 0, 0)
    kinds = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    parts = (struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in kinds)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


KEY = (1000, 2000, 3000)


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (png(0, 8, b"\x05\x06", (b"tRNS", b"\0\x05")), [255, 6]),
        (png(0, 1, b"\x40", (b"tRNS", b"\0\0")), [255, 255]),
        (png(0, 2, b"\x90", (b"tRNS", b"\0\x02")), [255, 85]),
        (png(0, 4, b"\x35", (b"tRNS", b"\0\x03")), [255, 85]),
        (png(0, 16, struct.pack(">2H", 10000, 65535), (b"tRNS", struct.pack(">H", 10000))), [255, 255]),
        (png(0, 16, struct.pack(">2H", 10000, 25700), (b"tRNS", struct.pack(">H", 10000))), [255, 100]),
        (png(2, 8, b"\1\2\3\4\4\4", (b"tRNS", b"\0\1\0\2\0\3")), [255, 4]),
        (png(2, 16, struct.pack(">6H", *KEY, 1028, 1028, 1028), (b"tRNS", struct.pack(">3H", *KEY))), [255, 4]),
        (png(4, 16, struct.pack(">4H", 1000, 0, 1028, 65535)), [255, 4]),
        (png(2, 16, struct.pack(">6H", 65535, 65535, 65535, 1028, 1028, 1028)), [255, 4]),
    ],
)  # fmt: skip
def test_a_colour_that_counts_as_transparent_at_every_depth(data, pixels):
    assert shown(data)[0, :, 1].tolist() == pixels


def test_half_transparent_is_mixed():
    half = Image.new("RGBA", (2, 2), (0, 0, 0, 128))
    assert shown(saved(half))[0, 0].tolist() == [127] * 3
    assert shown(saved(half), background=(0, 0, 0))[0, 0].tolist() == [0] * 3


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA"])
def test_modes_that_no_file_of_pillows_has(mode):
    image = drawing((0, 0, 0), "LA").convert("La") if mode == "La" else drawing((0, 0, 0), mode)
    pixels = np.asarray(ON_WHITE.apply(image)).astype(int)
    assert np.abs(pixels - expected_drawing((0, 0, 0), (255,) * 3)).max() <= 1


@pytest.mark.parametrize(
    "image",
    [colours(), colours().convert("RGBA"), colours().quantize(250), colours().convert("RGBX")],
    ids=["RGB", "opaque RGBA", "palette", "RGBX"],
)
def test_plain_colours_are_the_same_numbers(image):
    np.testing.assert_array_equal(np.asarray(ON_WHITE.apply(image)), np.asarray(colours()))


def test_plain_rgb_is_not_even_copied():
    image = colours()
    assert ON_WHITE.apply(image) is image


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB", "HSV"])
def test_modes_without_transparency_are_pillows_own_conversion(mode):
    image = Image.new(mode, (4, 4), 1) if mode in {"LAB", "HSV"} else colours().convert(mode)
    np.testing.assert_array_equal(np.asarray(ON_WHITE.apply(image)), np.asarray(image.convert("RGB")))


def test_forty_eight_bits_keep_the_upper_eight():
    values = [[0, 255, 256], [65535, 32768, 4112]]
    row = struct.pack(">6H", *(number for pixel in values for number in pixel))
    tags = saved(Image.new("RGB", (2, 1)), "TIFF")
    assert shown(png(2, 16, row))[0].tolist() == [[number >> 8 for number in pixel] for pixel in values]
    assert shown(b"P6 2 1 65535\n" + row)[0].tolist() == [[round(n / 257) for n in pixel] for pixel in values]
    assert shown(tags).shape == (1, 2, 3)


def tiff48(values, highest=None):
    """A TIFF of 48 bits a pixel, which Pillow reads and does not write."""
    height, width, _ = values.shape
    tags = [(256, 4, width), (257, 4, height), (258, 3, 16), (259, 3, 1), (262, 3, 2), (273, 4, 0), (277, 3, 3),
            (278, 4, height), (279, 4, values.size * 2)]  # fmt: skip
    tags += [] if highest is None else [(281, 3, highest)]
    after = 8 + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, kind, value in tags:
        count, shown = (3, after) if tag == 258 else (1, after + 6 if tag == 273 else value)
        entries += struct.pack("<HHII", tag, kind, count, shown)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + struct.pack("<I3H", 0, 16, 16, 16)
    return head + values.astype("<u2").tobytes()


@pytest.mark.parametrize(
    ("bits", "highest", "tolerance"), [(16, None, 1), (16, 65535, 1), (12, 4095, 17), (12, None, 17), (14, 16383, 5)]
)
def test_forty_eight_bits_of_fewer(bits, highest, tolerance):
    values = np.rint(np.asarray(colours()) * ((2**bits - 1) / 255)).astype(np.uint16)
    assert np.abs(shown(tiff48(values, highest)) - np.asarray(colours())).max() <= tolerance
    if highest is None:
        row = values[20].astype(">u2").tobytes()
        assert np.abs(shown(png(2, 16, row, width=60))[0] - np.asarray(colours())[20]).max() <= tolerance


def test_eight_bits_are_never_lifted():
    dark = Image.new("RGB", (6, 5), (9, 8, 7))
    for kind in ("PNG", "TIFF", "BMP"):
        np.testing.assert_array_equal(shown(saved(dark, kind)), np.asarray(dark))


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_an_upright_picture_has_the_same_colours(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = decode(saved(drawing((9, 9, 9)), exif=exif), rendering=ON_WHITE)
    bare = decode(saved(drawing((9, 9, 9)), exif=exif))
    np.testing.assert_array_equal(np.asarray(plain), np.asarray(ON_WHITE.apply(bare)))


def test_a_bare_rendering_hands_the_files_own_mode_on():
    for image in (Image.fromarray(WORDS), drawing((1, 2, 3)), colours().quantize(8)):
        bare = decode(saved(image), rendering=Rendering(bare=True))
        assert bare.mode == image.mode
        np.testing.assert_array_equal(np.asarray(bare), np.asarray(image))


@pytest.mark.parametrize(
    ("text", "colour"), [("white", (255, 255, 255)), ("#fff", (255, 255, 255)), ("#0a0b0c", (10, 11, 12)),
                         (" Black ", (0, 0, 0)), ("rgb(1, 2, 3)", (1, 2, 3))],
)  # fmt: skip
def test_colours(text, colour):
    assert parse_colour(text) == colour


@pytest.mark.parametrize("text", ["", "whit", "#12", "12,13,14"])
def test_no_such_colour(text):
    with pytest.raises(UsageError, match="no such colour"):
        parse_colour(text)


def test_the_pictures_that_went_wrong(shared):
    folder = shared / "data/faults/pictures"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    plain = shown(files["gray8.png"])
    for name in ("gray16.png", "float01.tif"):
        assert np.abs(shown(files[name]) - plain).max() <= 1, name
    icons = [shown(files[name]) for name in ("icon_circle.png", "icon_cross.png", "icon_star.png")]
    assert all(np.abs(one - other).max() == 255 for one in icons for other in icons if one is not other)
    base = shown(files["base.png"])
    assert np.abs(shown(files["p256.gif"]) - base).mean() < 8
    for name in ("ztxt3mb.png", "badcrc_text.png"):
        np.testing.assert_array_equal(shown(files[name]), base, err_msg=name)
