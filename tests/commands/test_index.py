from __future__ import annotations

import json
import os

import numpy as np
import pytest
from run import run

from clipcli.core.vectors import unit_length
from clipcli.vectorfiles import VectorRows, VectorsInfo, WritePlan, create_vectors


@pytest.fixture
def world(tmp_path, random_model):
    """Three hundred vectors that the model could have made, and an index of them."""
    assert run("embed", "-t", "x", "-m", random_model, "-o", tmp_path / "one.npy", "-q").code == 0
    own = json.loads((tmp_path / "one.npy.json").read_text())
    vectors = unit_length(np.random.default_rng(0).standard_normal((300, 48)))
    plan = WritePlan(tmp_path / "v.npy", VectorsInfo("image", own["model"], own["fingerprint"]), rows=300, dim=48)
    with create_vectors("npy", plan) as writer:
        writer.write(VectorRows([f"{n:03}.jpg" for n in range(300)], vectors))
    return tmp_path


def test_an_index_finds_what_an_exact_search_finds_and_says_so(world):
    made = run("index", world / "v.npy", "-o", world / "v.index")
    assert made.code == 0
    assert "300 vectors" in made.stderr
    assert json.loads((world / "v.index/index.json").read_text())["recall"] >= 0.95
    exact = run("rank", "a dog", world / "v.npy", "--format", "jsonl").rows
    found = run("rank", "a dog", world / "v.index", "--format", "jsonl").rows
    assert [row["image"] for row in found] == [row["image"] for row in exact]
    assert [row["score"] for row in found] == pytest.approx([row["score"] for row in exact], abs=1e-3)
    some = run("rank", "a dog", world / "v.index", "--include", "1*", "--format", "jsonl").rows
    assert len(some) == 10
    assert all(row["image"].startswith("1") for row in some)


def test_stale_foreign_and_damaged_indexes_are_refused(world, random_model):
    assert run("index", world / "v.npy", "-o", world / "v.index").code == 0
    assert run("rank", "a dog", world / "v.index", "--all").code == 2
    endless = run("rank", "a dog", world / "v.index", "--min-score", "0.1")
    assert endless.code == 2
    assert "--top-k together" in endless.stderr
    assert run("rank", "a dog", world / "v.index", "--min-score", "0.1", "--top-k", "5").code == 0
    assert run("rank", "a dog", world / "v.index", world).code == 2
    description = world / "v.index/index.json"
    text = description.read_text()
    record = json.loads(text)
    description.write_text(json.dumps({**record, "fingerprint": "0" * 12}))
    other = run("rank", "a dog", world / "v.index", "-m", random_model)
    assert other.code == 4
    assert "an index of" in other.stderr
    description.write_text("{}")
    assert "damaged" in run("rank", "a dog", world / "v.index").stderr
    description.write_text(text)
    os.utime(world / "v.npy", (1, 1))
    stale = run("rank", "a dog", world / "v.index")
    assert stale.code == 4
    assert "has changed since" in stale.stderr


def test_the_folders_above_an_index_are_made_before_the_work(world):
    assert run("index", world / "v.npy", "-o", world / "new/deep/v.index").code == 0
    assert run("rank", "a dog", world / "new/deep/v.index").code == 0
    refused = run("index", world / "v.npy", "-o", world / "v.npy/v.index")
    assert refused.code == 6
    assert "cannot write" in refused.stderr


def test_only_an_index_is_replaced(world):
    (world / "mine").mkdir()
    (world / "mine/letter.txt").write_text("dear")
    refused = run("index", world / "v.npy", "-o", world / "mine")
    assert refused.code == 6
    assert (world / "mine/letter.txt").read_text() == "dear"
