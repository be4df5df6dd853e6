"""Pixels in any container have one digest; another page, layer, frame, depth or transparency has another."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from clipcli.errors import ImageError
from clipcli.images import digests
from clipcli.images.digests import pixel_digest
from clipcli.images.thumbnails import glance


def draw(seed: int, size: tuple[int, int] = (60, 40)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def several(kind: str, *images: Image.Image, **options: object) -> bytes:
    return saved(images[0], kind, save_all=True, append_images=list(images[1:]), **options)


def png_of(values: np.ndarray) -> bytes:
    """A PNG of 16 bits a colour, which Pillow cannot write."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_containers_and_metadata_do_not_count():
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "camera"
    files = [saved(draw(1), "PNG"), saved(draw(1), "BMP"), saved(draw(1), "TIFF"), saved(draw(1), "PNG", exif=exif),
             saved(draw(1), "WEBP", lossless=True)]  # fmt: skip
    assert len({pixel_digest(data) for data in files}) == 1


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG", "AVIF", "MPO"])
def test_a_later_page_or_frame_counts(kind):
    single = "JPEG" if kind == "MPO" else kind
    options = {"lossless": True} if kind == "WEBP" else {}
    files = [several(kind, draw(1), draw(2), **options), several(kind, draw(1), draw(3), **options),
             several(kind, draw(1), draw(2), draw(3), **options), saved(draw(1), single, **options)]  # fmt: skip
    assert len({pixel_digest(data) for data in files}) == 4
    assert pixel_digest(files[0]) == pixel_digest(several(kind, draw(1), draw(2), **options))


def test_an_icon_counts_in_every_size():
    one = saved(draw(1, (64, 64)), "ICO", sizes=[(16, 16), (64, 64)])
    other = saved(draw(1, (64, 64)), "ICO", sizes=[(64, 64)])
    assert pixel_digest(one) != pixel_digest(other)
    assert glance(one).frames == 1


def test_layers_count(shared):
    files = sorted((shared / "data/hostile").rglob("*.psd"))
    assert files
    for file in files:
        with contextlib.suppress(ImageError):
            assert len(pixel_digest(file.read_bytes())) == 64


def test_depth_and_transparency_count():
    plain = draw(1)
    clear, other = plain.convert("RGBA"), plain.convert("RGBA")
    other.putalpha(128)
    assert pixel_digest(saved(clear, "PNG")) == pixel_digest(saved(plain, "PNG")) != pixel_digest(saved(other, "PNG"))
    deep = np.asarray(plain, np.uint16) * 257
    finer = deep.copy()
    finer[0, 0, 0] ^= 1
    assert len({pixel_digest(data) for data in (saved(plain, "PNG"), png_of(deep), png_of(finer))}) == 3
    grey = Image.fromarray(np.asarray(plain.convert("L"), np.uint16) * 257)
    assert pixel_digest(saved(grey, "PNG")) != pixel_digest(saved(plain.convert("L"), "PNG"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("strip", [100, 1_000_000])
def test_an_orientation_is_applied_strip_by_strip(orientation, strip, monkeypatch):
    monkeypatch.setattr(digests, "_STRIP", strip)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = saved(draw(4), "PNG", exif=exif)
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(stored)))
    upright.info.clear()
    assert pixel_digest(stored) == pixel_digest(saved(Image.fromarray(np.asarray(upright)), "PNG"))
    assert pixel_digest(stored, orient=False) == pixel_digest(saved(draw(4), "PNG"))


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8, 0.95])
@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_a_file_cut_anywhere_is_an_error_of_its_own(kind, share):
    whole = several(kind, *(draw(seed) for seed in range(6)))
    cut = whole[: int(len(whole) * share)]
    for work in (glance, pixel_digest):
        with contextlib.suppress(ImageError):  # any other error ends the run
            assert work(cut)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P"])
@pytest.mark.parametrize("keyed", [False, True])
def test_a_large_png_file_is_digested_strip_by_strip(mode, keyed, monkeypatch):
    noise = np.random.default_rng(1).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    image = Image.fromarray(noise).resize((131, 97))
    image = image.convert("RGB").quantize(32) if mode == "P" else image.convert(mode)
    key = {"RGB": (10, 20, 30), "L": 3, "P": 3}.get(mode)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **({"transparency": key} if keyed and key is not None else {}))
    whole = pixel_digest(buffer.getvalue())
    monkeypatch.setattr(digests, "_LARGE", 0)
    monkeypatch.setattr(digests, "_STRIP", 131 * 10)
    monkeypatch.setattr(digests, "_frames", lambda *_: pytest.fail("it was decoded as a whole"))
    assert pixel_digest(buffer.getvalue()) == whole


def test_a_large_png_file_that_is_cut_off_is_an_error(monkeypatch):
    buffer = io.BytesIO()
    Image.effect_noise((131, 97), 50).save(buffer, "PNG")
    monkeypatch.setattr(digests, "_LARGE", 0)
    with pytest.raises(ImageError, match="truncated"):
        pixel_digest(buffer.getvalue()[:4000])


def test_a_turned_png_file_is_digested_upright_whatever_its_size(monkeypatch):
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[274] = 6
    image = Image.effect_noise((131, 97), 50)
    image.save(buffer, "PNG", exif=exif)
    upright = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_270).save(upright, "PNG")
    monkeypatch.setattr(digests, "_LARGE", 0)
    assert pixel_digest(buffer.getvalue()) == pixel_digest(upright.getvalue())
