from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipcli.errors import UsageError
from clipcli.inputs.query import image_query, looks_like_image, parse_query, read_query, words_query


def terms(source):
    return [(term.weight, term.text, term.is_image) for term in parse_query(source).terms]


@pytest.mark.parametrize(
    "plain",
    ["two parrots", "black-and-white photo", "t-shirt", "C++", "a+b", "-5 degrees", "16:9 screen", "3:10 to Yuma",
     '12" record', '5" and 7" records', "ratio 2:x", "2: dogs", "pool.jpg", "and/or", 'the "No Entry" sign'],
)  # fmt: skip
def test_plain_words_stay_as_they_are(plain):
    assert terms(plain) == [(1, plain, False)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("horse + stripes", [(1, "horse", False), (1, "stripes", False)]),
        ("apple - fruit", [(1, "apple", False), (-1, "fruit", False)]),
        ('"2:golden retriever" + ./pool.jpg - fruit',
         [(2, "golden retriever", False), (1, "./pool.jpg", True), (-1, "fruit", False)]),
        ("2:golden retriever + .5:snow", [(2, "golden retriever", False), (0.5, "snow", False)]),
        ('2:"a - b" - 1.5:"c"', [(2, "a - b", False), (-1.5, "c", False)]),
        ('"./new york + city.jpg" + night', [(1, "./new york + city.jpg", True), (1, "night", False)]),
        ("- fruit + apple", [(-1, "fruit", False), (1, "apple", False)]),
        ("+ cat", [(1, "cat", False)]),
        ('"a - b"', [(1, "a - b", False)]),
        (r'"say \"hi\" - \\o"', [(1, 'say "hi" - \\o', False)]),
        ('1:"2:x"', [(1, "2:x", False)]),
        ("../a.jpg", [(1, "../a.jpg", True)]),
        ("/a/b.jpg - 2:/c.jpg", [(1, "/a/b.jpg", True), (-2, "/c.jpg", True)]),
        ("t-shirt -  blue-green", [(1, "t-shirt", False), (-1, "blue-green", False)]),
    ],
)  # fmt: skip
def test_sums(source, expected):
    assert terms(source) == expected


def test_a_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert terms("~/pool.jpg") == [(1, "/home/me/pool.jpg", True)]


@pytest.mark.parametrize(
    ("source", "problem", "column"),
    [
        ("cat -", "a term is missing", 4),
        ("cat + - dog", "a term is missing", 5),
        ("+", "a term is missing", 0),
        ('"cat', "not closed", 0),
        ('cat + "dog - bird', "not closed", 6),
        ("cat + 0:dog", "above 0", 6),
        ('cat + "0:dog"', "above 0", 7),
        ("- fruit", "only negative terms", 0),
        ("- fruit - 2:apple", "only negative terms", 0),
        ('cat + ""', "is empty", 6),
        (f"cat + {'9' * 400}:dog", "too large", 6),
        ("日本 + 0:dog", "above 0", 7),
        ("cafe\u0301 + 0:dog", "above 0", 7),
    ],
)
def test_errors_point_at_the_place(source, problem, column):
    with pytest.raises(UsageError, match=problem) as caught:
        parse_query(source)
    _, line, caret = caught.value.message.split("\n")
    assert line == f"  {source}"
    assert caret.index("^") - 2 == column


@pytest.mark.parametrize("source", ["", "  ", "\n"])
def test_an_empty_query(source):
    with pytest.raises(UsageError, match="the query is empty"):
        parse_query(source)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.text('ab+-" :\\./2', max_size=20)))
def test_any_text_is_read_or_refused(source):
    try:
        query = parse_query(source)
    except UsageError:
        return
    assert query.terms
    assert any(term.weight > 0 for term in query.terms)
    assert all(term.text.strip() for term in query.terms)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=4))
def test_quoting_keeps_any_words(texts):
    quoted = ['1:"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts]
    assert [term.text for term in parse_query(" + ".join(quoted)).terms] == texts


def test_how_a_query_was_understood_can_be_said():
    assert str(parse_query('"2:golden retriever" + ./pool.jpg - fruit')) == (
        "2 × 'golden retriever' + image ./pool.jpg - 'fruit'"
    )
    assert parse_query("a - b").is_sum
    assert not parse_query("t-shirt").is_sum


def test_literal_text_and_images_are_not_read_as_expressions():
    assert words_query("a - b").terms[0].text == "a - b"
    assert image_query("a - b.jpg").images == ("a - b.jpg",)
    assert not looks_like_image("a.jpg")


@pytest.mark.parametrize("name", ["a - b.jpg", "2:x + y.PNG", "photo.jpg", "- a.webp"])
def test_a_query_that_names_a_picture_is_the_picture(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    for written in (name, f"./{name}", str(tmp_path / name), f".\\{name}"):
        query = read_query(written)
        assert query.is_example
        assert os.path.samefile(query.images[0], tmp_path / name)


@pytest.mark.parametrize("url", ["https://example.org/x.jpg", "file:///tmp/x.jpg", "s3://bucket/a/x"])
def test_a_url_is_the_picture(url):
    assert read_query(url).images == (url,)


def test_the_name_of_a_url_keeps_no_secret():
    assert "secret" not in read_query("https://example.org/x.jpg?token=secret").name


def test_words_stay_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dog").touch()
    for words in ("dog", "missing.jpg", "a dog - a cat", "https://example.org and a cat", '"photo.jpg"'):
        assert not read_query(words).images
    assert read_query(".\\missing.jpg").images == ("./missing.jpg",)
