"""Pictures that were once read wrongly, and two more of each kind, through every command that reads pictures."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import raw_files
from PIL import Image, ImageDraw
from run import Result, run

if TYPE_CHECKING:
    from collections.abc import Callable

TINY = ("-m", "tiny")


def photo() -> Image.Image:
    """Colours that flow, with two bodies on them."""
    rows, columns = np.mgrid[0:120, 0:160]
    image = Image.fromarray(np.stack([rows * 2, columns, 255 - rows - columns // 2], axis=-1).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 20, 80, 90), (230, 60, 40))
    draw.rectangle((95, 40, 140, 100), (30, 90, 200))
    return image


def vectors(*paths: Path) -> np.ndarray:
    result = run("embed", *paths, *TINY, "-f", "jsonl")
    assert result.code == 0, result.stderr
    return np.array([row["embedding"] for row in result.rows])


def assert_seen_alike(base: Path, others: list[Path], least: float) -> None:
    """`embed`, `rank`, `classify` and `dedupe` take the files for the picture that they show."""
    assert (vectors(base, *others) @ vectors(base)[0]).min() >= least
    ranked = run("rank", "-i", base, *others, *TINY, "--all", "-f", "jsonl")
    assert min(row["score"] for row in ranked.rows) >= least, ranked.stderr
    labels = run("classify", base, *others, "-l", "a disc,a tree,a house", *TINY, "-k", "0", "-f", "jsonl").rows
    scores = np.array([[entry["score"] for entry in sorted(row["labels"], key=str)] for row in labels])
    assert np.abs(scores - scores[0]).max() <= 0.25
    found = run("dedupe", base, *others, *TINY, "-f", "jsonl", "--level", "similar", "--min-similarity", str(least))
    assert {row["image"] for row in found.rows} == {str(path) for path in (base, *others)}, found.stderr


def deep(folder: Path) -> tuple[Path, list[Path]]:
    grey = photo().convert("L")
    grey.save(folder / "base.png")
    words = np.asarray(grey).astype(np.uint16)
    Image.fromarray(words * 257).save(folder / "words.tif")
    Image.fromarray((words / np.float32(255)).astype(np.float32)).save(folder / "float.tif")
    (folder / "twelve.pgm").write_bytes(b"P5 160 120 4095\n" + (words * 16).astype(">u2").tobytes())
    return folder / "base.png", [folder / "words.tif", folder / "float.tif", folder / "twelve.pgm"]


def palettes(folder: Path) -> tuple[Path, list[Path]]:
    picture = photo().quantize(256)
    return in_plain_rgb(picture, folder), [saved(picture, folder / f"palette.{kind}") for kind in ("png", "tif", "bmp")]


def in_plain_rgb(picture: Image.Image, folder: Path) -> Path:
    """The same colours, no palette."""
    return saved(picture.convert("RGB"), folder / "base.png")


def saved(picture: Image.Image, path: Path) -> Path:
    picture.save(path)
    return path


def with_chunks(data: bytes, *chunks: tuple[bytes, bytes, int]) -> bytes:
    """PNG chunks behind the header; the number is added to their checksums."""
    extra = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", (zlib.crc32(kind + body) + wrong) % (1 << 32))
        for kind, body, wrong in chunks
    )
    return data[:33] + extra + data[33:]


def metadata(folder: Path) -> tuple[Path, list[Path]]:
    saved(photo(), folder / "base.png")
    data = (folder / "base.png").read_bytes()
    bomb = zlib.compress(b"x" * (5 << 20))
    files = {
        "text.png": (b"iTXt", b"Comment\0\1\0\0\0" + bomb, 0),
        "profile.png": (b"iCCP", b"p\0\0" + bomb, 0),
        "time.png": (b"tIME", b"\7\xe8\1", 1),
    }
    for name, chunk in files.items():
        (folder / name).write_bytes(with_chunks(data, chunk))
    return folder / "base.png", [folder / name for name in files]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("make", "least"), [(deep, 0.995), (palettes, 0.99999), (metadata, 0.99999)], ids=["deep", "palettes", "metadata"]
)
def test_what_was_read_wrongly_is_seen_as_it_looks(
    make: Callable[[Path], tuple[Path, list[Path]]], least: float, tmp_path: Path
):
    assert_seen_alike(*make(tmp_path), least)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("base", "names", "least"),
    [
        ("gray8.png", ["gray16.png", "float01.tif"], 0.995),
        ("base.png", ["ztxt3mb.png", "badcrc_text.png"], 0.99999),
    ],
)
def test_the_files_that_were_read_wrongly(base: str, names: list[str], least: float, shared: Path):
    folder = shared / "data" / "faults" / "pictures"
    assert_seen_alike(folder / base, [folder / name for name in names], least)


@pytest.mark.thorough
def test_the_palette_that_was_resized_by_nearest_neighbour(shared: Path, tmp_path: Path):
    folder = shared / "data" / "faults" / "pictures"
    with Image.open(folder / "p256.gif") as picture:
        assert_seen_alike(in_plain_rgb(picture, tmp_path), [folder / "p256.gif"], 0.99999)
    one, other = vectors(folder / "base.png", folder / "p256.gif")
    assert one @ other > 0.9


def drawings(folder: Path) -> list[Path]:
    """Black on nothing, black below: as RGBA, as LA and with a palette."""
    shapes = {"ring.png": (0, 300), "fan.png": (20, 120), "cup.png": (0, 180)}
    for name, (start, end) in shapes.items():
        image = Image.new("RGBA", (96, 96))
        ImageDraw.Draw(image).arc((10, 10, 86, 86), start, end, "black", 14)
        if name == "fan.png":
            image = image.convert("LA")
        if name == "cup.png":
            alpha = image.getchannel("A")
            image = Image.new("P", image.size, 1)
            image.putpalette([0, 0, 0, 0, 0, 0])
            image.paste(0, mask=alpha)
            image.save(folder / name, transparency=1)
            continue
        image.save(folder / name)
    return [folder / name for name in shapes]


def assert_distinct(paths: list[Path]) -> None:
    found = vectors(*paths)
    assert (found @ found.T - np.eye(len(paths))).max() < 0.99
    assert run("dedupe", *paths, *TINY, "--level", "near", "-f", "jsonl").rows == []


def test_drawings_on_transparency_are_distinct(tmp_path: Path):
    assert_distinct(drawings(tmp_path))


@pytest.mark.thorough
def test_the_drawings_that_were_all_black(shared: Path):
    folder = shared / "data" / "faults" / "pictures"
    assert_distinct([folder / f"icon_{name}.png" for name in ("circle", "cross", "star")])


@pytest.mark.thorough
@pytest.mark.parametrize("command", [("classify", "-l", "a,b"), ("embed",), ("rank", "-e", "a"), ("dedupe",)])
def test_no_camera_file_is_its_thumbnail(command: tuple[str, ...], shared: Path, tmp_path: Path):
    (tmp_path / "nikon.nef").write_bytes(raw_files.dng(version=False, make="NIKON CORPORATION"))
    (tmp_path / "canon.cr2").write_bytes(b"II*\0\x10\0\0\0CR\x02\0" + bytes(40))
    files = [shared / "data" / "faults" / "pictures" / "photo.dng", tmp_path / "nikon.nef", tmp_path / "canon.cr2"]
    name, *options = command
    result = run(name, *files, *options, *TINY, "-f", "jsonl")
    reasons = {row["image"]: row["error"]["reason"] for row in result.rows if "error" in row}
    assert set(reasons) >= {str(files[0]), str(files[2])}
    assert all("camera raw file" in reason for reason in reasons.values())


def captions(archive: Path) -> Result:
    return run("embed", "--texts-from", archive, *TINY, "-f", "jsonl")


@pytest.mark.thorough
def test_captions_follow_their_image(shared: Path, tmp_path: Path):
    texts = {"2024.05.01.jpg": "first", "v1.2/img.final.png": "second", "plain.webp": "third", "alone.1.png": ""}
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, text in texts.items():
            buffer = io.BytesIO()
            photo().save(buffer, "PNG")
            caption = (f"{name.rpartition('.')[0]}.txt", text.encode())
            for member, content in ((name, buffer.getvalue()), caption):
                if content:
                    info = tarfile.TarInfo(member)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    result = captions(tmp_path / "a.tar")
    assert [row["text"] for row in result.rows] == ["first", "second", "third"]
    assert f"1 of 4 images in {tmp_path / 'a.tar'} have no .txt beside them: alone.1.png" in result.stderr
    given = captions(shared / "data" / "faults" / "tar" / "cap.tar")
    assert (given.code, len(given.rows)) == (0, 3)
    none = captions(shared / "data" / "faults" / "tar" / "dots.tar")
    assert (none.code, "no member of this shard ends in .txt" in none.stderr) == (4, True)
