"""Images that are not files, in commands that show, copy or compare them."""

from __future__ import annotations

import json

import pytest
from run import run


@pytest.mark.thorough
def test_hits_in_a_shard_are_shown_and_copied(tmp_path, shard, images):
    vectors, page, picks = tmp_path / "v.npy", tmp_path / "hits.html", tmp_path / "picks"
    run("embed", shard, "--model", "tiny", "-o", vectors)
    found = run("rank", "a red square", vectors, "-k", "2", "--copy-to", picks, "--report", page, "-f", "jsonl")
    assert found.code == 0, found.stderr
    copied = sorted(picks.iterdir())
    assert [file.read_bytes() for file in copied] == [images[row["image"].rpartition("/")[2]] for row in found.rows]
    assert page.read_text().count("data:image/") == 2
    assert "00000.tar/" not in "".join(part for part in page.read_text().split('"') if part.startswith("./"))


@pytest.mark.thorough
def test_nothing_links_to_a_member(tmp_path, shard):
    found = run("rank", "red", shard, "--model", "tiny", "-k", "1", "--link-to", tmp_path / "picks", "-f", "jsonl")
    assert found.code == 3
    assert found.rows[-1]["error"]["reason"].startswith("no file of its own")


@pytest.mark.thorough
def test_an_example_may_be_anywhere(web, shard, images):
    web.files["/red.png"] = images["000000.png"]
    for example in (f"{web.url}/red.png", f"{shard}/000000.png"):
        found = run("rank", "--image", example, shard, "--model", "tiny", "-k", "2", "-f", "jsonl")
        assert found.code == 0, found.stderr
        assert f"{shard}/000000.png" in {row["image"] for row in found.rows} or example.startswith(str(shard))


@pytest.mark.thorough
def test_the_set_that_is_compared_with_may_be_a_table_of_images(tmp_path, images):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "copy.png").write_bytes(images["000003.png"])
    pq.write_table(pa.table({"image": list(images.values())}), tmp_path / "known.parquet")
    found = run(
        "dedupe", tmp_path / "copy.png", "--against", tmp_path / "known.parquet", "--model", "tiny", "-f", "jsonl"
    )
    known = f"{tmp_path}/known.parquet/3"
    assert [(row["image"], row["keep"]) for row in found.rows] == [(known, True), (str(tmp_path / "copy.png"), False)]
    assert found.rows[1]["keeper"] == known


@pytest.mark.thorough
@pytest.mark.parametrize("place", ["shard", "web"])
def test_what_is_no_file_is_told_of_and_never_removed(tmp_path, web, shard, images, place):
    web.files["/red.png"] = images["000003.png"]
    elsewhere = str(shard) if place == "shard" else f"{web.url}/red.png"
    for name in ("copy.png", "again.png"):
        (tmp_path / name).write_bytes(images["000003.png"])
    plan = tmp_path / "plan.jsonl"
    result = run("dedupe", tmp_path / "copy.png", tmp_path / "again.png", elsewhere, "--model", "tiny", "-o", plan)
    assert result.code == 0, result.stderr
    rows = [json.loads(line) for line in plan.read_text().splitlines()]
    told = [row for row in rows if row["image"].startswith(elsewhere)]
    assert told
    assert all(row["keep"] and row["protected"] for row in told)
    applied = run("apply", plan, "--action", "delete", "--yes")
    assert "Traceback" not in applied.stderr
    assert (tmp_path / "copy.png").exists()
    assert shard.exists()
