"""`score` as a user runs it: every score is of its own pair, whatever stands around it."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import open_clip
import pictures
import pytest
import torch
from PIL import Image
from run import assert_one_error, run

TEXTS = {"red": "a red disc", "green": "a green disc", "blue": "a blue disc, on white", "yellow": "the sun"}


@pytest.fixture
def score(random_model: str):
    """Run score with the small random model."""

    def call(*arguments: str | Path, stdin: bytes = b""):
        return run("score", "-m", random_model, "--engine", "openclip", *arguments, stdin=stdin)

    return call


@pytest.fixture(scope="module")
def expected(random_model: str):
    """What open_clip itself makes of a picture and a text."""
    model, _, transform = open_clip.create_model_and_transforms(random_model)
    tokenizer = open_clip.get_tokenizer(random_model)
    model.eval()

    def dot(picture: Image.Image, text: str) -> float:
        with torch.no_grad():
            image = model.encode_image(transform(picture.convert("RGB"))[None], normalize=True)
            words = model.encode_text(tokenizer([text]), normalize=True)
        return float(image @ words.T)

    return dot


def png(picture: Image.Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def shard(path: Path, members: dict[str, bytes] | list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items() if isinstance(members, dict) else members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """A shop's table beside its pictures: one is missing, one row has no title."""
    (tmp_path / "photos").mkdir()
    lines = []
    for number, (colour, text) in enumerate(TEXTS.items()):
        pictures.disc(colour).save(tmp_path / "photos" / f"{colour}.png")
        lines.append((f"00{number}", f"photos/{colour}.png", text, str(number * 20)))
    lines[2:2] = [("010", "photos/lost.png", "a lost one", "1"), ("011", "photos/red.png", "", "2")]
    with (tmp_path / "catalogue.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("sku", "photo", "title", "price"), *lines])
    return tmp_path / "catalogue.csv"


def test_a_shard_pairs_each_image_with_its_own_text(score, expected, tmp_path: Path):
    good = {name: pictures.disc(name) for name in TEXTS}
    members = {
        "22.05.png": png(good["red"]), "22.05.txt": TEXTS["red"].encode(),
        "22.png": png(good["red"])[:200], "22.txt": b"the text of a damaged picture",
        "lonely.png": png(good["green"]),
        "22.5.png": png(good["green"]), "22.5.txt": TEXTS["green"].encode(),
        "a/22.txt": TEXTS["blue"].encode(), "a/22.png": png(good["blue"]),
        "s.left.png": png(good["yellow"]), "s.right.png": png(good["red"]), "s.txt": TEXTS["yellow"].encode(),
        "empty.png": png(good["red"]), "empty.txt": b" \n",
        "bytes.png": png(good["red"]), "bytes.txt": b"\xff\xfe",
        "no.json": b"{}",
    }  # fmt: skip
    result = score(shard(tmp_path / "0.tar", members), "--format", "jsonl")
    assert result.code == 3, result.stderr
    rows = {row["image"].partition(".tar/")[2]: row for row in result.rows}
    assert list(rows) == [name for name in members if name.endswith(".png")]
    pairs = {"22.05.png": "red", "22.5.png": "green", "a/22.png": "blue", "s.left.png": "yellow"}
    for name, colour in pairs.items():
        assert rows[name]["text"] == TEXTS[colour]
        assert rows[name]["score"] == pytest.approx(expected(good[colour], TEXTS[colour]), abs=1e-5), name
    assert rows["s.right.png"]["score"] == pytest.approx(expected(good["red"], TEXTS["yellow"]), abs=1e-5)
    assert rows["22.png"]["error"]["stage"] == "decode"
    assert rows["22.png"]["text"] == "the text of a damaged picture"
    assert "no text" in rows["lonely.png"]["error"]["reason"]
    assert "no text" in rows["empty.png"]["error"]["reason"]
    assert "not UTF-8" in rows["bytes.png"]["error"]["reason"]
    assert "scores" not in rows["22.05.png"]


def test_a_name_that_stands_twice_never_mispairs(score, expected, tmp_path: Path):
    red, blue = pictures.disc("red"), pictures.disc("blue")
    twice = [("a.png", png(red)), ("a.txt", b"red"), ("a.png", png(blue)), ("a.txt", b"blue")]
    rows = score(shard(tmp_path / "0.tar", twice), "--format", "jsonl").rows
    assert [row["text"] for row in rows] == ["red", "blue"]
    assert rows[1]["score"] == pytest.approx(expected(blue, "blue"), abs=1e-5)
    result = score(shard(tmp_path / "1.tar", twice[:3]), "--format", "jsonl")
    assert [list(row) for row in result.rows] == [["image", "error"]] * 2
    assert "1 texts and 2 images" in result.rows[0]["error"]["reason"]


def test_texts_of_json_members_and_of_a_folder(score, tmp_path: Path):
    record = json.dumps({"caption": "a disc", "id": 3}).encode()
    file = shard(tmp_path / "0.tar", {"a.png": png(pictures.disc("red")), "a.json": record})
    (row,) = score(file, "--text", "json:caption", "--format", "jsonl").rows
    assert row["text"] == "a disc"
    assert "no text in label" in score(file, "--text", "json:label").stderr
    (tmp_path / "folder").mkdir()
    pictures.disc("red").save(tmp_path / "folder" / "x.y.png")
    (tmp_path / "folder" / "x.y.txt").write_text("a disc\n", encoding="utf-8")
    pictures.disc("red").save(tmp_path / "folder" / "z.png")
    result = score(tmp_path / "folder", "--format", "jsonl")
    assert result.rows[0] == {"image": str(tmp_path / "folder" / "x.y.png"), "text": "a disc", "score": row["score"]}
    assert "it has no .txt file" in result.rows[1]["error"]["reason"]


def rewritten(catalogue: Path, form: str) -> Path:
    """The same table in another format, with numbers as numbers where it has them."""
    rows: list[dict[str, Any]] = list(csv.DictReader(catalogue.open(encoding="utf-8")))
    target = catalogue.with_suffix(f".{form}")
    if form == "tsv":
        target.write_text(catalogue.read_text(encoding="utf-8").replace(",", "\t").replace('"', ""), encoding="utf-8")
    if form == "jsonl":
        target.write_text("".join(json.dumps(row | {"price": int(row["price"])}) + "\n" for row in rows), "utf-8")
    if form == "parquet":
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet

        table = pa.Table.from_pylist([row | {"price": int(row["price"])} for row in rows])
        pyarrow.parquet.write_table(table, target, row_group_size=2)
    return target


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_a_table_keeps_its_columns_and_order(score, expected, catalogue: Path, form: str):
    table = rewritten(catalogue, form)
    result = score(table, "--image", "photo", "--keep", "sku,price", "--format", "jsonl")
    assert result.code == 3
    assert [row["sku"] for row in result.rows] == ["000", "001", "010", "011", "002", "003"]
    assert [row["price"] for row in result.rows][1] == (20 if form in {"jsonl", "parquet"} else "20")
    assert [("error" in row, row.get("text")) for row in result.rows[2:4]] == [(True, "a lost one"), (True, None)]
    for row in (row for row in result.rows if "error" not in row):
        picture = Image.open(row["image"])
        assert row["score"] == pytest.approx(expected(picture, row["text"]), abs=1e-5)
        assert list(row) == ["image", "text", "score", "sku", "price"]


def test_every_format_has_the_columns_of_the_table(score, catalogue: Path, tmp_path: Path):
    options = (catalogue, "--text", "title", "--keep", "all")
    rows = score(*options, "--format", "jsonl").rows
    assert list(rows[0]) == ["image", "text", "score", "sku", "price"]
    table = list(csv.DictReader(io.StringIO(score(*options, "--format", "csv").stdout)))
    assert [(row["sku"], row["image"]) for row in table] == [(row["sku"], row["image"]) for row in rows]
    assert table[2]["error"].startswith("read: ")
    assert table[0]["error"] == ""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    score(*options, "-o", tmp_path / "scores.parquet")
    file: Any = pyarrow.parquet.read_table(tmp_path / "scores.parquet")
    assert file.schema.field("score").type == pa.float64()
    assert file.column("sku").to_pylist() == [row["sku"] for row in rows]


def test_a_column_with_the_name_of_one_of_ours_gets_another(score, tmp_path: Path):
    pictures.disc("red").save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("path,text,score,error\na.png,red,5,none\n", encoding="utf-8")
    (row,) = score(tmp_path / "t.csv", "--keep", "score,error", "--format", "jsonl").rows
    assert (row["table_score"], row["table_error"]) == ("5", "none")
    assert isinstance(row["score"], float)


def test_filters(score, catalogue: Path):
    rows = [row for row in score(catalogue, "--format", "jsonl").rows if "error" not in row]
    limit = sorted(row["score"] for row in rows)[1]
    kept = score(catalogue, "--min-score", f"{limit - 1e-6:.9f}", "--format", "jsonl")
    assert [row for row in kept.rows if "error" not in row] == [row for row in rows if row["score"] >= limit]
    assert "3 reach" in kept.stderr
    best = score(catalogue, "--top-share", "0.5", "--keep", "sku", "--format", "jsonl")
    two = sorted(row["score"] for row in rows)[-2:]
    assert [row["image"] for row in best.rows if "error" not in row] == [
        row["image"] for row in rows if row["score"] in two
    ]
    assert all("sku" in row for row in best.rows)


def test_a_check_names_what_fails_it(score, catalogue: Path, tmp_path: Path):
    report = tmp_path / "junit.xml"
    options = ("--min-score", "0.999", "--fail-under", "0.5")
    result = score(catalogue, *options, "--report", report, "--format", "jsonl")
    assert result.code == 1
    assert [row["ok"] for row in result.rows if "error" not in row] == [False] * 4
    assert "check fails: 0 of 6 pairs reach 0.999, 0.0%, needed 50.0%" in result.stderr
    assert "is below 0.999: a red disc" in result.stderr
    assert report.read_text(encoding="utf-8").count("<failure") == 6 - report.read_text("utf-8").count("<error")
    assert len(score(catalogue, *options, "--paths").lines) == 4
    assert score(catalogue, "--min-score", "-1", "--fail-under", "0.6").code == 3
    assert score(catalogue, "--min-score", "-1", "--fail-under", "0.9").code == 1


@pytest.mark.thorough
def test_several_models_and_prompts(score, random_model: str, catalogue: Path):
    plain = [row for row in score(catalogue, "--format", "jsonl").rows if "error" not in row]
    result = run("score", catalogue, "-m", random_model, "-m", "tiny", "--format", "jsonl")
    both = [row for row in result.rows if "error" not in row]
    for row, alone in zip(both, plain, strict=True):
        assert list(row["scores"]) == [random_model, "tiny"]
        assert row["score"] == row["scores"][random_model] == pytest.approx(alone["score"], abs=2e-6)
    prompted = [row for row in score(catalogue, "-p", "photo", "--format", "jsonl").rows if "error" not in row]
    assert [row["text"] for row in prompted] == [row["text"] for row in plain]
    assert [row["score"] for row in prompted] != [row["score"] for row in plain]


def test_rows_of_a_table_that_cannot_be_read_are_rows(score, tmp_path: Path):
    pictures.disc("red").save(tmp_path / "a.png")
    lines = ['{"image": "a.png", "text": "red"}', "no json", "[1]", '{"image": 3, "text": "x"}', '{"text": "y"}']
    (tmp_path / "t.jsonl").write_text("\n".join([*lines, lines[0]]) + "\n", encoding="utf-8")
    result = score(tmp_path / "t.jsonl", "--format", "jsonl")
    assert ["error" in row for row in result.rows] == [False, True, True, True, True, False]
    assert [Path(row["image"]).name for row in result.rows[1:4]] == ["1", "2", "3"]
    (tmp_path / "t.csv").write_text("image;text\na.png;red, round\na.png;b;c\n\na.png\n", encoding="utf-8")
    result = score(tmp_path / "t.csv", "--format", "jsonl")
    assert [row.get("text") for row in result.rows] == ["red, round", "b", None]
    assert "3 fields in a table of 2 columns" in result.rows[1]["error"]["reason"]


def test_what_cannot_be_used_is_said_in_one_line(score, catalogue: Path, tmp_path: Path):
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "twice.csv").write_text("a,a\n1,2\n", encoding="utf-8")
    assert_one_error(score(catalogue, "--text", "nmae"), "has no column nmae", "title", code=4)
    assert_one_error(score(catalogue, "--keep", "prize"), "has no column prize", "price", code=4)
    assert_one_error(score(tmp_path / "twice.csv"), "two columns are called a", code=4)
    assert score(tmp_path / "empty.csv").code == score(tmp_path / "empty.jsonl").code == 4
    assert score(tmp_path / "lost.csv").code == 4
    assert_one_error(score(), "no pairs given", code=2)
    assert_one_error(score(catalogue, "--fail-under", "0.5"), "--fail-under needs", code=2)
    several = score(tmp_path / "empty.csv", catalogue, "--format", "jsonl")
    assert several.code == 3
    assert len(several.rows) == 7
