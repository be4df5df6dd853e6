"""The embedded model: small, whole, and nothing in it of where it was made. What it knows is in its model card."""

from __future__ import annotations

import contract
import pytest
from pictures import disc
from run import run

from clipcli import bundle
from clipcli.engines import onnx
from clipcli.models import records
from clipcli.models.spec import TINY_FOLDER


@pytest.fixture(scope="module")
def tiny() -> bundle.Bundle:
    return bundle.read(TINY_FOLDER)


@pytest.mark.thorough
def test_it_keeps_the_contract(tiny):
    contract.check(onnx.load(tiny))


@pytest.mark.thorough
def test_who_works_with_it_is_told_and_who_looks_at_it_is_not(tmp_path):
    disc("red").save(tmp_path / "a.png")
    assert run("models", "info", "tiny").stderr == ""
    assert run("classify", tmp_path, "-l", "a,b", "-m", "tiny", "-q").stderr == ""
    told = [run("classify", tmp_path, "-l", "a,b", "-m", "tiny").stderr for _ in range(2)]
    assert ["tiny is the small model that comes with clipcli" in text for text in told] == [True, False]


def test_where_it_cannot_be_kept_that_it_was_said_it_is_said_again(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLIPCLI_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert [records.is_first_use("tiny") for _ in range(2)] == [True, True]


def test_it_is_small(tiny):
    assert sum(path.stat().st_size for path in TINY_FOLDER.iterdir()) <= 24_000_000


def test_it_says_what_it_is_and_not_where_it_was_made(tiny):
    assert tiny.info.name == tiny.manifest.source == "tiny"
    assert "/" not in (TINY_FOLDER / "manifest.json").read_text(encoding="utf-8")
    assert (TINY_FOLDER / "MODEL_CARD.md").is_file()


def test_its_files_are_those_of_the_manifest_and_the_card():
    listed = {entry.name for entry in bundle.read(TINY_FOLDER).manifest.files}
    assert {path.name for path in TINY_FOLDER.iterdir()} == listed | {"manifest.json", "MODEL_CARD.md"}
