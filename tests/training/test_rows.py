from __future__ import annotations

import io
import json
import zipfile

import pytest
from PIL import Image

from training import packages
from training.rows import Reader, Row, icon_name, rows_of
from training.sources import Archive

CAT = {"body": '<circle cx="8" cy="8" r="6"/>'}


@pytest.fixture
def work(tmp_path):
    """Icon sets that all draw a cat, one of which writes no hyphens."""
    for style in (*packages.EMOJI, *packages.ICONS):
        (packages.folder(tmp_path) / style).mkdir(parents=True)
        icons = {"hotdog" if style == "fxemoji" else "hot-dog": CAT, "cat": CAT}
        (packages.folder(tmp_path) / style / "icons.json").write_text(json.dumps({"icons": icons}))
    with zipfile.ZipFile(tmp_path / "pens.zip", "w") as archive:
        picture = io.BytesIO()
        Image.new("RGB", (8, 8), "white").save(picture, "PNG")
        for name in ("sketch of a cat/1.png", "sketch of a hot dog/1.png", "cat/1.png"):
            archive.writestr(name, picture.getvalue())
    return tmp_path


def test_icons_join_the_sketches_of_the_same_thing(work):
    rows = rows_of([Archive(work / "pens.zip")], work)
    icons = [row for row in rows if row.set.startswith("icons/")]
    assert {row.labels for row in icons} == {("sketch of a cat",), ("sketch of a hot dog",)}
    assert len(icons) == 2 * (len(packages.EMOJI) + len(packages.ICONS) - 1)
    assert not any(row.source == packages.KEPT_OUT_STYLE for row in icons)
    assert {row.kind for row in icons} == {"lines"}
    assert rows == rows_of([Archive(work / "pens.zip")], work)


def test_every_row_can_be_opened(work):
    pytest.importorskip("resvg_py")
    archives = [Archive(work / "pens.zip")]
    reader = Reader(archives, work)
    for row in rows_of(archives, work):
        assert reader.read(row).mode in {"RGB", "RGBA"}


@pytest.mark.parametrize(("of_set", "label", "kind"), [
    ("emoji/twemoji", "cat", "emoji"), ("pacs", "sketch of a cat", "lines"), ("pacs", "cartoon of a cat", "photo"),
    ("small_sets/silhouettes", "black silhouette of a cat", "lines"),
])  # fmt: skip
def test_how_a_picture_may_be_changed(of_set, label, kind):
    assert Row("a.zip", "x.png", of_set, (label,), held_out=False).kind == kind


def test_icon_names():
    assert icon_name("Woman's Hat") == "womans-hat"
    assert icon_name("top_arrow") == "top-arrow"
