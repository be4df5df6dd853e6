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
    return lambda *arguments: run("rank", "discs", "-m", model, "--relevance", "want.csv", *arguments)


def test_each_figure_of_a_check_is_a_case(rank, tmp_path: Path):
    checks = ("--min-recall", "1=0.9", "--min-recall", "4=0.9")
    result = rank(*checks, "--report", "r.xml", "--report", "r.md", "--annotate", "github")
    assert result.code == 1, result.stderr
    root = ET.parse(tmp_path / "r.xml").getroot()  # noqa: S314 - written by ourselves
    assert {case.get("name"): len(case) for case in root.iter("testcase")} == {"recall@1": 1, "recall@4": 0, "blue": 1}
    assert "expected recall@1 of at least 90.0%, found 50.0%" in (tmp_path / "r.xml").read_text(encoding="utf-8")
    assert "❌ 1 of 2 figures reached" in (tmp_path / "r.md").read_text(encoding="utf-8")
    assert result.stderr.count("::error file=want.csv,") == 1
    assert result.stderr.count("::error file=discs/green.png,") == 1


def test_a_query_that_failed_says_what_and_where(rank, tmp_path: Path):
    lines = [
        '{"query": "red", "image": "discs/red.png"}',
        '{"query": "blue", "id": "7", "images": ["discs/green.png"]}',
    ]
    (tmp_path / "want.jsonl").write_text("\n".join(lines), encoding="utf-8")
    result = rank("--relevance", "want.jsonl", "--min-recall", "1=0.9", "--report", "r.xml", "--report", "r.sarif")
    assert result.code == 1, result.stderr
    case = next(case for case in ET.parse(tmp_path / "r.xml").getroot().iter("testcase") if case.get("name") == "7")  # noqa: S314
    assert case.get("file") == "discs/green.png"
    message = str(case[0].get("message"))
    assert message.startswith("expected among the best 1 of 'blue', found it at rank ")
    assert int(message.rsplit(" ", 1)[1]) in {2, 3, 4}
    assert "discs/green.png: expected among the best 1" in (tmp_path / "r.sarif").read_text(encoding="utf-8")


def test_queries_that_a_figure_may_lose_are_tolerated(rank, tmp_path: Path):
    result = rank("--min-recall", "1=0.5", "--report", "r.xml")
    assert result.code == 0, result.stderr
    root = ET.parse(tmp_path / "r.xml").getroot()  # noqa: S314 - written by ourselves
    cases = {case.get("name"): [one.tag for one in case] for case in root.iter("testcase")}
    assert cases == {"recall@1": [], "blue": ["skipped"]}


def test_an_image_that_cannot_be_read_was_not_found(rank, tmp_path: Path):
    (tmp_path / "discs" / "green.png").write_bytes(b"no picture")
    result = rank("--min-recall", "4=0.9", "--report", "r.xml")
    assert result.code == 1, result.stderr
    assert "expected among the best 4 of 'blue', found nothing" in (tmp_path / "r.xml").read_text(encoding="utf-8")


def test_reports_are_of_checks_and_pages_of_hits(rank):
    assert rank("--min-recall", "1=0.9", "--report", "hits.html").code == 2
    result = rank("--report", "r.xml")
    assert result.code == 2
    assert "reports of checks" in result.stderr
