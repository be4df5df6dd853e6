from __future__ import annotations

import pytest

from clipcli.errors import LabelsError, PromptsError, UsageError
from clipcli.prompts import load_prompts, parse_labels
from clipcli.prompts.rows import listing


def test_a_listed_set_reads_back(tmp_path):
    file = tmp_path / "copy.txt"
    file.write_text("\n".join(listing(["photo", "a # {} {{x}}", "\\{}"], [], [])), encoding="utf-8")
    assert load_prompts([str(file)]).templates == load_prompts(["photo", "a # {} {{x}}", "\\{}"]).templates


def test_listed_labels_read_back(tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("\n".join(listing(["@imagenet"], [], [])), encoding="utf-8")
    assert parse_labels([], [str(file)]) == parse_labels(["@imagenet"], [])


def test_with_labels_the_texts_are_listed(tmp_path):
    file = tmp_path / "cupl.json"
    file.write_text('{"cat": ["A {c} purrs."], "dog": ["It barks."]}')
    assert listing(["plain", str(file)], ["cat,dog"], []) == ["cat", "A cat purrs.", "dog", "It barks."]
    assert listing([str(file)], ["dog"], []) == ["It barks."]


def test_what_cannot_be_listed(tmp_path):
    file = tmp_path / "cupl.json"
    file.write_text('{"cat": ["A cat."]}')
    with pytest.raises(UsageError, match="holds prompts for single labels"):
        listing([str(file)], [], [])
    with pytest.raises(PromptsError, match="no prompts for the label 'dog'"):
        listing([str(file)], ["dog"], [])
    with pytest.raises(UsageError, match="not into labels"):
        listing(["@imagenet"], ["dog"], [])
    with pytest.raises(LabelsError, match="no such label set"):
        listing(["@cifar"], [], [])
