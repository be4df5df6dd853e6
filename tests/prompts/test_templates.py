from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.inputs.text_files import tidy
from clipcli.prompts.templates import check_template, fill, normal, parse_lines, purpose, template_line

pieces = st.lists(st.sampled_from(["{}", "{{", "}}", "a", "photo", " ", "#", "\\", ";"]), max_size=10)
templates = pieces.map("".join).map(tidy).filter(lambda text: text and check_template(text) is None)


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("a photo of a {}.", "a photo of a cat."),
        ("a {c} and a {}", "a cat and a cat"),
        ("{{}} is not {}", "{} is not cat"),
        ("{{{}}}", "{cat}"),
    ],
)
def test_fill_reads_braces_as_str_format_does(template, filled):
    assert fill(template, "cat") == filled
    assert template.replace("{c}", "{}").format("cat", "cat") == filled


def test_braces_of_a_label_stay():
    assert fill("a {}", "{} {c} {{x}}") == "a {} {c} {{x}}"


@pytest.mark.parametrize(
    ("template", "problem", "suggestion"),
    [
        ("a photo", "no {} in 'a photo'", "for example 'a photo {}'"),
        ("a photo of %s.", "no {} in 'a photo of %s.'", "{} instead of %s"),
        ("a photo of <label>", "no {} in 'a photo of <label>'", "{} instead of <label>"),
        ("a {label}", "{label} in 'a {label}'", "write {} for the label"),
        ("a {0}", "{0} in 'a {0}'", "write {} for the label"),
        ("a {} {", "a stray { in 'a {} {'", "{} stands for the label, {{ for a brace"),
        ("a {} }", "a stray } in 'a {} }'", "{} stands for the label, }} for a brace"),
        ("a {{}}", "no {} in 'a {{}}'", "for example 'a {{}} {}'"),
        ("a \x00{}", "character U+0000 is not allowed in a text: 'a \\x00{}'", ""),
    ],
)
def test_what_is_wrong_with_a_template(template, problem, suggestion):
    assert check_template(template) == (problem, suggestion)


def test_a_whole_sentence_needs_no_place():
    assert check_template("A cat has whiskers.", whole=True) is None
    assert check_template("A {label} has whiskers.", whole=True) is not None


def test_a_file_gives_each_template_once_and_all_faults():
    text = "# photos\na photo of a {}.\n\na photo of a {c}.  # again\na picture\na {} {\n"
    found, faults = parse_lines(text, "f.txt")
    assert found == ("a photo of a {}.",)
    assert [str(fault) for fault in faults] == ["f.txt:5: no {} in 'a picture'", "f.txt:6: a stray { in 'a {} {'"]


def test_a_file_without_templates():
    assert [fault.problem for fault in parse_lines("# nothing\n", "f.txt")[1]] == ["holds no templates"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("# for cats\n{}", "for cats"), ("\n#for cats\n# more", "for cats"), ("{}\n# late", ""), ("", "")],
)
def test_the_purpose_is_the_first_comment(text, said):
    assert purpose(text) == said


@pytest.mark.thorough
@given(st.lists(templates, min_size=1, unique_by=normal))
def test_templates_written_a_line_each_read_back(found):
    assert parse_lines("\n".join(map(template_line, found)), "f") == (tuple(found), [])


@given(templates, st.text())
def test_fill_agrees_with_str_format(template, phrase):
    assert fill(template, phrase) == template.format(*[phrase] * template.count("{}"))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_makes_the_parser_fall(text):
    found, faults = parse_lines(text, "f")
    assert found or faults
