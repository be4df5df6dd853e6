from __future__ import annotations

import json

import pytest
from run import run, run_process

from clipcli.prompts import load_prompts, shipped_sets


def test_list_names_every_set_with_its_size_and_use():
    result = run("prompts", "list")
    assert result.code == 0
    assert result.lines == [f"{name}\t{len(each.read())}\t{each.purpose}" for name, each in shipped_sets().items()]


def test_list_as_json_lines():
    first = run("prompts", "list", "--format", "jsonl").rows[0]
    assert first == {"name": "animal", "templates": 7, "use": "photos of animals and birds, wild or kept"}


def test_list_gives_the_files_to_copy():
    files = run("prompts", "list", "--paths").lines
    assert len(files) == len(shipped_sets()) - 1
    assert load_prompts(files[:1]).templates == shipped_sets()["animal"].read()


def test_show_prints_a_file(tmp_path):
    result = run("prompts", "show", "photo", "plain")
    assert result.code == 0
    file = tmp_path / "copy.txt"
    file.write_text(result.stdout, encoding="utf-8")
    assert load_prompts([str(file)]).templates == load_prompts(["photo", "plain"]).templates
    assert run("prompts", "check", file) == run("prompts", "check", file, file)


def test_show_with_labels_prints_the_texts(tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("dog: puppy; hound\n")
    result = run("prompts", "show", "a {}", "-l", "cat", "--labels-file", labels)
    assert result.lines == ["a cat", "a puppy", "a hound"]


def test_show_reads_labels_from_stdin():
    assert run("prompts", "show", "plain", "--labels-file", "-", stdin="Äpfel\n".encode()).lines == ["Äpfel"]


def test_show_of_an_unknown_set():
    result = run("prompts", "show", "photos")
    assert (result.code, result.stdout) == (4, "")
    assert "no prompts called 'photos'" in result.stderr
    assert "did you mean 'photo'" in result.stderr


def test_show_of_the_imagenet_names_makes_a_label_file():
    assert len(run("prompts", "show", "@imagenet").lines) == 1000


def test_check_of_good_files_is_silent(tmp_path):
    file = tmp_path / "good.txt"
    file.write_text("a {}\n")
    result = run("prompts", "check", file)
    assert (result.stdout, result.stderr, result.code) == ("", "", 0)


def test_check_names_every_fault_of_every_file(tmp_path):
    text, broken, missing = tmp_path / "a.txt", tmp_path / "b.json", tmp_path / "c.txt"
    text.write_text("a\n\n{x}\n")
    broken.write_text('[\n"a {c}",\n]')
    result = run("prompts", "check", text, broken, missing)
    assert result.code == 4
    assert [line.split(" (")[0] for line in result.lines] == [
        f"{text}:1: no {{}} in 'a'",
        f"{text}:3: {{x}} in '{{x}}'",
        result.lines[2].split(" (")[0],
        f"{missing}: cannot be read: no such file or directory",
    ]
    assert result.lines[2].startswith(f"{broken}:")
    assert "not JSON" in result.lines[2]
    assert result.stderr == "clipcli: 4 faults found\n"


def test_check_with_labels_names_those_that_are_forgotten(tmp_path):
    file, labels = tmp_path / "cupl.json", tmp_path / "labels.txt"
    file.write_text(json.dumps({"cat": ["A cat."]}))
    labels.write_text("cat\ndog: \ncow\n")
    result = run("prompts", "check", file, "-l", "cats", "--labels-file", labels)
    assert result.code == 4
    assert [line.split(" (")[0] for line in result.lines] == [
        f"{labels}:2: an empty phrase for 'dog'",
        f"{file}: no prompts for 'cats'",
        f"{file}: no prompts for 'cow'",
    ]


def test_what_a_terminal_could_misread_is_spelt_out(tmp_path):
    file = tmp_path / "a\x1b[31m.txt"
    file.write_text("a \x07{}\n")
    result = run("prompts", "check", file)
    assert "\x1b" not in result.stdout
    assert "\x07" not in result.stdout
    assert r"a\x1b[31m.txt:1: character U+0007" in result.stdout


@pytest.mark.parametrize("arguments", [["show"], ["check"], ["chekc"]])
def test_wrong_calls(arguments):
    assert run("prompts", *arguments).code == 2


@pytest.mark.thorough
def test_data_is_utf_8_whatever_the_locale():
    result = run_process("prompts", "show", "plain", "-l", "käse", LC_ALL="C", PYTHONIOENCODING="ascii")
    assert (result.stdout, result.code) == ("käse\n", 0)
