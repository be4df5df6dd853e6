"""Stdin: a list of paths, or one image, told by its first bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from clipcli.errors import InputsError
from clipcli.inputs import listed_paths
from clipcli.inputs.listed_paths import read_list
from clipcli.inputs.sources import ImageRef


class Slow(io.BytesIO):
    """A pipe whose writer lets out a few bytes at a time."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(min(5, size or 5))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str | ImageRef]]:
    def read(data: bytes, *, null: bool = False, stream: type[io.BytesIO] = io.BytesIO) -> list[str | ImageRef]:
        monkeypatch.setattr(listed_paths, "_stdin", lambda: stream(data))
        return list(read_list("-", null=null))

    return read


@pytest.mark.parametrize("stream", [io.BytesIO, Slow])
@pytest.mark.parametrize(
    "form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "JPEG2000", "AVIF", "DDS", "QOI", "ICNS"]
)
def test_the_bytes_of_an_image_are_an_image(read, form: str, stream: type[io.BytesIO]):
    buffer = io.BytesIO()
    try:
        Image.new("RGB", (64, 64), "red").save(buffer, form)
    except (KeyError, OSError) as error:
        pytest.skip(f"this Pillow writes no {form}: {error}")
    (ref,) = read(buffer.getvalue(), stream=stream)
    assert (ref.name, ref.problem, ref.source.size) == ("-", None, len(buffer.getvalue()))
    assert ref.source.read() == buffer.getvalue()
    assert read(buffer.getvalue(), null=True, stream=stream)[0] == ref


@pytest.mark.parametrize("stream", [io.BytesIO, Slow])
@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"a.png\nb.png\n", ["a.png", "b.png"]),
        (b"BMW.png\n", ["BMW.png"]),
        (b"P6\nP5 cat.png\n", ["P6", "P5 cat.png"]),
        (b"GIF8\nRIFF\n", ["GIF8", "RIFF"]),
        (b"qoif/a.png\n", ["qoif/a.png"]),
        (b"II.tif", ["II.tif"]),
        (b"\xff.png\r\n", ["\udcff.png"]),
        (b"", []),
        (b"\n\n", []),
    ],
)
def test_lists_stay_lists(read, data: bytes, names: list[str], stream: type[io.BytesIO]):
    assert read(data, stream=stream) == names


def test_a_list_is_let_out_as_it_arrives(monkeypatch: pytest.MonkeyPatch):
    class Waits(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            block = self.readline()
            assert block, "the second block was asked for before the first path was out"
            return block

    monkeypatch.setattr(listed_paths, "_stdin", lambda: Waits(b"a.png\n"))
    assert next(iter(read_list("-", null=False))) == "a.png"


@pytest.mark.parametrize("many", [2, 20_000])
def test_a_list_of_the_other_kind_is_one_short_line(read, many: int):
    with pytest.raises(InputsError, match="standard input: the paths are separated by NUL bytes") as caught:
        read(b"photos/a.png\0" * many)
    assert len(caught.value.message) < 80
    assert caught.value.hint == "add -0 to read such a list"


def test_the_same_of_a_file(tmp_path: Path):
    (tmp_path / "list").write_bytes(b"a\0b\0")
    with pytest.raises(InputsError, match="separated by NUL bytes"):
        list(read_list(str(tmp_path / "list"), null=False))
    assert list(read_list(str(tmp_path / "list"), null=True)) == ["a", "b"]
