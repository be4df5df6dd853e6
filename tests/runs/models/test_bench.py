"""`models bench`: what it measures is there, what fails is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from run import run

from clipcli.models.spec import Choice
from clipcli.runs.models.bench import draw_images, measure


@pytest.mark.thorough
def test_one_model_is_measured(random_model: str, tmp_path: Path):
    row = measure(Choice(random_model, engine="openclip"), draw_images(tmp_path)[:2], 0.1)
    assert row.model == random_model
    assert row.where == "cpu fp32 openclip"
    assert min(row.load_seconds, row.images_per_second, row.texts_per_second) > 0
    assert row.peak_megabytes is None or row.peak_megabytes > 50
    assert list(row.record()) == [
        "model", "where", "load_seconds", "images_per_second", "texts_per_second", "peak_megabytes", "ratio"
    ]  # fmt: skip
    assert len(row.cells()[0]) == len(row.columns)


@pytest.mark.slow
def test_each_model_has_a_process_and_a_ratio(random_model: str):
    result = run("models", "bench", random_model, random_model, "--seconds", "0.1", "--format", "jsonl")
    assert result.code == 0
    assert [row["model"] for row in result.rows] == [random_model] * 2
    assert result.rows[0]["ratio"] == 1
    assert result.rows[1]["ratio"] > 0


@pytest.mark.thorough
def test_a_model_that_is_not_there_is_an_error():
    result = run("models", "bench", "ViT-B-3200/none")
    assert result.code == 5
    assert "no model 'ViT-B-3200'" in result.stderr
