from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from clipcli.errors import PromptsError
from clipcli.prompts import labels, load_prompts, parse_labels, sets

THEIRS = """
import json, sys
from open_clip import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES
json.dump([IMAGENET_CLASSNAMES, [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]], sys.stdout)
"""
OURS = """
import json, sys
from clipcli.prompts import load_prompts, parse_labels
labels, prompts = parse_labels(["@imagenet"], []), load_prompts(["imagenet"])
json.dump([len(labels), len(prompts.templates), "torch" in sys.modules, "open_clip" in sys.modules], sys.stdout)
"""


def run(code):
    return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)


@pytest.fixture(autouse=True)
def fresh():
    sets.imagenet_templates.cache_clear()
    yield
    sets.imagenet_templates.cache_clear()


@pytest.mark.slow
def test_names_and_templates_are_those_that_open_clip_imports():
    names, templates = run(THEIRS)
    assert list(labels.imagenet_class_names()) == names
    assert list(sets.imagenet_templates()) == templates


def test_neither_torch_nor_open_clip_is_imported():
    assert run(OURS) == [1000, 80, False, False]


def test_names_that_occur_twice_are_told_apart_by_their_index():
    labels = parse_labels(["@imagenet,robot"], [])
    assert len({label.name for label in labels}) == len(labels) == 1001
    assert [label.name for label in labels if label.phrases == ("missile",)] == ["missile (657)", "missile (744)"]
    assert labels[836].name == "sunglasses (836)"
    assert labels[836].phrases == labels[837].phrases == ("sunglasses",)


def their_ids():
    package = find_spec("timm")
    if package is None:
        pytest.skip("needs timm, which has the list too")
    return (Path(package.origin).parent / "data" / "_info" / "imagenet_synsets.txt").read_text().split()


def test_wordnet_ids_mean_labels():
    known = labels.wordnet_labels()
    assert len(known) == 1000
    assert known["n01440764"] == "tench"
    assert list(known) == their_ids()
    assert known["n04356056"] == "sunglasses (837)"


def install(tmp_path, monkeypatch, **files):
    package = tmp_path / "open_clip"
    package.mkdir()
    for name, text in files.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "open_clip", raising=False)


def test_any_kind_of_template_function_will_do(tmp_path, monkeypatch):
    metadata = "OPENAI_IMAGENET_TEMPLATES = [lambda c: 'a %s' % c, 'the {}'.format, lambda c: c + ' {x}']"
    install(tmp_path, monkeypatch, __init__="raise RuntimeError", zero_shot_metadata=metadata)
    assert load_prompts(["imagenet"]).templates == ("a {}", "the {}", "{} {{x}}")


def test_a_version_without_the_templates_is_named(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, __init__="", zero_shot_metadata="")
    with pytest.raises(PromptsError, match="has no OPENAI_IMAGENET_TEMPLATES"):
        load_prompts(["imagenet"])


def test_a_version_without_the_file_is_named(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, __init__="")
    with pytest.raises(PromptsError, match=r"no zero_shot_metadata\.py") as caught:
        load_prompts(["imagenet"])
    assert "[torch]" in caught.value.hint


def test_without_open_clip_the_labels_are_there_and_the_set_is_missing(monkeypatch):
    monkeypatch.setattr(sets, "find_spec", lambda _name: None)
    assert parse_labels(["@imagenet"], [])[0].name == "tench"
    with pytest.raises(PromptsError, match="come with open_clip, which is not installed"):
        load_prompts(["imagenet"])
