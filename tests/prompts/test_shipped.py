from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import clipcli
from clipcli.errors import PromptsError
from clipcli.prompts import check_file, sets, shipped_sets
from clipcli.prompts.templates import parse_lines

WANTED = {"plain", "photo", "photo-one", "illustration", "icon", "product", "food", "clothing", "satellite", "medical"}
CANONICAL = "a photo of a {}."
"""The one phrasing that everybody in the field uses."""


def test_the_sets_that_users_are_promised():
    by_name = shipped_sets()
    assert WANTED | {"document", "texture", "art", "imagenet"} <= set(by_name)
    assert list(by_name) == sorted(by_name)


@pytest.mark.parametrize("name", sorted(shipped_sets()))
def test_each_set_says_its_use_and_reads(name):
    chosen = shipped_sets()[name]
    assert chosen.purpose
    assert len(chosen.read()) == len(set(chosen.read())) >= 1


@pytest.mark.parametrize("file", sorted(sets.template_folder().iterdir()), ids=lambda file: file.name)
def test_each_file_is_clean(file):
    text = file.read_text("utf-8")
    templates, _ = parse_lines(text, str(file))
    written = [line for line in text.splitlines() if not line.startswith("#")]
    assert check_file(str(file)) == []
    assert written == list(templates)
    assert text.startswith("# ")


def test_the_wording_is_our_own():
    theirs = set(sets.imagenet_templates()) - {CANONICAL}
    for name, chosen in shipped_sets().items():
        assert name == "imagenet" or not theirs.intersection(chosen.read())


@pytest.mark.parametrize("place", ["clipcli/_prompts", "prompts"])
def test_the_folder_is_found_in_a_wheel_and_in_a_checkout(tmp_path, monkeypatch, place):
    shutil.copytree(sets.template_folder(), tmp_path / place)
    monkeypatch.setattr(clipcli, "__file__", str(tmp_path / "clipcli" / "__init__.py"))
    assert sets.template_folder() == tmp_path.resolve() / place


def test_a_damaged_installation_says_so(tmp_path, monkeypatch):
    (tmp_path / "prompts").mkdir()
    monkeypatch.setattr(clipcli, "__file__", str(tmp_path / "clipcli" / "__init__.py"))
    with pytest.raises(PromptsError, match="template files of clipcli are missing"):
        sets.template_folder()


def test_the_wheel_puts_them_where_they_are_looked_for():
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    assert '"prompts" = "clipcli/_prompts"' in pyproject.read_text("utf-8")
