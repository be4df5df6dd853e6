from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.prompts.templates import parse_json_prompts

json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def test_a_list_of_templates():
    prompts, faults = parse_json_prompts('["a photo of a {c}.", "a {}", "a {c}"]', "t.json")
    assert (prompts.templates, dict(prompts.per_label), faults) == (("a photo of a {}.", "a {}"), {}, [])


def test_prompts_of_each_label():
    text = '{"cat": ["A cat has whiskers.", "Look, a {c}!"], " red  car ": ["Red\\u00a0paint."]}'
    prompts, faults = parse_json_prompts(text, "t.json")
    assert (prompts.templates, faults) == ((), [])
    assert dict(prompts.per_label) == {"cat": ("A cat has whiskers.", "Look, a {}!"), "red car": ("Red paint.",)}


def test_one_data_set_of_several():
    text = json.dumps({"pets": ["a {c}"], "cars": {"van": ["A van has room."]}, "flat": ["{c}"]})
    assert parse_json_prompts(text, "t.json", "pets")[0].templates == ("a {}",)
    assert dict(parse_json_prompts(text, "t.json", "cars")[0].per_label) == {"van": ("A van has room.",)}
    assert [str(fault) for fault in parse_json_prompts(text, "t.json")[1]] == ["t.json:1: holds several data sets"]
    assert [fault.suggestion for fault in parse_json_prompts(text, "t.json", "pet")[1]] == ["did you mean 'pets'?"]
    assert "it has 'pets', 'cars', 'flat'" in parse_json_prompts(text, "t.json", "zzz")[1][0].suggestion
    assert parse_json_prompts("[]", "t.json", "pets")[1][0].suggestion == "it is not an object of data sets"


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ('[\n  "a {c}",\n  "a {c}"\n  "b"\n]', 4, r"not JSON: expecting ',' delimiter \(column 3\)"),
        ("", 1, r"not JSON: expecting value \(column 1\)"),
        ('["a \n{c}"]', 1, "not JSON: invalid control character at"),
        ('[\n"a {c}",\n"a photo"]', 3, "no {} in 'a photo'"),
        ('["a {c}",\n3]', 1, "an entry that is not a text"),
        ('[\n""]', 2, "an empty prompt"),
        ("[]", 1, "holds no templates"),
        ("{}", None, "holds no prompts"),
        ("true", 1, "not a template file"),
        ('"a {c}"', 1, "not a template file"),
        ('{"cat": ["x"],\n"dog": "y"}', 2, "the prompts of 'dog' are not a list"),
        ('{"cat": ["x"],\n"dog": []}', 2, "no prompts for 'dog'"),
        ('{"cat": ["x"],\n"cat": ["z"]}', 2, "'cat' occurs twice"),
        ('{"cat": ["x"],\n" ": ["z"]}', 2, "an empty label"),
        ('{"cat": ["x",\n"a {name}"]}', 2, "{name} in 'a {name}'"),
        ('["a \\ud800 {c}"]', 1, r"character U\+D800"),
        ("[" * 100_000, None, "not a template file: numbers too long or nesting"),
        ("9" * 5_000, None, "not a template file: numbers too long or nesting"),
    ],
)
def test_faults_have_their_line(text, line, problem):
    fault = parse_json_prompts(text, "t.json")[1][0]
    assert fault.line == line
    assert re.match(problem, fault.problem)


def test_lines_are_right_behind_quotes_and_escapes():
    text = '{\n"a \\" b": ["one \\\\"],\n\n"c": [\n"two",\n"{bad}"\n]\n}'
    assert [fault.line for fault in parse_json_prompts(text, "t.json")[1]] == [6]


def test_all_faults_are_found():
    assert [fault.line for fault in parse_json_prompts('[\n"a",\n"b",\n"{}"\n]', "t.json")[1]] == [2, 3]


@pytest.mark.thorough
@given(json_values, st.sampled_from([None, 0, 2]))
def test_any_json_is_read_or_faulted(value, indent):
    prompts, faults = parse_json_prompts(json.dumps(value, indent=indent), "t.json")
    assert prompts.templates or prompts.per_label or faults


@given(st.text())
def test_no_text_makes_the_parser_fall(text):
    prompts, faults = parse_json_prompts(text, "t.json")
    assert prompts.templates or prompts.per_label or faults
