"""Shards, tables and servers for tests of what is no file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pictures
import pytest
import web_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PIL import Image

COLOURS = ("red", "green", "blue", "yellow")


def png(picture: Image.Image) -> bytes:
    """A picture as a file."""
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


@pytest.fixture(scope="session")
def images() -> dict[str, bytes]:
    """Five pictures by name."""
    drawn = [*map(pictures.square, COLOURS), pictures.disc("red")]
    return {f"{number:06d}.png": png(picture) for number, picture in enumerate(drawn)}


@pytest.fixture
def web() -> Iterator[web_server.Web]:
    """A web server, empty at first."""
    with web_server.serve(web_server.Web()) as web:
        yield web


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr("clipcli.inputs.sources.filesystems._FIRST_WAIT", 0.001)
    monkeypatch.setattr("clipcli.inputs.sources.filesystems._LONGEST_WAIT", 0.002)


@pytest.fixture
def shard(tmp_path: Path, images: dict[str, bytes]) -> Path:
    """A shard with captions, by webdataset itself."""
    webdataset = pytest.importorskip("webdataset")
    path = tmp_path / "00000.tar"
    with webdataset.TarWriter(str(path)) as writer:
        for number, data in enumerate(images.values()):
            record = {"caption": f"square {number}"}
            writer.write({"__key__": f"{number:06d}", "png": data, "txt": f"a square, {number}", "json": record})
    return path
