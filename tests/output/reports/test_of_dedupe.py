"""What CI reads of `dedupe --fail-on`."""

from __future__ import annotations

import json
from pathlib import Path

import pictures
import pytest
from run import run


@pytest.fixture
def twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pictures, one of them there twice, and a file that is none."""
    pictures.disc("red").save(tmp_path / "a.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    pictures.square("blue").save(tmp_path / "b.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_duplicate_is_in_every_report(twice: Path):
    options = [part for name in ("r.xml", "r.sarif", "r.md", "r.html") for part in ("--report", name)]
    result = run("dedupe", ".", "--level", "exact", "--fail-on", "exact", "--annotate", "github", *options)
    assert result.code == 1, result.stderr
    xml = (twice / "r.xml").read_text(encoding="utf-8")
    assert (xml.count("<testcase"), xml.count("<failure")) == (2, 1)
    [found] = json.loads((twice / "r.sarif").read_text(encoding="utf-8"))["runs"][0]["results"]
    assert "expected no duplicate, found exact copy of" in found["message"]["text"]
    assert "clipcli: a check fails" in (twice / "r.md").read_text(encoding="utf-8")
    assert "Save the plan" in (twice / "r.html").read_text(encoding="utf-8")
    assert result.stderr.count("::error file=") == 1


def test_without_a_check_duplicates_are_pointed_out(twice: Path):
    result = run("dedupe", ".", "--level", "exact", "--report", "r.xml", "--annotate", "github")
    assert result.code == 0
    xml = (twice / "r.xml").read_text(encoding="utf-8")
    assert (xml.count("<failure"), xml.count("<skipped")) == (0, 1)
    assert result.stderr.count("::warning file=") == 1
