"""One image on its way to the model, or past it."""

from __future__ import annotations

import os
from pathlib import Path

import pictures
import pytest

from clipcli import images
from clipcli.cache import EmbeddingCache
from clipcli.core.encoder import Preprocessing
from clipcli.errors import ImageError
from clipcli.inputs.collect import ImageRef
from clipcli.session.prepare import Decoded, Known, Preparation, Timings

HOW = Preprocessing((8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("clipcli.cache.store._RACY_SECONDS", -1.0)
    with EmbeddingCache.open(tmp_path / "cache", say=pytest.fail) as opened:
        yield opened


@pytest.fixture
def ref(tmp_path: Path) -> ImageRef:
    pictures.disc("red").save(tmp_path / "a.png")
    return ImageRef(str(tmp_path / "a.png"), "a.png")


def prepare(cache: EmbeddingCache, ref: ImageRef):
    return Preparation(HOW, "m/fp32", cache, Timings()).prepare(ref)


def test_a_known_file_is_not_read(cache, ref, monkeypatch):
    first = prepare(cache, ref)
    assert isinstance(first, Decoded)
    cache.put("m/fp32", [(first.digest, first.pixels[0, 0])])
    monkeypatch.setattr(images, "read", pytest.fail)
    second = prepare(cache, ref)
    assert isinstance(second, Known)
    assert second.digest == first.digest


def test_an_error_does_not_hold_on_to_pixels(cache, tmp_path):
    """Its traceback would: a hundred truncated photos that wait for their turn took all memory."""
    pictures.disc("red").save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    error = prepare(cache, ImageRef(str(tmp_path / "a.jpg"), "a.jpg"))
    assert isinstance(error, ImageError)
    assert error.reason.startswith("truncated")
    assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)


def test_a_known_content_under_a_new_name_is_read_and_not_decoded(cache, ref, tmp_path, monkeypatch):
    first = prepare(cache, ref)
    cache.put("m/fp32", [(first.digest, first.pixels[0, 0])])
    (tmp_path / "b.png").write_bytes(Path(ref.path).read_bytes())
    monkeypatch.setattr(images, "decode", pytest.fail)
    assert isinstance(prepare(cache, ImageRef(str(tmp_path / "b.png"), "b.png")), Known)


def test_a_file_that_changes_while_it_is_read_is_not_remembered(cache, ref, tmp_path, monkeypatch):
    real = images.read_ref

    def read_and_change(ref: ImageRef) -> bytes:
        data = real(ref)
        pictures.square("blue", (50, 50)).save(ref.path)
        return data

    with monkeypatch.context() as patch:
        patch.setattr(images, "read_ref", read_and_change)
        before = prepare(cache, ref)
    cache.put("m/fp32", [(before.digest, before.pixels[0, 0])])
    after = prepare(cache, ref)
    assert isinstance(after, Decoded)
    assert after.digest != before.digest
    assert cache.known_digest(ref.path, os.stat(ref.path)) is None
    cache.put("m/fp32", [])
    assert cache.known_digest(ref.path, Path(ref.path).stat()) == after.digest


@pytest.mark.parametrize(("name", "stage"), [("absent.png", "read"), ("a\0b.png", "read"), ("text.png", "decode")])
def test_what_cannot_be_used_is_a_result(cache, tmp_path, name, stage):
    (tmp_path / "text.png").write_text("no picture")
    found = prepare(cache, ImageRef(str(tmp_path / name), name))
    assert isinstance(found, ImageError)
    assert found.stage == stage


def test_a_known_problem_needs_no_look(cache, monkeypatch):
    monkeypatch.setattr(images, "read", pytest.fail)
    found = prepare(cache, ImageRef("locked", "locked", problem="permission denied"))
    assert isinstance(found, ImageError)
    assert found.reason == "permission denied"
