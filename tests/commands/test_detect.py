"""`detect`, the coarse way: boxes in pixels of the upright picture."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run import assert_one_error, run


@pytest.fixture
def detect(random_model: str):
    def call(*arguments: str | Path):
        return run("detect", *arguments, "-m", random_model, "--engine", "openclip", "--format", "jsonl")

    return call


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    Image.effect_noise((120, 60), 80).convert("RGB").save(tmp_path / "wide.png")
    return tmp_path / "wide.png"


def test_rows_have_boxes_in_the_picture_best_first(detect, wide: Path):
    result = detect(wide, "-l", "disc,square", "--threshold", "0.0", "--multi-label")
    assert result.code == 0, result.stderr
    assert "coarse boxes" in result.stderr
    assert {row["label"] for row in result.rows} == {"disc", "square"}
    scores = [row["score"] for row in result.rows]
    assert scores == sorted(scores, reverse=True)
    for row in result.rows:
        assert list(row) == ["image", "label", "score", "box"]
        x0, y0, x1, y1 = row["box"]
        assert 0 <= x0 < x1 <= 120
        assert 0 <= y0 < y1 <= 60


def test_a_threshold_leaves_boxes_out(detect, wide: Path):
    asked = (wide, "-l", "disc,square", "--multi-label")
    every = detect(*asked, "--threshold", "0.0").rows
    best = every[0]["score"]
    some = detect(*asked, "--threshold", str(best - 1e-5)).rows
    assert some[0] == every[0]
    assert len(some) < len(every)
    assert detect(wide, "-l", "disc,square", "--threshold", "1.0").rows == []


def test_boxes_are_of_the_upright_picture(detect, wide: Path, tmp_path: Path):
    """A picture that lies on its side, with the tag that says so, has the boxes of the upright one."""
    lying, exif = Image.open(wide).transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    lying.save(tmp_path / "lying.png", exif=exif)
    asked = ("-l", "disc,square", "--threshold", "0.0")
    upright, turned = detect(wide, *asked).rows, detect(tmp_path / "lying.png", *asked).rows
    assert [row["box"] for row in turned] == [row["box"] for row in upright]


def test_crops_are_what_is_in_the_boxes(detect, wide: Path, tmp_path: Path):
    (tmp_path / "crops").mkdir()
    rows = detect(wide, "-l", "disc/square", "--threshold", "0.0", "--crops", tmp_path / "crops").rows
    files = sorted((tmp_path / "crops").iterdir())
    assert len(files) == len(rows)
    for file, row in zip(files, rows, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(file)), np.asarray(Image.open(wide).crop(row["box"])))


def test_a_bad_image_is_a_row(detect, wide: Path, tmp_path: Path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    result = detect(tmp_path / "broken.jpg", wide, "-l", "disc", "--threshold", "0.0")
    assert result.code == 3
    assert result.rows[0]["error"]["stage"] == "decode"
    assert len(result.rows) > 1


def test_what_does_not_go_is_said(detect, wide: Path, tmp_path: Path):
    assert_one_error(detect(wide, "-l", "disc", "--crops", tmp_path / "gone"), "is not a folder", code=2)
    assert detect(wide).code == 2


def test_coco_is_what_pycocotools_reads(random_model: str, wide: Path, tmp_path: Path):
    """The boxes of a first run are the truth that a second run is held against: it is right everywhere."""
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    Image.new("RGB", (40, 40)).save(tmp_path / "plain.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    asked = ("detect", wide, tmp_path / "broken.png", tmp_path / "plain.png", "-l", "disc,square", "-m", random_model)
    rows = run(*asked, "--engine", "openclip", "--format", "jsonl", "--threshold", "0.1").rows
    result = run(*asked, "--engine", "openclip", "--format", "coco", "-o", tmp_path / "b.json", "--threshold", "0.1")
    assert result.code == 3
    truth = coco.COCO(str(tmp_path / "b.json"))
    assert [image["file_name"] for image in truth.loadImgs(truth.getImgIds())] == [
        str(wide), str(tmp_path / "plain.png")
    ]  # fmt: skip
    assert [(image["width"], image["height"]) for image in truth.imgs.values()] == [(120, 60), (40, 40)]
    assert [category["name"] for category in truth.cats.values()] == ["disc", "square"]
    boxes = [row for row in rows if "box" in row]
    written = truth.dataset["annotations"]
    assert [(box["bbox"][0] + box["bbox"][2], box["bbox"][1] + box["bbox"][3]) for box in written] == [
        tuple(row["box"][2:]) for row in boxes
    ]
    assert [truth.cats[box["category_id"]]["name"] for box in written] == [row["label"] for row in boxes]
    judged = evaluation.COCOeval(
        truth, truth.loadRes(json.loads((tmp_path / "b.json").read_text())["annotations"]), "bbox"
    )
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    assert judged.stats[0] == pytest.approx(1.0)


def test_coco_without_a_box(detect, random_model: str, wide: Path):
    result = run("detect", wide, "-l", "disc", "-m", random_model, "--format", "coco", "--threshold", "1.0")
    document = json.loads(result.stdout)
    assert (len(document["images"]), document["annotations"]) == (1, [])
    assert document["categories"] == [{"id": 1, "name": "disc"}]


def test_a_page_has_the_boxes_drawn(detect, wide: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    result = detect(wide, "-l", "disc,<b>square", "--threshold", "0.0", "--report", page)
    assert result.code == 0, result.stderr
    rows = result.rows
    text = page.read_text("utf-8")
    assert "<b>square" not in text
    assert "&lt;b&gt;square" in text
    uris = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    assert len(uris) == len({row["label"] for row in rows})
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(uris[0]))).convert("RGB")).astype(int)
    assert shown.shape == (60, 120, 3)
    x0, y0, x1, _ = next(row for row in rows if row["label"] == "disc")["box"]
    line = shown[y0 + 1 : y0 + 3, x0 + 3 : x1 - 3]
    assert (line[..., 0] - line[..., 1]).mean() > 60  # red, as far as JPEG keeps thin lines on noise
    assert 'href="./wide.png"' in text
    assert_one_error(detect(wide, "-l", "disc", "--report", tmp_path / "page.txt"), "--report FILE.html", code=2)


@pytest.mark.thorough
def test_tiny_finds_what_is_pasted_on_a_scene(shared: Path, tmp_path: Path):
    """One banana in the right third of a grey picture."""
    picture = next((shared / "data" / "photos" / "grocery").glob("*anana*/*.jpg"), None)
    if picture is None:
        pytest.skip("needs a photo of a banana")
    scene = Image.new("RGB", (600, 220), (120, 125, 130))
    scene.paste(Image.open(picture).convert("RGB").resize((180, 180)), (400, 20))
    scene.save(tmp_path / "scene.png")
    result = run("detect", tmp_path / "scene.png", "-l", "banana", "-m", "tiny", "--format", "jsonl", "-q")
    assert result.code == 0, result.stderr
    x0, _, x1, _ = result.rows[0]["box"]
    assert x0 >= 250  # coarse: it is not in the other half
    assert x1 > 400
