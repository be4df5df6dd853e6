"""Bytes to images: formats, first frames, orientation, limits, and a reason in words for each bad file."""

from __future__ import annotations

import functools
import io
import os
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image, ImageChops, ImageDraw

from clipcli.core.optional_packages import install_command
from clipcli.errors import ImageError
from clipcli.images import decode, decoder, messages

FORMATS = ("BMP", "DIB", "GIF", "ICO", "JPEG", "PCX", "PNG", "PPM", "SGI", "TGA", "TIFF", "WEBP")


@functools.cache
def picture():
    """Every corner its own colour, so that no turn looks like another."""
    image = Image.new("RGB", (48, 32), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 23, 15), "red")
    draw.rectangle((24, 0, 47, 15), "green")
    draw.rectangle((0, 16, 23, 31), "blue")
    return image


def encoded(kind, image=None, **options):
    buffer = io.BytesIO()
    (picture() if image is None else image).save(buffer, kind, **options)
    return buffer.getvalue()


def reason(data, **options):
    with pytest.raises(ImageError) as caught:
        decode(data, **options)
    assert caught.value.stage == "decode"
    assert "\n" not in caught.value.reason
    return caught.value.reason


def mean_difference(one, other):
    difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
    return sum(level * count for level, count in enumerate(difference.convert("L").histogram())) / (48 * 32)


@pytest.mark.parametrize("kind", FORMATS)
def test_formats(kind):
    options = {"sizes": [(48, 32)]} if kind == "ICO" else {}
    assert mean_difference(decode(encoded(kind, **options)), picture()) < 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_the_mode_of_the_file_is_kept(mode):
    image = Image.new(mode, (5, 4))
    assert decode(encoded("PNG", image)).mode == mode


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_first_frame_of_an_animation(kind):
    frames = [Image.new("RGB", (48, 32), colour) for colour in ("red", "lime", "blue")]
    image = decode(encoded(kind, frames[0], save_all=True, append_images=frames[1:]))
    assert image.size == (48, 32)
    red, green, blue = image.convert("RGB").getpixel((24, 16))
    assert (red, green, blue) == pytest.approx((255, 0, 0), abs=3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation(kind, orientation):
    undo = [None, 0, 3, 1, 5, 2, 6, 4]  # what turns an upright picture into the stored one, for orientations 1 to 8
    turn = undo[orientation - 1]
    stored = picture() if turn is None else picture().transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(kind, stored, exif=exif.tobytes())
    assert mean_difference(decode(data), picture()) < 4
    if kind != "TIFF":  # Pillow turns TIFF by itself
        as_stored = decode(data, orient=False)
        assert as_stored.size == stored.size
        assert mean_difference(as_stored, stored) < 4


@pytest.mark.thorough
def test_orientation_of_real_files(shared):
    folder = shared / "data/hostile/exif-orientation"
    for name in ("Landscape", "Portrait"):
        upright = decode((folder / f"{name}_1.jpg").read_bytes()).resize((60, 60))
        for orientation in range(9):
            image = decode((folder / f"{name}_{orientation}.jpg").read_bytes())
            assert (image.width > image.height) == (name == "Landscape")
            # Each file has its own number painted on it, nothing else differs.
            spread = ImageChops.difference(image.resize((60, 60)), upright).convert("L").resize((1, 1))
            assert spread.getpixel((0, 0)) < 12


def test_unreadable_metadata_does_not_cost_the_picture():
    good = encoded("JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08" + b"\xff" * 40)
    assert mean_difference(decode(good), picture()) < 4


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(value):
    exif = Image.Exif()
    exif[0x0112] = value
    assert decode(encoded("JPEG", exif=exif.tobytes())).size == (48, 32)


def png_header(width, height):
    """A PNG that claims a size and has no pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("size", [(20_000, 10_000), (65_000, 65_000)])
def test_a_decompression_bomb_is_refused_from_its_header(size):
    words = reason(png_header(*size))
    assert words == f"{size[0] * size[1]:,} pixels, more than the limit of 178,956,970; --max-pixels raises it"


def test_the_limit_is_the_callers():
    data = encoded("PNG")
    assert decode(data, max_pixels=48 * 32).size == (48, 32)
    assert reason(data, max_pixels=48 * 32 - 1).startswith("1,536 pixels, more than the limit of 1,535")


def test_the_limit_can_go_above_pillows_own(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert decode(encoded("PNG"), max_pixels=48 * 32).size == (48, 32)
    assert Image.MAX_IMAGE_PIXELS == 48 * 32 // 2


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_file_is_an_error_and_not_half_an_image(kind):
    noise = Image.frombytes("RGB", (64, 64), os.urandom(64 * 64 * 3))
    data = encoded(kind, noise)
    assert reason(data[: len(data) * 2 // 3])


def test_a_truncated_photo_is_called_truncated():
    data = encoded("JPEG", Image.effect_noise((200, 200), 90).convert("RGB"))
    assert reason(data[: len(data) // 2]) == "truncated: the JPEG file ends before its image does"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty file"),
        (b"hello, this is text", "not an image, or a format Pillow cannot read"),
        (b"\x00" * 1000, "not an image, or a format Pillow cannot read"),
        (b"\n <!DOCTYPE html><html>404", "an HTML page, not an image (a download that failed?)"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg xmlns='x'/>", messages.SVG),
        (b"%PDF-1.7\n", "a PDF document, not an image"),
        (b"PK\x03\x04\x14\0", "a ZIP archive, not an image; unpack it first"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", messages.VIDEO),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", messages.VIDEO),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81", messages.VIDEO),
        (b"RIFF\x24\0\0\0AVI LIST", messages.VIDEO),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "a Git LFS pointer, not an image: fetch the file itself with `git lfs pull`",
        ),
    ],
)
def test_what_is_not_an_image_says_what_it_is(data, words):
    assert reason(data) == words


def test_postscript_is_never_run():
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n{} loop\n"
    assert reason(program) == "an EPS file is a program; convert it to an image first"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough memory for its pixels"),
        (EOFError("no more"), "truncated: the PNG file ends before its image does"),
        (NotImplementedError("sixteen planes"), "a kind of PNG file that Pillow cannot read: sixteen planes"),
        (SyntaxError("odd\nchunk"), "damaged PNG file: odd chunk"),
        (struct.error("unpack requires a buffer of 4 bytes"), "damaged PNG file: unpack requires a buffer of 4 bytes"),
        (IndexError(), "damaged PNG file: IndexError"),
    ],
)
def test_whatever_a_decoder_raises_becomes_an_image_error(monkeypatch, error, words):
    def fail(_self):
        raise error

    data = encoded("PNG")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    assert reason(data) == words


HEIC_HEADER = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic") + b"\x00" * 40


def test_heic_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    decoder._register_heif.cache_clear()
    assert reason(HEIC_HEADER).endswith(install_command("heic"))
    decoder._register_heif.cache_clear()


def test_heic_with_its_package():
    pillow_heif = pytest.importorskip("pillow_heif")
    decoder._register_heif.cache_clear()
    buffer = io.BytesIO()
    pillow_heif.from_pillow(picture().resize((96, 64))).save(buffer, quality=90)
    image = decode(buffer.getvalue())
    assert image.size == (96, 64)
    assert mean_difference(image.resize((48, 32)), picture()) < 12
    assert "clipcli[heic]" not in reason(HEIC_HEADER)


def test_draft_shrinks_a_jpeg_and_nothing_else():
    photo = Image.effect_noise((800, 600), 40)
    assert decode(encoded("JPEG", photo), draft=(224, 224)).size == (400, 300)
    assert decode(encoded("JPEG", photo)).size == (800, 600)
    assert decode(encoded("PNG", photo), draft=(224, 224)).size == (800, 600)


SPEAKS = """
import logging, pathlib, sys, warnings
from clipcli.errors import ImageError
from clipcli.images import decode
logging.basicConfig(level=logging.DEBUG)  # as open_clip does on loading a model
for path in sys.argv[1:]:
    warnings.resetwarnings()  # as leaving a catch_warnings block of another thread can
    try:
        decode(pathlib.Path(path).read_bytes())
    except ImageError as error:
        print(error)
"""


@pytest.mark.thorough
def test_nothing_is_said_on_stderr(tmp_path):
    """In a process of its own, so that neither pytest's capture nor earlier tests hide anything."""
    tiff = bytearray(encoded("TIFF", Image.effect_noise((64, 64), 90).convert("1"), compression="group4"))
    tiff[20:60] = b"\xa5" * 40  # libtiff complains about the bad code words
    bomb = png_header(12_000, 9_000)  # Pillow warns above half of its limit
    tags = encoded("TIFF").replace(struct.pack("<HHI", 258, 3, 3), struct.pack("<HHI", 258, 3, 2**30))
    for name, data in (("fax.tif", bytes(tiff)), ("bomb.png", bomb), ("tags.tif", tags)):
        (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-c", SPEAKS, *sorted(str(path) for path in tmp_path.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "PNG" in done.stdout


FIRST_FILES = """
import pathlib, sys
from concurrent.futures import ThreadPoolExecutor
from clipcli.images import decode
data = pathlib.Path(sys.argv[1]).read_bytes()
with ThreadPoolExecutor(8) as pool:
    print({image.size for image in pool.map(decode, [data] * 16)})
"""


@pytest.mark.thorough
def test_rare_formats_are_known_to_every_thread_from_the_first_file(tmp_path):
    (tmp_path / "picture.sgi").write_bytes(encoded("SGI"))
    command = [sys.executable, "-c", FIRST_FILES, str(tmp_path / "picture.sgi")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "{(48, 32)}\n", done.stderr


def test_threads_agree():
    files = [encoded(kind) for kind in ("JPEG", "PNG", "TIFF", "WEBP")] * 8
    with ThreadPoolExecutor(4) as pool:
        assert [image.tobytes() for image in pool.map(decode, files)] == [decode(data).tobytes() for data in files]


def blocks_after_decoding(**environment):
    script = "import sys; from PIL import Image; from clipcli.images import decode; "
    script += "decode(sys.stdin.buffer.read()); print(Image.core.get_blocks_max(), Image.core.get_block_size())"
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, input=encoded("JPEG"), env={**os.environ, **environment}, capture_output=True, check=True
    )
    return tuple(map(int, done.stdout.split()))


def test_memory_of_a_picture_of_twelve_megapixels_is_kept_for_the_next():
    blocks, size = blocks_after_decoding()
    assert blocks * size >= 12_000_000 * 4


def test_a_number_of_kept_blocks_that_the_user_set_stays():
    assert blocks_after_decoding(PILLOW_BLOCKS_MAX="1")[0] == 1
