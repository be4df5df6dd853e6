from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipcli.runs.rank.corpus import slices

SMAPS = Path("/proc/self/smaps")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 7, 100, 10**6])
def test_every_row_once_and_only_wide_numbers_are_converted(tmp_path, dtype, rows):
    vectors = np.random.default_rng(0).standard_normal((100, 33)).astype(dtype)
    np.save(tmp_path / "v.npy", vectors)
    found = [(start, block.copy()) for start, block in slices(np.load(tmp_path / "v.npy", mmap_mode="r"), rows)]
    assert [start for start, _ in found] == list(range(0, 100, rows))
    assert {block.dtype for _, block in found} == {np.dtype(dtype if dtype != np.float64 else np.float32)}
    assert np.array_equal(np.concatenate([block for _, block in found]), vectors.astype(found[0][1].dtype))


@pytest.mark.thorough
@pytest.mark.skipif(not SMAPS.exists(), reason="only Linux tells which pages are mapped")
def test_pages_are_let_go_block_by_block(tmp_path):
    np.save(tmp_path / "v.npy", np.ones((4096, 1024), np.float32))
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")

    def resident():
        lines = SMAPS.read_text("utf-8").split(str(tmp_path / "v.npy"))[1].splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Rss:"))

    most = 0
    for _, block in slices(mapped, 512):
        assert block.sum() == block.size
        most = max(most, resident())
    assert 2048 <= most < 3 * 2048, "kB; a block is 2048, and the system maps pages in bunches"
