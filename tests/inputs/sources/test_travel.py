"""References that are sent to another process arrive as they were, and nothing but a reference does."""

from __future__ import annotations

import pytest

from clipcli.inputs.sources.expand import RemoteObject
from clipcli.inputs.sources.parquet import Cell
from clipcli.inputs.sources.refs import ImageRef
from clipcli.inputs.sources.tar import TarMember
from clipcli.session.ray.worker import from_json, to_json

SOURCES = [None, RemoteObject("s3://b/a.jpg"), RemoteObject("https://h/a", 7), TarMember("a\udcff.tar", 512, 9)]


@pytest.mark.parametrize("source", [*SOURCES, Cell("t.parquet", "image.bytes", 3, 4)])
def test_a_reference_arrives_as_it_was(source):
    ref = ImageRef("a\udcff\n.jpg", "ä", None if source else "why not", source)
    text = to_json(ref)
    assert text.isascii()
    assert from_json(text) == ref


@pytest.mark.parametrize(
    "text", ["", "[]", "7", "cos\nsystem\n(S'true'\ntR.", '["a", "b", null, ["os.system", "true"]]']
)
def test_anything_else_is_refused(text: str):
    with pytest.raises((ValueError, TypeError, KeyError)):
        from_json(text)
