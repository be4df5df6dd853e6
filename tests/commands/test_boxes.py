"""`classify --boxes`: each region gets what a picture of it alone would get."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run import assert_one_error, run

LABELS = ("-l", "disc,square", "--format", "jsonl")


@pytest.fixture
def classify(random_model: str):
    def call(*arguments: str | Path):
        return run("classify", *arguments, *LABELS, "-m", random_model, "--engine", "openclip")

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two pictures, the second on its side with the tag that says so."""
    (tmp_path / "in").mkdir()
    for seed, name in enumerate(("a.png", "b.png")):
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
        image, exif = Image.fromarray(coarse).resize((120, 80), Image.Resampling.BICUBIC), Image.Exif()
        exif[0x0112] = 6 if seed else 1
        image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "in" / name, exif=exif) if seed else image.save(
            tmp_path / "in" / name
        )
    return tmp_path / "in"


BOXES = {"a.png": [[10, 5, 60, 50], [60, 20, 120, 80]], "b.png": [[0, 0, 40, 40]]}


@pytest.fixture
def expected(classify, photos: Path, tmp_path: Path) -> list[dict]:
    """What `classify` says of the cut-out pictures."""
    (tmp_path / "cut").mkdir()
    rows = []
    for name, boxes in BOXES.items():
        image = Image.open(photos / name)
        upright = image.transpose(Image.Transpose.ROTATE_270) if name == "b.png" else image
        for number, box in enumerate(boxes):
            path = tmp_path / "cut" / f"{number}-{name}"
            upright.crop(box).save(path)
            row = classify(path).rows[0]
            rows.append({**row, "image": name, "box": box})
    return rows


def same(rows: list[dict], expected: list[dict]) -> bool:
    keys = ("image", "label", "box")
    np.testing.assert_allclose([row["score"] for row in rows], [row["score"] for row in expected], atol=1e-5)
    return [[row[key] for key in keys] for row in rows] == [[row[key] for key in keys] for row in expected]


def test_rows_of_detect(classify, photos: Path, expected: list[dict]):
    lines = [{"image": name, "label": "x", "score": 1.0, "box": box} for name, boxes in BOXES.items() for box in boxes]
    lines.insert(1, {"image": "gone.png", "error": {"stage": "read", "reason": "no such file"}})
    (photos / "boxes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = classify("--boxes", photos / "boxes.jsonl")
    assert result.code == 0, result.stderr
    assert same(result.rows, expected)


def test_a_coco_file(classify, photos: Path, expected: list[dict]):
    document = {
        "images": [{"id": 7, "file_name": "a.png", "width": 120, "height": 80}, {"id": 3, "file_name": "b.png"}],
        "annotations": [
            {"id": 1, "image_id": image, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
            for image, name in ((7, "a.png"), (3, "b.png"))
            for x0, y0, x1, y1 in BOXES[name]
        ],
        "categories": [{"id": 1, "name": "thing"}],
    }
    (photos / "boxes.json").write_text(json.dumps(document))
    result = classify("--boxes", photos / "boxes.json")
    assert result.code == 0, result.stderr
    assert same(result.rows, expected)


def test_what_cannot_be_cut_is_a_row(classify, photos: Path):
    lines = [("gone.png", [0, 0, 5, 5]), ("a.png", [500, 500, 600, 600]), ("b.png", [-5, -5, 1000, 1000])]
    (photos / "b.jsonl").write_text("".join(json.dumps({"image": name, "box": box}) + "\n" for name, box in lines))
    result = classify("--boxes", photos / "b.jsonl")
    assert result.code == 3
    assert result.rows[0]["error"]["reason"] == "no such file"
    assert "lies outside of its 120 by 80 pixels" in result.rows[1]["error"]["reason"]
    assert result.rows[2]["box"] == [0, 0, 120, 80]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"image": "a.png", "box": [1, 2, 3]}', "b.jsonl:1: box should have 4 values"),
        ('{"image": "a.png", "box": [5, 5, 5, 9]}', "b.jsonl:1: an empty box"),
        ("no json", "b.jsonl:1: not JSON"),
        ("", "holds no boxes"),
    ],
)
def test_bad_files(classify, tmp_path: Path, text: str, words: str):
    (tmp_path / "b.jsonl").write_text(text)
    assert_one_error(classify("--boxes", tmp_path / "b.jsonl"), words, code=4)


def test_what_does_not_go_with_boxes(classify, photos: Path):
    (photos / "b.jsonl").write_text('{"image": "a.png", "box": [1, 2, 30, 40]}')
    assert_one_error(classify(photos, "--boxes", photos / "b.jsonl"), "--boxes and images do not go together", code=2)
