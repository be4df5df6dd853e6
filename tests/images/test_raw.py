"""Camera raw files: known by their content, shown by their full preview, never by a thumbnail in silence."""

from __future__ import annotations

import struct
import subprocess
import sys

import numpy as np
import pytest
import raw_files
from PIL import Image

from clipcli.core.optional_packages import install_command
from clipcli.errors import ImageError
from clipcli.images import ON_WHITE, decode, decoder
from clipcli.images.digests import pixel_digest
from clipcli.images.raw import kind_of


@pytest.fixture
def no_rawpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "rawpy", None)


def reason(data, **options):
    with pytest.raises(ImageError) as caught:
        decode(data, **options)
    assert caught.value.stage == "decode"
    assert "\n" not in caught.value.reason
    return caught.value.reason


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (raw_files.dng(), "DNG"),
        (raw_files.dng(version=False, make="NIKON CORPORATION"), "Nikon"),
        (raw_files.dng(version=False, make="SONY"), "Sony"),
        (raw_files.dng(version=False, make=""), "raw"),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(40), "CR2"),
        (struct.pack(">I", 24) + b"ftypcrx \0\0\0\1crx isom", "CR3"),
        (b"FUJIFILMCCD-RAW 0201" + bytes(40), "RAF"),
        (b"IIRO\x08\0\0\0" + bytes(40), "ORF"),
        (b"IIU\0\x18\0\0\0" + bytes(40), "RW2"),
        (b"FOVb" + bytes(40), "X3F"),
    ],
)
def test_it_is_known_by_its_content(no_rawpy, data, kind):
    assert kind_of(data) == kind
    assert reason(data) == (
        f"a camera raw file ({kind}); reading it needs an optional package: {install_command('raw')}"
    )


def test_other_files_are_none(tmp_path):
    picture = Image.new("RGB", (9, 7), "teal")
    for kind in ("TIFF", "JPEG", "PNG", "BMP", "WEBP"):
        picture.save(tmp_path / "a", kind)
        assert kind_of((tmp_path / "a").read_bytes()) is None
    picture.save(tmp_path / "a.tif", save_all=True, append_images=[picture] * 3)
    assert kind_of((tmp_path / "a.tif").read_bytes()) is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_that_leads_round_in_circles_ends(order):
    magic = b"II*\0" if order == "<" else b"MM\0*"
    loop = struct.pack(order + "I", 8) + struct.pack(order + "HHHII", 1, 330, 4, 1, 8) + struct.pack(order + "I", 8)
    assert kind_of(magic + loop) is None
    assert kind_of(magic + struct.pack(order + "IH", 8, 65535)) is None
    assert kind_of(magic + struct.pack(order + "I", 2**32 - 1)) is None
    far = struct.pack(order + "HHHII", 1, 330, 4, 2**32 - 1, 2**32 - 1)
    assert kind_of(magic + struct.pack(order + "I", 8) + far) is None


def test_the_full_preview_is_shown():
    pytest.importorskip("rawpy")
    data = raw_files.dng(raw_files.jpeg((128, 96), (20, 160, 40)))
    image = decode(data, rendering=ON_WHITE)
    assert image.size == (128, 96)
    assert np.abs(np.asarray(image).mean((0, 1)) - (20, 160, 40)).max() < 4


def test_the_preview_stands_upright():
    pytest.importorskip("rawpy")
    data = raw_files.dng(raw_files.jpeg((128, 96), (20, 160, 40)), orientation=6)
    assert decode(data).size == (96, 128)
    assert decode(data, orient=False).size == (128, 96)


@pytest.mark.parametrize("preview", [None, raw_files.jpeg((32, 24), (200, 0, 0))], ids=["none", "a thumbnail"])
def test_without_a_full_preview_the_sensors_data_is_developed(preview):
    pytest.importorskip("rawpy")
    image = decode(raw_files.dng(preview), rendering=ON_WHITE)
    assert max(image.size) > 100
    red, green, blue = np.asarray(image).mean((0, 1))
    assert max(red, green, blue) - min(red, green, blue) < 60  # grey, and not the thumbnail's red


@pytest.mark.thorough
def test_damaged_files_are_errors_and_silent(tmp_path):
    pytest.importorskip("rawpy")
    whole = raw_files.dng(raw_files.jpeg((128, 96), (20, 160, 40)))
    (tmp_path / "cut.dng").write_bytes(whole[:8] + bytes(9000) + whole[9008:])
    (tmp_path / "half.dng").write_bytes(b"II*\0\x10\0\0\0CR\x02\0" + bytes(400))
    script = """
import pathlib, sys
from clipcli.errors import ImageError
from clipcli.images import decode
for path in sys.argv[1:]:
    try:
        print(decode(pathlib.Path(path).read_bytes()).size)
    except ImageError as error:
        print(error)
"""
    command = [sys.executable, "-c", script, *sorted(str(path) for path in tmp_path.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "a camera raw file (CR2) that LibRaw cannot read" in done.stdout


def test_a_limit_of_pixels_holds_for_the_sensor():
    pytest.importorskip("rawpy")
    assert "more than the limit of 1,000" in reason(raw_files.dng(), max_pixels=1000)


def test_a_preview_alone_makes_no_exact_copy():
    pytest.importorskip("rawpy")
    preview = raw_files.jpeg((128, 96), (20, 160, 40))
    assert pixel_digest(raw_files.dng(preview)) != pixel_digest(preview)
    assert pixel_digest(raw_files.dng(preview)) == pixel_digest(raw_files.dng(preview))


def test_the_file_that_showed_its_thumbnail(no_rawpy, shared):
    data = (shared / "data/faults/pictures/photo.dng").read_bytes()
    assert reason(data).endswith(f"(DNG); reading it needs an optional package: {install_command('raw')}")


def test_the_file_that_showed_its_thumbnail_has_nothing_else(shared):
    pytest.importorskip("rawpy")
    data = (shared / "data/faults/pictures/photo.dng").read_bytes()
    assert reason(data).startswith("a camera raw file (DNG) that LibRaw cannot read: ")


@pytest.mark.parametrize("data", [b"\xff\x0a" + bytes(40), b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40)])
def test_jpeg_xl_says_what_to_install(monkeypatch, data):
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    monkeypatch.delitem(Image.OPEN, "JXL", raising=False)  # where another test has read one with the package
    decoder._register_jpeg_xl.cache_clear()
    assert reason(data) == f"a JPEG XL image; reading it needs an optional package: {install_command('jxl')}"
    decoder._register_jpeg_xl.cache_clear()


def test_jpeg_xl_with_its_package(tmp_path):
    pytest.importorskip("pillow_jxl")
    decoder._register_jpeg_xl.cache_clear()
    Image.new("RGB", (30, 20), "teal").save(tmp_path / "a.jxl", lossless=True)
    assert decode((tmp_path / "a.jxl").read_bytes(), rendering=ON_WHITE).getpixel((3, 3)) == (0, 128, 128)


@pytest.mark.parametrize(
    "start",
    ["<svg ", "<?xml version='1.0'?>\n<!-- a tool -->" + " " * 600 + "\n<svg ", "<!-- drawn -->\n<svg ",
     "<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN'>\n<svg "],
)  # fmt: skip
def test_svg_says_which_package_converts_it(start):
    assert reason(f"{start} xmlns='http://www.w3.org/2000/svg'/>".encode()).startswith("an SVG drawing; ")
    assert "pip install cairosvg" in reason(f"{start} xmlns='x'/>".encode())
