from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.errors import MOST_SUGGESTIONS, LabelsError
from clipcli.prompts import LabelGroup, parse_groups, parse_labels

LABELS = parse_labels([r"cat,dog,cow,Paris\, France,red car"], [])


@pytest.fixture
def groups(tmp_path):
    def parse(text):
        file = tmp_path / "groups.txt"
        file.write_text(text)
        return parse_groups(str(file), LABELS)

    return parse


def test_groups_in_order_with_comments(groups):
    found = groups("# what lives\npets: dog; cat  # inside\nplaces: Paris, France\n")
    assert found == (LabelGroup("pets", ("dog", "cat")), LabelGroup("places", ("Paris, France",)))


def test_a_group_goes_on_in_a_later_line(groups):
    assert groups("animals: dog; cat\nanimals: cow; cat\n") == (LabelGroup("animals", ("dog", "cat", "cow")),)


def test_a_group_may_be_called_like_a_label_of_its_own(groups):
    assert groups("cat: cat; dog") == (LabelGroup("cat", ("cat", "dog")),)


@pytest.mark.parametrize(
    ("line", "problem", "hint"),
    [
        ("pets: dgo", "unknown label 'dgo'", "did you mean 'dog'?"),
        ("pets: cat, dog", "unknown label 'cat, dog'", "separate labels by ;"),
        ("pets: cow;", "an empty label in the group 'pets'", "group: label; label"),
        ("pets:", "an empty label in the group 'pets'", "group: label; label"),
        ("pets", "no group name: 'pets'", "group: label; label"),
        (": cat", "no group name: ': cat'", "group: label; label"),
        ("pets: red car", r"'red car' is in the group 'things' \(line 1\)", "a label belongs to one group"),
        ("dog: cat", "the group 'dog' has the name of a label that is not in it", "give the group another name"),
    ],
)
def test_faults_are_named_with_file_and_line(groups, line, problem, hint):
    with pytest.raises(LabelsError, match=rf"groups\.txt:2: {problem}") as caught:
        groups(f"things: red car\n{line}\n")
    assert caught.value.hint == hint


def test_faults_are_counted(groups):
    with pytest.raises(LabelsError, match=r"groups\.txt:1: .*and 2 more faults"):
        groups("a: x1; x2\nb: x3\n")


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_a_file_without_groups(groups, text):
    with pytest.raises(LabelsError, match="holds no groups"):
        groups(text)


def test_a_missing_file(tmp_path):
    with pytest.raises(LabelsError, match="cannot be read"):
        parse_groups(str(tmp_path / "none"), LABELS)


@given(st.text(":;#\\,@ \nabcatdog", max_size=60))
def test_no_text_makes_the_parser_fall(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("groups") / "groups.txt"
    file.write_text(text)
    try:
        found = parse_groups(str(file), LABELS)
    except LabelsError:
        return
    gathered = [label for group in found for label in group.labels]
    assert len(gathered) == len(set(gathered))
    assert {label.name for label in LABELS}.issuperset(gathered)


def test_guesses_are_made_for_the_first_unknown_labels_only(groups, monkeypatch):
    asked = []
    monkeypatch.setattr("clipcli.prompts.labels.did_you_mean", lambda word, _known: asked.append(word) or "")
    with pytest.raises(LabelsError, match="and 99 more faults"):
        groups("\n".join(f"group: x{number}" for number in range(100)))
    assert asked == [f"x{number}" for number in range(MOST_SUGGESTIONS)]
