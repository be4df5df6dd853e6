"""What CI reads of `rank --min-recall`."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import colour_model
import pictures
import pytest
from run import run


@pytest.fixture
def rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Four discs, a table of what finds which, and a model that knows colours."""
    (tmp_path / "discs").mkdir()
    for colour in pictures.COLOURS:
        pictures.disc(colour).save(tmp_path / "discs" / f"{colour}.png")
    (tmp_path / "want.csv").write_text("query,image\nred,discs/red.png\nblue,discs/green.png\n", encoding="utf-8")
    model = colour_model.save(tmp_path / "colours")
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run("rank", "discs", "-m", model, "--expect", "want.csv", *arguments)


def test_each_figure_of_a_check_is_a_case(rank, tmp_path: Path):
    checks = ("--min-recall", "1=0.9", "--min-recall", "4=0.9")
    result = rank(*checks, "--report", "r.xml", "--report", "r.md", "--annotate", "github")
    assert result.code == 1, result.stderr
    root = ET.parse(tmp_path / "r.xml").getroot()  # noqa: S314 - written by ourselves
    assert {case.get("name"): len(case) for case in root.iter("testcase")} == {"recall@1": 1, "recall@4": 0}
    assert "expected recall@1 of at least 90.0%, found 50.0%" in (tmp_path / "r.xml").read_text(encoding="utf-8")
    assert "❌ 1 of 2 figures reached" in (tmp_path / "r.md").read_text(encoding="utf-8")
    assert result.stderr.count("::error file=want.csv,") == 1


def test_reports_are_of_checks_and_pages_of_hits(rank):
    assert rank("--min-recall", "1=0.9", "--report", "hits.html").code == 2
    result = rank("--report", "r.xml")
    assert result.code == 2
    assert "tell of checks" in result.stderr
