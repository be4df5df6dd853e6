from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.errors import LabelsError
from clipcli.inputs.text_files import Fault, Faults, content_lines, escape, plain, read_text, refuse, tidy


def lines(text):
    faults = Faults("f")
    return [(number, plain(line)) for number, line in content_lines(text, faults)], faults.entries


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_line_ending_counts_lines_alike(tmp_path, ending):
    file = tmp_path / "a.txt"
    file.write_bytes(ending.join(["cat", "", "dog"]).encode())
    assert lines(read_text(str(file))) == ([(1, "cat"), (3, "dog")], [])


def test_byte_order_marks_are_no_text(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbfcat\n\xef\xbb\xbf# said so\n\xef\xbb\xbfdog\n")
    assert lines(read_text(str(file)))[0] == [(1, "cat"), (3, "dog")]


def test_latin_1_is_named_with_its_line(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes("cat\ncafé\n".encode("latin-1"))
    fault = read_text(str(file))
    assert str(fault) == f"{file}:2: byte 0xe9 is not UTF-8"
    assert "iconv" in fault.suggestion


def test_utf_16_is_named_as_such(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes("cat".encode("utf-16"))
    assert "UTF-16" in read_text(str(file)).problem


def test_a_binary_file_is_not_text(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    assert read_text(str(file)) == Fault(str(file), 3, "holds a NUL byte; it is not a text file")


@pytest.mark.parametrize(("name", "reason"), [("missing", "no such file"), ("", "is a directory"), ("a\0b", "null")])
def test_what_cannot_be_opened_is_a_fault(tmp_path, name, reason):
    assert reason in read_text(f"{tmp_path}/{name}").problem


def test_an_endless_file_is_cut_short(tmp_path, monkeypatch):
    monkeypatch.setattr("clipcli.inputs.text_files._LARGEST", 4)
    file = tmp_path / "a.txt"
    file.write_text("a cat")
    assert "larger than" in read_text(str(file)).problem


def test_stdin_is_read_and_named(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"cat\nc\xe9\n")))
    assert str(read_text("-")) == "<stdin>:2: byte 0xe9 is not UTF-8"


@pytest.mark.parametrize(
    ("line", "content"),
    [
        ("cat # the animal", "cat"),
        ("cat #", "cat"),
        ("number #1", "number #1"),
        ("C# book", "C# book"),
        (r"\#1 sign", "#1 sign"),
        (r"a \# b", "a # b"),
        (r"back\\slash", r"back\slash"),
        (r"C:\temp", r"C:\temp"),
        ("  a \t wide\u00a0gap ", "a wide gap"),
    ],
)
def test_comments_escapes_and_white_space(line, content):
    assert lines(line) == ([(1, content)], [])


@pytest.mark.parametrize("line", ["", "   ", "# all of it", "#closely", "  # indented"])
def test_lines_without_content(line):
    assert lines(line) == ([], [])


def test_a_control_character_is_a_fault_of_its_line():
    found, faults = lines("cat\n\x1b[31mdog\ncow")
    assert found == [(1, "cat"), (3, "cow")]
    assert [str(fault) for fault in faults] == ["f:2: character U+001B is not allowed in a text"]


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])).map(tidy).filter(bool))
def test_an_escaped_text_reads_back(text):
    assert lines(escape(text)) == ([(1, text)], [])


@given(st.text())
def test_tidy_is_settled_at_once(text):
    assert tidy(tidy(text)) == tidy(text)


def test_the_first_fault_speaks_and_the_others_are_counted():
    faults = Faults("f.txt")
    faults.add(2, "wrong", "do this")
    with pytest.raises(LabelsError, match=r"^f\.txt:2: wrong$") as one:
        refuse(faults.entries, LabelsError, see_all="look")
    assert one.value.hint == "do this"
    faults.add(3, "worse")
    with pytest.raises(LabelsError, match=r"^f\.txt:2: wrong \(and 1 more fault\)$") as two:
        refuse(faults.entries, LabelsError, see_all="look")
    assert two.value.hint == "do this; look"
