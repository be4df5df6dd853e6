"""docs/product-search.md with a catalogue of known answers: titles and prices arrive with the right pictures."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from run import ROOT, run

from clipcli.models import spec

PRODUCTS = {"apple": 1.5, "banana": 0.5, "car": 9000, "cat": 80, "dog": 90, "house": 250000, "tree": 45}

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(not (spec.TINY_FOLDER / spec.MANIFEST).is_file(), reason="the embedded model is not built"),
]


@pytest.fixture(params=["csv", "jsonl", "parquet"])
def catalogue(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table of drawings with titles and prices; one row has no picture."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    rows = []
    for number, (name, price) in enumerate(PRODUCTS.items()):
        shutil.copy(ROOT / "examples" / f"{name}.png", tmp_path / "photos")
        rows.append({"sku": f"S{number}", "photo": f"photos/{name}.png", "title": f"The {name}", "price": price})
    rows.append({"sku": "S99", "photo": "photos/lost.png", "title": "Lost", "price": 1.0})
    name = f"catalogue.{request.param}"
    if request.param == "csv":
        with Path(name).open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif request.param == "jsonl":
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet

        prices = pa.array([float(row["price"]) for row in rows])
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows).set_column(3, "price", prices), name)
    return name


def search(*arguments: str) -> list[dict]:
    result = run("rank", *arguments, "-m", "tiny", "--keep", "sku,title,price", "--format", "jsonl")
    assert result.code in {0, 3}, result.stderr
    return [row for row in result.rows if "error" not in row]


def test_words_pictures_both_and_a_filter(catalogue: str):
    first = search("an apple", catalogue, "-k", "2")
    assert (first[0]["title"], float(first[0]["price"])) == ("The apple", 1.5)
    shutil.copy(ROOT / "examples" / "dog.png", "asked.png")
    assert search("--image", "asked.png", catalogue, "-k", "1")[0]["title"] == "The dog"
    assert {row["title"] for row in search("./asked.png + an apple", catalogue, "-k", "2")} == {"The dog", "The apple"}
    cheap = search("a car", catalogue, "--where", "price < 100 and sku != 'S99'", "--all")
    assert {row["title"] for row in cheap} == {"The apple", "The banana", "The cat", "The dog", "The tree"}
    assert all(f"photos/{row['title'].removeprefix('The ')}.png" == row["image"] for row in cheap)
    expected = float if catalogue != "catalogue.csv" else str
    assert isinstance(cheap[0]["price"], (expected, int) if catalogue == "catalogue.jsonl" else expected)


def test_a_row_without_a_picture_keeps_its_key(catalogue: str):
    result = run("rank", "a dog", catalogue, "-m", "tiny", "--keep", "sku", "--format", "jsonl")
    assert result.code == 3
    assert [row["sku"] for row in result.rows if "error" in row] == ["S99"]


def test_categories_go_on_to_select(catalogue: str):
    run("classify", catalogue, "-l", "fruit,animal,car", "-m", "tiny", "--keep", "sku,price", "-o", "categories.csv")
    done = run("select", "categories.csv", "--where", "price < 5", "--copy-to", "cheap")
    assert done.code == 0, done.stderr
    assert sorted(path.name for path in Path("cheap").rglob("*.png")) == ["apple.png", "banana.png"]
