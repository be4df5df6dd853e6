"""Texts come out of lists and tables as they stand there."""

from __future__ import annotations

import io
import json
import sys

import pytest

from clipcli.errors import InputsError, UsageError
from clipcli.inputs.texts import TextRef, read_texts


def read(path, column=None):
    return list(read_texts([], [str(path)], column))


def test_lines_as_they_stand(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffone\n\n  zwei ☃ \r\n\xff\nlast".encode().replace("\xff".encode(), b"\xff"))
    assert read(file) == [
        TextRef("one"),
        TextRef(""),
        TextRef("  zwei ☃ "),
        TextRef("\\xff", "not UTF-8"),
        TextRef("last"),
    ]


def test_texts_of_the_command_line_come_first(tmp_path):
    (tmp_path / "a.txt").write_text("b\n")
    assert list(read_texts(["a"], [str(tmp_path / "a.txt")], None)) == [TextRef("a"), TextRef("b")]


def test_a_column_of_csv(tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes(b'\xef\xbb\xbfid,text\n1,"two\nlines, one cell"\n2\n3,"a\xffb"\n')
    assert read(file, "text") == [
        TextRef("two\nlines, one cell"),
        TextRef("", f"no text in row 2 of {file}"),
        TextRef("a\\udcffb", "not UTF-8"),
    ]


def test_the_only_column_of_a_table_needs_no_name(tmp_path):
    file = tmp_path / "a.tsv"
    file.write_text("caption\na b\n")
    assert read(file) == [TextRef("a b")]
    lines = tmp_path / "a.jsonl"
    lines.write_text('{"caption": "a b"}\n{"caption": "c"}\n')
    assert read(lines) == [TextRef("a b"), TextRef("c")]
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an optional package")
    import pyarrow as pa

    parquet.write_table(pa.table({"caption": ["a b"]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [TextRef("a b")]


def test_a_field_of_json_lines(tmp_path):
    file = tmp_path / "a.jsonl"
    rows = [{"text": "a"}, {"text": None}, {"other": 1}, {"text": 5}, {"text": "lone \ud800"}]
    file.write_text("\n\n".join(json.dumps(row) for row in rows))
    bad = [f"no text in line {number} of {file}" for number in (3, 5, 7, 9)]
    assert [ref.problem for ref in read(file, "text")] == [None, *bad]


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
def test_a_column_of_parquet(tmp_path, kind):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is an optional package")
    from pyarrow import parquet

    values = pa.array(["a", None, "b"], pa.large_string() if kind == "large_string" else pa.string())
    column = values.dictionary_encode() if kind == "dictionary" else values
    parquet.write_table(pa.table({"id": [1, 2, 3], "text": column}), tmp_path / "a.parquet")
    file = tmp_path / "a.parquet"
    assert read(file, "text") == [TextRef("a"), TextRef("", f"no text in row 2 of {file}"), TextRef("b")]


def test_columns_that_cannot_be_used(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is an optional package")
    from pyarrow import parquet

    parquet.write_table(pa.table({"id": [1], "text": ["a"]}), tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("id,text\n1,a\n")
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "a"}\n')
    with pytest.raises(InputsError, match="the column id holds int64, not text"):
        read(tmp_path / "a.parquet", "id")
    for suffix in ("parquet", "csv", "jsonl"):
        with pytest.raises(InputsError, match="has no column caption") as caught:
            read(tmp_path / f"a.{suffix}", "caption")
        assert caught.value.hint == "--column takes one of id, text"
        with pytest.raises(InputsError, match="has several columns"):
            read(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "txt", "csv"])
def test_files_that_are_missing_or_noise(tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    with pytest.raises(InputsError, match="no such file"):
        read(file, None if suffix == "txt" else "text")
    file.write_bytes(b"\x00\x01noise\xff" * 50)
    if suffix == "txt":
        assert [ref.problem for ref in read(file)] == ["not UTF-8"]
    else:
        with pytest.raises(InputsError):
            read(file, "text")


@pytest.mark.parametrize(("data", "column"), [(b'{"t": "a"}\n', "t"), (b"id,t\n1,a\n", "t"), (b"a\n", None)])
def test_stdin_is_lines_or_told_by_its_first_byte(monkeypatch, data, column):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))
    assert read("-", column) == [TextRef("a")]


def test_arguments_that_do_not_go_together(tmp_path):
    (tmp_path / "a.txt").write_text("a\n")
    with pytest.raises(UsageError, match="only once"):
        read_texts([], ["-", "-"], None)
    with pytest.raises(UsageError, match="--column needs --texts-from"):
        read_texts(["a"], [], "text")
    with pytest.raises(UsageError, match="--column needs a table"):
        read(tmp_path / "a.txt", "text")
