"""Bytes by chance for every reader: hypothesis in the default run; longer runs by `fuzz.py` (see SECURITY.md)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from untrusted.documents import KEYS, documents
from untrusted.readers import READERS, verdict
from untrusted.test_readers import needs_packages

FAST = [name for name in READERS if not name.endswith(("a bundle", "an index")) and name != "cache"]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=20,
)


def written(value: object) -> bytes:
    import json

    return json.dumps(value).encode("utf-8", "surrogatepass") + b"\n"


texts = st.lists(
    st.sampled_from(
        [b"\n", b",", b"\t", b'"', b"#", b":", b";", b"{", b"}", b"[", b"]", b"=", b"..", b"*", b"\\", b"\0", b"://"]
    )
    | st.binary(max_size=6)
    | st.sampled_from(KEYS).map(str.encode),
    max_size=60,
).map(b"".join)
pieces = st.tuples(st.sampled_from(sorted(documents())), st.integers(0, 4000), st.binary(max_size=40)).map(
    lambda given: documents()[given[0]][: given[1]] + given[2]
)
anything = st.one_of(values.map(written), texts, pieces, st.binary(max_size=300))


@pytest.mark.parametrize("name", FAST)
def test_any_bytes(name: str):
    needs_packages(name)
    reader = READERS[name]
    with tempfile.TemporaryDirectory() as folder:
        reader.prepare(Path(folder))

        @settings(max_examples=6, database=None, suppress_health_check=list(HealthCheck))
        @given(data=anything)
        def attempt(data: bytes) -> None:
            file = Path(folder) / reader.name
            file.write_bytes(data)
            assert verdict(reader, file) is None, data

        attempt()
