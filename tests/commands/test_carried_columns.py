"""Columns of a table that `embed` carries into files of vectors."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pictures
import pytest
from run import ROOT, assert_one_error, command, run

from clipcli.models import spec
from clipcli.vectorfiles import VECTOR_FORMATS, open_vectors


@pytest.fixture
def clip(random_model: str):
    """Run a command with the small random model."""

    def call(name: str, *arguments: str | Path, stdin: bytes = b""):
        return run(name, *arguments, "-m", random_model, "--engine", "openclip", stdin=stdin)

    return call


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A JSON Lines table beside its pictures; the third row's picture is missing."""
    lines = []
    for number, colour in enumerate(pictures.COLOURS):
        pictures.disc(colour).save(tmp_path / f"{colour}.png")
        lines.append(
            {"sku": f"0{number}", "photo": f"{colour}.png", "image": colour, "price": number + 0.5, "tags": [1]}
        )
    lines[2]["photo"] = "lost.png"
    (tmp_path / "shop.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return tmp_path / "shop.jsonl"


@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
def test_embed_carries_columns_into_every_format(clip, shop: Path, tmp_path: Path, suffix: str):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"v.{suffix}"
    result = clip("embed", shop, "--column", "photo", "--keep", "price,image,tags", "-o", out)
    assert result.code == 3, result.stderr
    file = open_vectors(out)
    assert [column.name for column in file.info.columns] == ["price", "table_image", "tags"]
    rows = [{"price": n + 0.5, "table_image": list(pictures.COLOURS)[n], "tags": [1]} for n in (0, 1, 3)]
    assert list(file.fields) == rows
    (lost,) = file.failures
    if suffix == "csv":
        assert lost.fields["price"] == "2.5"
    else:
        assert lost.fields == {"price": 2.5, "table_image": list(pictures.COLOURS)[2], "tags": [1]}


def test_rows_on_stdout_have_them_too(clip, shop: Path):
    rows = clip("embed", shop, "--column", "photo", "--keep", "all").rows
    assert [row["sku"] for row in rows] == ["00", "01", "02", "03"]
    assert "error" in rows[2]
    cells = list(csv.DictReader(clip("embed", shop, "--column", "photo", "--keep", "sku", "-f", "csv").lines))
    assert [row["sku"] for row in cells] == ["00", "01", "02", "03"]


def test_texts_of_a_table_carry_columns(clip, shop: Path, tmp_path: Path):
    out = tmp_path / "t.npz"
    result = clip(
        "embed", "--texts-from", shop, "--column", "image", "--keep", "all", "--where", "price > 1", "-o", out
    )
    assert result.code == 0, result.stderr
    assert [(row["sku"], row["price"], row["tags"]) for row in open_vectors(out).fields] == [
        ("01", 1.5, [1]), ("02", 2.5, [1]), ("03", 3.5, [1]),
    ]  # fmt: skip
    table = tmp_path / "t.csv"
    table.write_text("title,price\na dog,4\na cat,5\n")
    rows = clip("embed", "--texts-from", table, "--column", "title", "--keep", "price").rows
    assert [(row["text"], row["price"]) for row in rows] == [("a dog", "4"), ("a cat", "5")]
    rows = clip("embed", "--texts-from", "-", "--column", "title", "--keep", "all", stdin=table.read_bytes()).rows
    assert [row["price"] for row in rows] == ["4", "5"]


def test_texts_of_parquet_carry_columns(clip, tmp_path: Path):
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    rows = [{"title": f"dog {n}", "n": n, "raw": b"x"} for n in range(5)]
    pyarrow.parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "t.parquet", row_group_size=2)
    found = clip(
        "embed", "--texts-from", tmp_path / "t.parquet", "--column", "title", "--keep", "all", "--where", "n <> 2"
    )
    assert [(row["text"], row["n"]) for row in found.rows] == [(f"dog {n}", n) for n in (0, 1, 3, 4)]
    assert "raw" not in found.rows[0]


def test_what_cannot_be_carried_is_said_before_the_first_picture(clip, shop: Path, tmp_path: Path):
    assert_one_error(clip("embed", shop.parent, "--keep", "sku"), "--keep is for tables", code=2)
    assert_one_error(clip("embed", "--text", "a", "--keep", "sku"), "--keep is for tables", code=2)
    out = tmp_path / "v.npy"
    missing = clip("embed", shop, "--column", "photo", "--keep", "prise", "-o", out)
    assert_one_error(missing, "has no column prise", "price", code=4)
    assert not out.exists()
    tokens = clip("embed", "--text", "a", "--tokens", "--keep", "sku", "-o", tmp_path / "t.safetensors")
    assert_one_error(tokens, "--tokens and --keep do not go together", code=2)


def test_shards_and_merge_keep_columns(clip, shop: Path, tmp_path: Path):
    common = ("embed", shop, "--column", "photo", "--keep", "sku,price")
    whole, joined = tmp_path / "whole.npz", tmp_path / "joined.npz"
    clip(*common, "-o", whole)
    parts = [tmp_path / f"{n}.jsonl" for n in (1, 2)]
    for number, part in enumerate(parts, 1):
        clip(*common, "-o", part, "--shard", f"{number}/2")
    assert run("merge", *reversed(parts), "-o", joined).code == 0
    assert list(open_vectors(joined).fields) == list(open_vectors(whole).fields)
    assert joined.read_bytes() == whole.read_bytes()


def test_a_resumed_run_must_carry_the_same_columns(clip, shop: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("clipcli.runs.embed.run.PART_INPUTS", 2)
    common = ("embed", shop, "--column", "photo", "-o", tmp_path / "v.npy")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("clipcli.runs.embed.run.EmbedRun._assemble", stop)
        assert clip(*common, "--keep", "sku,price").code == 130
    assert_one_error(clip(*common, "--keep", "sku", "--resume"), "columns sku, price, this run has sku", code=2)
    assert clip(*common, "--keep", "sku,price", "--resume").code == 3
    file = open_vectors(tmp_path / "v.npy")
    assert [row["sku"] for row in file.fields] == ["00", "01", "03"]
    assert {column.name: column.type for column in file.info.columns} == {"sku": "text", "price": "float"}


@pytest.mark.thorough
@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_kill_9_then_resume_keeps_every_column(tmp_path: Path, suffix: str):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    if not (spec.TINY_FOLDER / spec.MANIFEST).is_file():
        pytest.skip("the model tiny is not built")
    lines = ["photo,sku,price"]
    for number in range(40):
        pictures.disc(("red", "blue", "green", "yellow")[number % 4], (40 + number, 60)).save(
            tmp_path / f"{number}.png"
        )
        lines.append(f"{number}.png,{number:03},{number / 4}")
    (tmp_path / "shop.csv").write_text("\n".join(lines))
    script = "import clipcli.runs.embed.run as job; from clipcli.cli import main; job.PART_INPUTS = 5; main()"
    arguments = ["embed", "shop.csv", "--column", "photo", "--keep", "all", "-m", "tiny", "--no-cache", "-q"]

    def start(out: str, *more: str) -> subprocess.Popen[bytes]:
        line = [command()[0], "-c", script, *arguments, "-o", out, *more]
        return subprocess.Popen(line, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})

    assert start(f"whole.{suffix}").wait() == 0
    parts = tmp_path / f"out.{suffix}.parts"
    for wanted in (2, 5):
        process = start(f"out.{suffix}", "--resume")
        while process.poll() is None and len(list(parts.glob("0*"))) < wanted:
            time.sleep(0.002)
        process.kill()
        process.wait()
    assert start(f"out.{suffix}", "--resume").wait() == 0
    file = open_vectors(tmp_path / f"out.{suffix}")
    assert [(row["sku"], row["price"]) for row in file.fields] == [(f"{n:03}", str(n / 4)) for n in range(40)]
    names = [f"out.{suffix}", f"out.{suffix}.json"] if suffix == "npy" else [f"out.{suffix}"]
    for name in names:
        assert (tmp_path / name).read_bytes() == (tmp_path / name.replace("out", "whole")).read_bytes()
    assert np.isfinite(file.matrix()).all()


@pytest.fixture(params=["npy", "parquet", "csv"])
def stored(request: pytest.FixtureRequest, clip, shop: Path) -> Path:
    """Vectors of the shop with columns."""
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    out = shop.with_name(f"stored.{request.param}")
    clip("embed", shop, "--column", "photo", "--keep", "sku,price", "-o", out)
    return out


def test_rank_over_vectors_takes_rows_and_keeps_columns(clip, stored: Path):
    hits = clip("rank", "a red disc", stored, "--where", "price > 1", "--keep", "sku,price", "-f", "jsonl")
    assert hits.code == 0, hits.stderr
    assert sorted((row["sku"], row["price"]) for row in hits.rows) == [("01", 1.5), ("03", 3.5)]
    every = clip("rank", "a red disc", stored, "--keep", "all", "-f", "jsonl").rows
    assert sorted(row["sku"] for row in every) == ["00", "01", "03"]
    plain = clip("rank", "a red disc", stored, "-f", "jsonl").rows
    assert [row["score"] for row in plain] == [row["score"] for row in every]
    assert all("sku" not in row for row in plain)


def test_classify_over_vectors_takes_rows_and_keeps_columns(clip, stored: Path):
    common = ("classify", stored, "-l", "disc,square", "-f", "jsonl")
    rows = clip(*common, "--where", "sku <> '01'", "--keep", "price").rows
    assert [row["price"] for row in rows] == [0.5, 3.5]
    plain = clip(*common).rows
    assert [row["label"] for row in rows] == [plain[0]["label"], plain[2]["label"]]
    assert clip(*common, "--where", "sku = '01'").rows == [plain[1]]
    detailed = clip(*common, "-k", "2", "--where", "price > 1", "--keep", "all").rows
    assert [row["sku"] for row in detailed] == ["01", "03"]


def test_dedupe_over_vectors_keeps_columns(clip, stored: Path):
    rows = run("dedupe", stored, "--min-similarity", "0", "--keep-columns", "sku", "-f", "jsonl").rows
    assert sorted(row["sku"] for row in rows) == ["00", "01", "03"]
    part = run(
        "dedupe", stored, "--min-similarity", "0", "--keep-columns", "sku", "--exclude", "red*", "-f", "jsonl"
    ).rows
    assert sorted(row["sku"] for row in part) == ["01", "03"]


def test_columns_that_vectors_do_not_carry(clip, stored: Path):
    for words in (("rank", "a disc", stored), ("classify", stored, "-l", "a,b")):
        assert_one_error(clip(*words, "--keep", "prise"), "has no column prise", "price", code=2)
        assert_one_error(clip(*words, "--where", "prise > 1"), "no column prise", "price", code=2)
        assert_one_error(clip(*words, "--where", "price > 99"), "no row of the tables passes", code=4)
    assert_one_error(run("dedupe", stored, "--keep-columns", "prise"), "has no column prise", code=2)
