"""What people type first gets an answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from run import assert_one_error, run, run_process

from clipcli.inputs.collect import collect, is_words


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    colours = {"red": "red", "blue": "blue", "deep/green": "green", "odd[1]": "red", "odd1": "red"}
    (tmp_path / "img" / "deep").mkdir(parents=True)
    for name, colour in colours.items():
        Image.new("RGB", (16, 16), colour).save(tmp_path / "img" / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLIPCLI_MODEL", "tiny")
    return tmp_path


@pytest.mark.thorough
def test_an_image_on_stdin(place: Path):
    from_file = run("classify", "img/red.png", "-l", "red,blue", "-f", "jsonl").rows[0]
    piped = run_process("classify", "-", "-l", "red,blue", "-f", "jsonl", stdin=(place / "img/red.png").read_bytes())
    assert piped.code == 0
    assert piped.rows == [{**from_file, "image": "-"}]


@pytest.mark.thorough
def test_one_dash_before_a_long_option(place: Path):
    assert place
    wanted = run("classify", "img/red.png", "--labels", "red,blue", "--top-k", "2").stdout
    for form in (("-labels", "red,blue", "-top-k", "2"), ("-labels=red,blue", "-top-k=2"), ("-lred,blue", "-k2")):
        assert run("classify", "img/red.png", *form).stdout == wanted
    result = run("classify", "img/red.png", "-l", "a,b", "--", "-labels")
    assert "-labels: no such file" in result.stderr


@pytest.mark.thorough
def test_words_behind_images_are_labels(place: Path):
    assert place
    result = run("classify", "img", "red", "dark blue")
    assert result.stdout == run("classify", "img", "-l", "red,dark blue").stdout
    assert "clipcli: labels: red, dark blue (the same as -l 'red,dark blue')\n" in result.stderr


@pytest.mark.thorough
def test_words_are_no_labels_where_others_are_given(place: Path):
    assert place
    result = run("classify", "img/red.png", "-l", "red", "blue")
    assert result.code == 3
    assert "'blue' is no file; if it is a label, separate labels by commas: -l red,blue" in result.stderr


def test_missing_files_are_no_labels(place: Path):
    assert place
    assert_one_error(run("classify", "img", "gone.png"), "no labels given", code=2)
    assert_one_error(run("classify", "img", "gone/"), "no labels given", code=2)
    assert_one_error(run("classify", "red", "blue"), "no labels given", code=2)


def test_phrases_are_embedded_as_texts(place: Path):
    assert place
    result = run("embed", "a dog", "cat")
    assert [row["text"] for row in result.rows] == ["a dog", "cat"]
    assert result.rows == run("embed", "-t", "a dog", "-t", "cat").rows
    assert "these 2 are no files, and embedded as text (the same as --text 'a dog')" in result.stderr


def test_one_word_is_a_missing_file_with_a_hint(place: Path):
    assert place
    result = run("embed", "dog")
    assert "'dog' is not a file; to embed it as a text: --text dog" in result.stderr
    assert result.code != 0
    assert_one_error(run("embed", "a dog", "img"), "'a dog' is not a file", "--text 'a dog'", code=2)


@pytest.mark.parametrize(
    ("argument", "words"),
    [("a dog", True), ("dog", True), ("is it a dog?", True), ("a photo of a cat.", True), ("img", False), ("-", False),
     ("gone.jpg", False), ("a dog.jpg", False), ("my photos/x", False), ("*.png", False), ("s3://b/a b", False),
     ("", False), (" ", False), ("odd[1]", False)],
)  # fmt: skip
def test_what_can_only_be_words(place: Path, argument: str, words: bool):
    assert place
    assert is_words(argument) is words


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("img/*.png", ["img/blue.png", "img/odd1.png", "img/odd[1].png", "img/red.png"]),
        ("img/**/*.png", ["img/blue.png", "img/deep/green.png", "img/odd1.png", "img/odd[1].png", "img/red.png"]),
        ("img/{red,blue}*.png", ["img/red.png", "img/blue.png"]),
        ("img/d*", ["img/deep/green.png"]),
        ("img/odd[1].png", ["img/odd[1].png"]),
        ("img/?ed.png", ["img/red.png"]),
    ],
)
def test_patterns_in_quotes(place: Path, pattern: str, names: list[str]):
    assert place
    assert [ref.name for ref in collect([pattern])] == names


def test_patterns_are_for_arguments_not_for_lists(place: Path):
    (place / "list").write_text("img/*.png\n", encoding="utf-8")
    assert [ref.name for ref in collect([], files_from=["list"])] == ["img/*.png"]


def test_a_pattern_of_nothing_is_a_row(place: Path):
    assert place
    result = run("classify", "img/*.gif", "img/red.png", "-l", "a,b", "-f", "jsonl")
    assert result.code == 3
    assert result.rows[0]["error"]["reason"] == "nothing matches this pattern"


@pytest.mark.thorough
def test_patterns_of_vectors(place: Path):
    assert place
    for part in ("red", "blue"):
        assert run("embed", f"img/{part}.png", "-o", f"{part}.npy", "-q").code == 0
    assert run("merge", "*.npy", "-o", "all.npz").code == 0
    assert len(run("rank", "red", "*.npy", "-f", "jsonl").rows) == 2


@pytest.mark.thorough
def test_groups_alone_name_the_labels(place: Path):
    (place / "groups.txt").write_text("warm: red; orange\ncold: blue\n", encoding="utf-8")
    result = run("classify", "img", "--groups", "groups.txt", "-k", "0", "-f", "jsonl")
    assert result.code == 0
    assert result.rows == run("classify", "img", "--groups", "groups.txt", "-l", "red,orange,blue", "-k", "0", "-f",
                              "jsonl").rows  # fmt: skip
    (place / "groups.txt").write_text("warm: red\nred: blue\n", encoding="utf-8")
    assert "the group 'red' has the name of a label" in run("classify", "img", "--groups", "groups.txt").stderr


@pytest.mark.thorough
def test_openai_is_a_name_of_the_80_templates(place: Path):
    assert place
    assert run("prompts", "show", "openai").lines == run("prompts", "show", "imagenet").lines
    rows = run("classify", "img/red.png", "-l", "red,blue", "-p", "openai", "-f", "jsonl").rows
    assert rows == run("classify", "img/red.png", "-l", "red,blue", "-p", "imagenet", "-f", "jsonl").rows


def test_a_folder_in_place_of_a_command_is_answered_with_the_command(place: Path):
    result = run("img", "-k", "2")
    assert result.code == 2
    assert (
        "'img' is a file or folder, not a command. Did you mean: clipcli classify img -k 2 -l cat,dog" in result.stderr
    )
    assert "Did you mean: clipcli classify img -l dog\n" in run("img", "-l", "dog").stderr
    (place / "two words").mkdir()
    assert "clipcli classify 'two words' -l cat,dog" in run("two words").stderr
    assert "No such command 'nowhere'" in run("nowhere").stderr
    (place / "doctor").mkdir()
    assert run("doctor").code == 0
