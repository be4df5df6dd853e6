from __future__ import annotations

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.errors import PromptsError
from clipcli.prompts import Label, PromptSet, check_file, expand, load_prompts, require_prompts, without_prompts

DOG = Label("dog", ("puppy", "hound"))


def test_the_default_is_photo():
    assert load_prompts([]) == load_prompts(["photo"])
    assert load_prompts([]).name == "photo"


def test_sets_are_joined_and_each_template_counts_once(tmp_path):
    file = tmp_path / "own.txt"
    file.write_text("a photo of a {}.\nmy {}\n")
    joined = load_prompts(["photo-one", str(file), "plain"])
    assert joined == PromptSet(f"photo-one+{file}+plain", ("a photo of a {}.", "my {}", "{}"))


def test_a_template_can_be_given_outright():
    assert load_prompts(["a blurry {c}"]).templates == ("a blurry {}",)
    with pytest.raises(PromptsError, match=r"\{label\} in 'a \{label\}'") as caught:
        load_prompts(["a {label}"])
    assert caught.value.hint == "write {} for the label"


def test_an_unknown_name_is_answered_with_near_and_known_ones():
    with pytest.raises(PromptsError, match="no prompts called 'photos'") as caught:
        load_prompts(["photos"])
    assert caught.value.hint.startswith("did you mean 'photo'")
    assert "imagenet" in caught.value.hint
    assert "plain" in caught.value.hint


@pytest.mark.parametrize("name", ["photo.txt", "sets/photo", "photo.JSON"])
def test_what_looks_like_a_file_is_one(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PromptsError, match=f"{name}: cannot be read: no such file"):
        load_prompts([name])


def test_a_shipped_name_wins_and_a_path_reaches_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain").write_text("mine: {}")
    (tmp_path / "own").write_text("also mine: {}")
    assert load_prompts(["plain"]).templates == ("{}",)
    assert load_prompts(["./plain"]).templates == ("mine: {}",)
    assert load_prompts(["own"]).templates == ("also mine: {}",)


def test_templates_from_stdin(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a {}\nno place\n")))
    with pytest.raises(PromptsError, match=r"<stdin>:2: no \{\} in 'no place'"):
        load_prompts(["-"])


def test_the_first_fault_is_raised_and_the_way_to_all_of_them(tmp_path):
    file = tmp_path / "bad.txt"
    file.write_text("a\nb\na {}\n{x}\n")
    with pytest.raises(PromptsError, match=r"bad\.txt:1: no {} in 'a' \(and 2 more faults\)") as caught:
        load_prompts([str(file)])
    assert f"clipcli prompts check {file}" in caught.value.hint
    assert [fault.line for fault in check_file(str(file))] == [1, 2, 4]


def test_check_of_a_good_file_finds_nothing(tmp_path):
    file = tmp_path / "good.json"
    file.write_text('{"cat": ["A cat."]}')
    assert check_file(str(file)) == []


def test_check_names_the_labels_that_a_file_forgets(tmp_path):
    file = tmp_path / "cupl.json"
    file.write_text('{"cat": ["A cat."],\n"dogs": ["{x}"]}')
    found = check_file(str(file), [Label("cat", ("cat",)), DOG])
    assert [str(fault) for fault in found] == [
        f"{file}:2: {{x}} in '{{x}}'",
        f"{file}: no prompts for 'dog'",
    ]
    assert found[1].suggestion == "did you mean 'dogs'?"


def test_one_data_set_of_a_json_file(tmp_path):
    file = tmp_path / "sets.json"
    file.write_text(json.dumps({"pets": ["a {c}"], "cars": ["a fast {c}"]}))
    assert load_prompts([f"{file}#cars"]).templates == ("a fast {}",)
    with pytest.raises(PromptsError, match="no data set 'boats'"):
        load_prompts([f"{file}#boats"])
    with pytest.raises(PromptsError, match="has no prompts for the label 'cat', 'dog'") as caught:
        require_prompts([Label("cat", ("cat",)), DOG], load_prompts([str(file)]))
    assert caught.value.hint == f"if its keys are data sets, name one: {file}#pets"


def test_expand_puts_every_phrase_into_every_template():
    prompts = PromptSet("own", ("a {}", "the {}"))
    assert expand(DOG, prompts) == ("a puppy", "a hound", "the puppy", "the hound")


def test_expand_adds_the_prompts_of_the_label():
    prompts = PromptSet("own", ("a {}",), {"dog": ("It barks.", "a {}", "my {}"), "cat": ("It purrs.",)})
    assert expand(DOG, prompts) == ("a puppy", "a hound", "It barks.", "my puppy", "my hound")


def test_no_article_is_touched():
    assert expand(Label("apple", ("apple",)), PromptSet("own", ("a photo of a {}.",))) == ("a photo of a apple.",)


def test_a_label_without_prompts_is_named():
    prompts = PromptSet("cupl.json", (), {"hot dog": ("In a bun.",), "dogs": ("They bark.",)})
    labels = [Label(name, (name,)) for name in ("dog", "a", "b", "c", "hot dog")]
    assert without_prompts(labels, prompts) == ["dog", "a", "b", "c"]
    with pytest.raises(
        PromptsError, match=r"cupl\.json has no prompts for the label 'dog', 'a', 'b' and 1 more"
    ) as caught:
        require_prompts(labels, prompts)
    assert caught.value.hint == "did you mean 'dogs' or 'hot dog'?"
    with pytest.raises(PromptsError, match="for the label 'dog'"):
        expand(DOG, prompts)


def test_templates_cover_every_label(tmp_path):
    file = tmp_path / "cupl.json"
    file.write_text('{"cat": ["It purrs."]}')
    joined = load_prompts(["plain", str(file)])
    require_prompts([DOG], joined)
    assert expand(DOG, joined) == ("puppy", "hound")


@pytest.mark.thorough
@given(
    st.lists(st.text("ab", min_size=1), min_size=1, max_size=5, unique=True),
    st.lists(st.sampled_from(["{}", "a {}", "{} b", "{} {}", "b {}"]), min_size=1, unique=True),
)
def test_expand_counts_and_keeps_order(phrases, templates):
    texts = expand(Label("x", tuple(phrases)), PromptSet("own", tuple(templates)))
    every = [template.replace("{}", phrase) for template in templates for phrase in phrases]
    assert list(texts) == sorted(set(every), key=every.index)


@given(st.text())
def test_no_name_makes_the_loader_fall(name):
    try:
        found = load_prompts([name])
    except PromptsError:
        return
    assert found.templates
