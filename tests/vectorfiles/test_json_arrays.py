"""Names are looked up where they stand, and every reader gets the ones that were written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.errors import VectorsError
from clipcli.vectorfiles import open_vectors
from clipcli.vectorfiles.json_arrays import JsonArray, read_names
from clipcli.vectorfiles.writer import json_line

LETTERS = st.characters(exclude_categories=["Cs"]) | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
TEXTS = st.lists(st.text(LETTERS), min_size=1, max_size=80)


def in_lines(names):
    return b"[" + b",\n".join(json_line(name).rstrip(b"\n") for name in names) + b"]"


def read(text, rows):
    return read_names(np.frombuffer(text, np.uint8), rows, "a file")


@given(TEXTS, st.data())
def test_looked_up_names_are_the_parsed_ones(names, data):
    found = read(in_lines(names), len(names))
    assert isinstance(found, JsonArray)
    row = data.draw(st.integers(-len(names), len(names) - 1))
    part = data.draw(st.slices(len(names)))
    assert (len(found), found[row], list(found[part])) == (len(names), names[row], names[part])
    assert list(found) == names
    assert found == names
    with pytest.raises(IndexError):
        found[len(names)]


def test_many_look_ups_parse_once(monkeypatch):
    names = read(in_lines(["a", "b"]), 2)
    parsed = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda text, **more: parsed.append(text) or loads(text, **more))
    assert {names[row % 2] for row in range(10_000)} == {"a", "b"}
    assert len(parsed) < 5000


@pytest.mark.parametrize("layout", [{}, {"indent": 1}, {"separators": (",", ":")}])
def test_other_layouts_are_parsed(layout):
    names = ["a", "b\nc", 'd"e']
    assert list(read(json.dumps(names, **layout).encode(), 3)) == names


@pytest.mark.parametrize("text", [b'["a",\nb]', b'["a",\n3]', b'["a",\n]', b'["a",\n"b" "c"]', b'["a",\n"\xff"]'])
def test_a_damaged_name_is_found_out_when_it_is_looked_at(text):
    names = read(text, 2)
    assert names[0] == "a"
    with pytest.raises(VectorsError, match="a file: its names are"):
        names[1]
    with pytest.raises(VectorsError):
        list(names)


@pytest.mark.parametrize("text", [b"", b"[", b"[3]", b'{"a": 1}', b'["a"'])
def test_what_is_no_array_of_texts_is_refused(text):
    with pytest.raises(VectorsError, match="a file: its names are"):
        read(text, 7)


def rewritten(sample, **layout):
    """The file beside the vectors as another program would write it again."""
    path = sample.write("out.npy")
    beside = path.with_name("out.npy.json")
    beside.write_text(json.dumps(json.loads(beside.read_text("utf-8")), **layout), "utf-8")
    return open_vectors(path)


@pytest.mark.parametrize("layout", [{}, {"indent": 2}, {"separators": (",", ":")}, {"sort_keys": True}])
def test_a_description_written_again_is_read_as_before(sample, layout):
    file = rewritten(sample, **layout)
    assert list(file.names) == sample.names
    assert file.fingerprint == "0123456789ab"


def test_too_few_names_and_none(sample):
    path = sample.write("out.npy")
    beside = path.with_name("out.npy.json")
    record = json.loads(beside.read_text("utf-8"))
    beside.write_text(json.dumps({**record, "names": record["names"][:-1]}), "utf-8")
    with pytest.raises(VectorsError, match="7 vectors but 6 names"):
        open_vectors(path)
    for broken in (b"", b'{"names": [', b'{"names": []', b'{"names": ["a"]}]}'):
        beside.write_bytes(broken)
        with pytest.raises(VectorsError):
            open_vectors(path)
