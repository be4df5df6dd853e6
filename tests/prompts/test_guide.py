"""docs/prompts.md says what is so: its table is the shipped sets, its examples are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clipcli.inputs.expected_labels import parse_expectations
from clipcli.prompts import check_file, check_labels, parse_groups, parse_labels, shipped_sets

GUIDE = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```\w+ (\S+)\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


def examples(kind, folder, suffix):
    files = []
    for number, text in enumerate(text for found, text in EXAMPLES if found == kind):
        files.append(folder / f"{number}{suffix(text) if callable(suffix) else suffix}")
        files[-1].write_text(text, encoding="utf-8")
    assert files
    return list(map(str, files))


def test_the_table_is_the_shipped_sets():
    rows = re.findall(r"^\| ([\w-]+) \| (\d+) \| (.*) \|$", GUIDE, re.MULTILINE)
    assert rows == [(name, str(len(each.read())), each.purpose) for name, each in shipped_sets().items()]


def test_the_label_file_and_the_groups_are_read(tmp_path):
    (file,) = examples("labels", tmp_path, ".txt")
    labels, faults = check_labels([], [file])
    assert faults == []
    assert [label.name for label in labels] == ["cat", "dog", "Paris, France", "time 10:30", "score: none", "number #1"]
    assert labels[1].phrases == ("puppy", "old hound", "dog")
    (file,) = examples("groups", tmp_path, ".groups")
    assert [group.labels for group in parse_groups(file, labels)] == [("cat", "dog", "number #1"), ("Paris, France",)]


def test_the_template_files_have_no_fault(tmp_path):
    files = examples("templates", tmp_path, lambda text: ".txt" if text.startswith("#") else ".json")
    assert len(files) == 3
    for file in files:
        assert check_file(file, parse_labels(["cat,dog"], [])) == []


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_the_expectations_are_read(tmp_path, suffix):
    (file,) = examples(f"expectations{suffix}", tmp_path, suffix)
    assert [(row.path, *row.labels) for row in parse_expectations(file).rows] == [
        ("pets/tom.jpg", "cat"),
        ("pets/rex.jpg", "dog"),
    ]


def test_the_faults_shown_are_the_faults_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("night.txt").write_text("# night\na photo\n\n{}\na {label}\n", encoding="utf-8")
    for fault in check_file("night.txt"):
        assert f"\n{fault} ({fault.suggestion})\n" in GUIDE
