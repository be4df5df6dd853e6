"""Every reader against every hostile document: an error of its own in one line, whatever the bytes."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from untrusted.readers import READERS
from untrusted.sweep import in_a_process, sweep

EVERY = 25
LIGHT = [name for name in READERS if not name.endswith("a bundle")]


def needs_packages(name: str) -> None:
    if "Parquet" in name or name == "table of images":
        pytest.importorskip("pyarrow")


@pytest.mark.parametrize("name", LIGHT)
def test_some_documents(name: str, tmp_path: Path):
    needs_packages(name)
    assert sweep(name, tmp_path, every=EVERY, first=zlib.crc32(name.encode()))["bad"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_all_documents_with_little_memory(name: str):
    needs_packages(name)
    found = in_a_process(name)
    assert found["bad"] == {}
    assert int(str(found["peak_mb"])) < 2000
