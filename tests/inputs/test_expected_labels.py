from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.errors import LabelsError
from clipcli.inputs.expected_labels import parse_expectations, require_labels


@pytest.fixture
def table(tmp_path):
    def write(text, name="e.csv"):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return parse_expectations(str(file))

    return write


def rows(found):
    return [(row.path, " or ".join(row.labels), row.line) for row in found.rows]


@pytest.mark.parametrize(
    "text",
    [
        "a.jpg,cat\nb.jpg,red car\n",
        "path,label\na.jpg,cat\nb.jpg,red car\n",
        "Image, Label \na.jpg, cat\nb.jpg,  red   car\n",
        "image,label,score,error\na.jpg,cat,0.9,\nb.jpg,red car,0.2,\n",
        "label,file\ncat,a.jpg\n\nred car,b.jpg\n",
        '\ufefffilename,label\r\n"a.jpg","cat"\r\nb.jpg,red car',
    ],
)
def test_csv_with_and_without_header(table, text):
    assert [row[:2] for row in rows(table(text))] == [("a.jpg", "cat"), ("b.jpg", "red car")]


def test_lines_are_counted_through_quoted_newlines(table):
    assert rows(table('path,label\n"a\nb.jpg",cat\nc.jpg,"dog, brown"\n')) == [
        ("a\nb.jpg", "cat", 2),
        ("c.jpg", "dog, brown", 4),
    ]


def test_jsonl_is_read_like_the_output_of_classify(table):
    lines = [{"image": "a.jpg", "label": "cat", "score": 0.5, "labels": []}, {"path": "b.jpg", "label": "dog"}]
    text = "\n\n".join(map(json.dumps, lines))
    assert rows(table(text, "e.jsonl")) == [("a.jpg", "cat", 1), ("b.jpg", "dog", 3)]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("e.csv", "a.jpg,cat\nb.jpg\n", "2: 2 columns are needed, not 1"),
        ("e.csv", "a.jpg,cat\nb.jpg, \n", "2: no label for 'b.jpg'"),
        ("e.csv", "a.jpg,cat\n,dog\n", "2: no path"),
        ("e.csv", "image,class\na.jpg,cat\n", "1: no column label among 'image, class'"),
        (
            "e.csv",
            "picture,label\na.jpg,cat\n",
            "1: no column path or image or file or filename among 'picture, label'",
        ),
        ("e.csv", "a.jpg,cat,0.3\n", "1: no column label among 'a.jpg, cat, 0.3'"),
        ("e.csv", "a.jpg;cat\n", "1: no column label among 'a.jpg;cat'"),
        ("e.csv", "a.jpg,cat;\n", "1: no label for 'a.jpg'"),
        ("e.csv", 'a.jpg,cat\n"b.jpg,dog\n', "2: not CSV: unexpected end of data"),
        ("e.csv", b"a.jpg,cat\nb.jpg,caf\xe9\n", r"2: label of 'b.jpg': character U\+DCE9"),
        ("e.csv", "\n", r" holds no rows"),
        ("e.csv", "path,label\n", r" holds no rows"),
        ("e.jsonl", '{"path": "a.jpg", "label": "cat"}\n{"path": "b.jpg"}\n', "2: no text under label"),
        ("e.jsonl", '{"label": "cat"}\n', "1: no text under path or image or file or filename"),
        ("e.jsonl", '{"path": "a.jpg", "label": 3}\n', "1: no text under label"),
        ("e.jsonl", '{"path": "a\\u0000", "label": "cat"}\n', "1: a NUL byte in the path"),
        ("e.jsonl", '["a.jpg", "cat"]\n', "1: no text under path"),
        ("e.jsonl", '\n{"path": \n', r"2: not JSON: expecting value \(column 10\)"),
        ("e.jsonl", "[" * 100_000, "1: "),
    ],
)
def test_faults_are_named_with_file_and_line(table, name, text, problem):
    with pytest.raises(LabelsError, match=rf"{name}:{problem}"):
        table(text, name)


def test_faults_are_counted(table):
    with pytest.raises(LabelsError, match=r"e\.csv:1: .* \(and 2 more faults\)"):
        table("a.jpg,\nb.jpg,\nc.jpg,\n")


def test_another_suffix_is_refused(table):
    with pytest.raises(LabelsError, match=r"e\.xlsx is neither \.csv nor \.jsonl"):
        table("a.jpg,cat", "e.xlsx")


def test_a_missing_file(tmp_path):
    with pytest.raises(LabelsError, match="cannot be read: no such file"):
        parse_expectations(str(tmp_path / "e.csv"))


def test_an_image_twice_with_one_label_is_one_row(table):
    assert rows(table("a.jpg,cat\nx/../a.jpg,cat\n")) == [("a.jpg", "cat", 1)]


def test_paths_are_tried_as_written_and_then_from_the_table(table, tmp_path, monkeypatch):
    elsewhere = tmp_path / "cwd"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    found = table(f"pets/a.jpg,cat\n{tmp_path}/b.jpg,dog\n")
    assert found.match("pets/a.jpg").labels == ("cat",)
    assert found.match("./pets/../pets/a.jpg").labels == ("cat",)
    assert found.match(f"{tmp_path}/pets/a.jpg").labels == ("cat",)
    assert found.match("../b.jpg").labels == ("dog",)
    assert found.match("b.jpg") is None


def test_as_written_goes_before_beside_the_table(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    found = table(f"{tmp_path.name}/a.jpg,cat\na.jpg,dog\n")
    assert found.match(str(tmp_path / "a.jpg")).labels == ("cat",)


def test_an_image_is_found_through_a_link(table, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert table("real/a.jpg,cat\n").match(f"{tmp_path}/link/a.jpg").labels == ("cat",)


def test_a_file_name_that_is_not_utf_8(table, tmp_path):
    found = table(b"caf\xe9.jpg,cat\n")
    assert found.match(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).labels == ("cat",)


def test_labels_that_cannot_be_given_are_named(table):
    found = table("a.jpg,cat\nb.jpg,dgo\nc.jpg,zebra\n")
    require_labels(found, ["cat", "dgo", "zebra"])
    with pytest.raises(LabelsError, match=r"e\.csv:2: 'dgo' is not one of the labels \(and 1 more fault\)") as caught:
        require_labels(found, ["cat", "dog"])
    assert caught.value.hint == "did you mean 'dog'?"


@given(st.one_of(st.text(), st.text('path,label"\n ab', max_size=60)), st.sampled_from(["e.csv", "e.jsonl"]))
def test_no_text_makes_the_parser_fall(tmp_path_factory, text, name):
    file = tmp_path_factory.mktemp("expectations") / name
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        found = parse_expectations(str(file))
    except LabelsError:
        return
    assert found.rows
    assert all(found.match(str(file.with_name(row.path))) for row in found.rows)


def test_an_image_may_have_several_right_labels(tmp_path):
    csv, jsonl = tmp_path / "e.csv", tmp_path / "e.jsonl"
    csv.write_text("a.jpg,cat;kitten\nb.jpg,dog\n./b.jpg,puppy\nc.jpg,rock \\; roll\n")
    jsonl.write_text('{"path": "a.jpg", "label": ["cat", "kitten"]}\n{"path": "b.jpg", "label": "dog"}\n')
    assert [row.labels for row in parse_expectations(str(csv)).rows] == [
        ("cat", "kitten"), ("dog", "puppy"), ("rock ; roll",),
    ]  # fmt: skip
    assert [row.labels for row in parse_expectations(str(jsonl)).rows] == [("cat", "kitten"), ("dog",)]


@pytest.mark.parametrize(("written", "on_disk"), [("café.jpg", "cafe\u0301.jpg"), ("cafe\u0301.jpg", "café.jpg")])
def test_composed_and_decomposed_names_are_one(tmp_path, written, on_disk):
    file = tmp_path / "e.csv"
    file.write_text(f"{written},cat\n", "utf-8")
    row = parse_expectations(str(file)).match(str(tmp_path / on_disk))
    assert row is not None
    assert row.labels == ("cat",)
