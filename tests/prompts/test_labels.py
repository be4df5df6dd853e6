from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.errors import LabelsError, UsageError
from clipcli.inputs.text_files import tidy
from clipcli.prompts import Label, check_labels, parse_labels
from clipcli.prompts.labels import label_line

texts = st.text(st.characters(exclude_categories=["Cc", "Cs"])).map(tidy).filter(bool)
labels = st.builds(Label, texts, st.lists(texts, min_size=1, max_size=4, unique=True).map(tuple))


@pytest.fixture
def from_file(tmp_path):
    def parse(content, *comma_lists):
        file = tmp_path / "labels.txt"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return parse_labels(comma_lists, [str(file)])

    return parse


def names(found):
    return [label.name for label in found]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["cat,dog"], ["cat", "dog"]),
        (["cat", "dog"], ["cat", "dog"]),
        ([" red  car , blue car"], ["red car", "blue car"]),
        ([r"Paris\, France,Rome"], ["Paris, France", "Rome"]),
        ([r"\@home"], ["@home"]),
        (["time: 10:30; later # no comment"], ["time: 10:30; later # no comment"]),
        (["cat,dog,cat", "dog"], ["cat", "dog"]),
        (["one"], ["one"]),
    ],
)
def test_names_on_the_command_line(arguments, expected):
    assert names(parse_labels(arguments, [])) == expected


def test_a_name_stands_for_itself():
    assert parse_labels(["red car"], []) == (Label("red car", ("red car",)),)


@pytest.mark.parametrize("argument", ["", ",", "cat,,dog", "cat,", " ", "cat, ,dog"])
def test_an_empty_label_on_the_command_line(argument):
    with pytest.raises(LabelsError, match="an empty label"):
        parse_labels([argument], [])


@pytest.mark.parametrize("argument", ["caf\udce9", "a\x1b[31m"])
def test_a_label_that_no_tokenizer_reads(argument):
    with pytest.raises(LabelsError, match=r"U\+(DCE9|001B)"):
        parse_labels([argument], [])


def test_nothing_at_all_is_a_wrong_call():
    with pytest.raises(UsageError, match="no labels given"):
        parse_labels([], [])


def test_an_unknown_set_is_answered_with_the_known_ones(tmp_path):
    with pytest.raises(LabelsError, match="@imagnet: no such label set") as caught:
        parse_labels(["cat,@imagnet"], [])
    assert "there is @imagenet" in caught.value.hint
    file = tmp_path / "own"
    file.write_text("cat")
    with pytest.raises(LabelsError) as caught:
        parse_labels([f"@{file}"], [])
    assert f"--labels-file {file}" in caught.value.hint


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cat", Label("cat", ("cat",))),
        ("dog: puppy; old  hound", Label("dog", ("puppy", "old hound"))),
        ("dog: dog; dog; hound", Label("dog", ("dog", "hound"))),
        ("Paris, France", Label("Paris, France", ("Paris, France",))),
        ("time 10:30", Label("time 10:30", ("time 10:30",))),
        (r"time\: 10\; 11", Label("time: 10; 11", ("time: 10; 11",))),
        ("clock: time: 10:30", Label("clock", ("time: 10:30",))),
        ("@home # where the heart is", Label("@home", ("@home",))),
        ("cafe\u0301", Label("caf\u00e9", ("caf\u00e9",))),
    ],
)
def test_lines_of_a_file(from_file, line, expected):
    assert from_file(line) == (expected,)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("dog: puppy;; hound", "an empty phrase for 'dog'"),
        ("dog: puppy;", "an empty phrase for 'dog'"),
        ("dog:", "an empty phrase for 'dog'"),
        (": puppy", "no name before the colon"),
        ("cat; dog", "phrases without a name"),
        ("a\x07b", r"character U\+0007"),
    ],
)
def test_faulty_lines_are_named(from_file, line, problem):
    with pytest.raises(LabelsError, match=rf"labels\.txt:3: {problem}"):
        from_file(f"# head\ncat\n{line}\n")


def test_the_same_label_again_counts_once(from_file):
    assert names(from_file("cat\ndog: puppy\ncat\ndog: puppy\n", "cow,cat")) == ["cow", "cat", "dog"]


def test_one_name_for_two_things_is_refused(from_file):
    with pytest.raises(LabelsError, match=r"labels\.txt:2: 'crane' has other phrases than at .*labels\.txt:1"):
        from_file("crane: a wading bird\ncrane: a machine that lifts\n")
    with pytest.raises(LabelsError, match=r"labels\.txt:1: 'crane' has other phrases than at -l"):
        from_file("crane: a wading bird", "crane")


def test_every_fault_of_a_file_is_found(tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("a: \ncat\nb; c\ncat: kitten\n")
    good, faults = check_labels([], [str(file)])
    assert names(good) == ["cat"]
    assert [fault.line for fault in faults] == [1, 3, 4]
    with pytest.raises(LabelsError, match="and 2 more faults"):
        parse_labels([], [str(file)])


@pytest.mark.parametrize("content", ["", "\n\n", "# only talk\n"])
def test_a_file_without_labels(from_file, content):
    with pytest.raises(LabelsError, match="holds no labels"):
        from_file(content)


def test_a_missing_file(tmp_path):
    with pytest.raises(LabelsError, match="cannot be read: no such file"):
        parse_labels([], [str(tmp_path / "labels.txt")])


def test_ten_thousand_labels(from_file):
    found = from_file("\n".join(f"thing {number}: thing {number}; item #{number}" for number in range(10_000)))
    assert len(found) == 10_000
    assert found[-1] == Label("thing 9999", ("thing 9999", "item #9999"))


@pytest.mark.thorough
@given(st.lists(labels, min_size=1, max_size=8, unique_by=lambda label: label.name))
def test_any_labels_written_in_file_form_read_back(tmp_path_factory, found):
    file = tmp_path_factory.mktemp("labels") / "labels.txt"
    file.write_text("\n".join(map(label_line, found)), encoding="utf-8")
    assert parse_labels([], [str(file)]) == tuple(found)


@given(st.one_of(st.text(), st.text(":;#\\,@ \nab", max_size=40)))
def test_no_text_makes_the_parser_fall(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("labels") / "labels.txt"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    for comma_lists, files in (((), [str(file)]), ([text], ())):
        try:
            found = parse_labels(comma_lists, files)
        except LabelsError:
            continue
        assert found
        assert all(label.name and all(label.phrases) for label in found)


@given(st.binary())
def test_no_bytes_make_the_parser_fall(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("labels") / "labels.txt"
    file.write_bytes(data)
    good, faults = check_labels([], [str(file)])
    assert good or faults
