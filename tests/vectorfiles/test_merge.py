"""Shards make up the whole again, and what does not fit together is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clipcli.errors import VectorsError
from clipcli.vectorfiles import (
    VECTOR_FORMATS,
    Failure,
    Shard,
    VectorRows,
    VectorsInfo,
    WritePlan,
    create_vectors,
    open_vectors,
)
from clipcli.vectorfiles.checkpoints import Chunk, write_chunk
from clipcli.vectorfiles.merge import merge

INFO = VectorsInfo("image", "m", "0123456789ab", "fp32")
COUNT = 25
FAILED = (0, 7, 8, 24)


def vectors() -> np.ndarray:
    rows = np.random.default_rng(5).normal(size=(COUNT, 4)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write(path, positions, shard=None, info=INFO):
    good = [position for position in positions if position not in FAILED]
    lost = [Failure(f"{position}.png", "decode", "no image", position) for position in positions if position in FAILED]
    rows = VectorRows([f"{position}.png" for position in good], vectors()[good], np.array(good, np.int64))
    with create_vectors(path.suffix[1:], WritePlan(path, replace(info, shard=shard), len(good), 4)) as writer:
        write_chunk(writer, Chunk(rows, lost))
    return open_vectors(path)


def shards(folder, suffix="npy", count=3, inputs=COUNT, listing="aa"):
    shares = [[position for position in range(COUNT) if position * 7 % 5 % count == index] for index in range(count)]
    return [
        write(folder / f"{index}.{suffix}", share, Shard(index, count, inputs, listing))
        for index, share in enumerate(shares, start=1)
    ]


@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
def test_shards_give_the_very_bytes_of_the_whole(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr("clipcli.vectorfiles.merge._ROWS_AT_ONCE", 2)
    write(tmp_path / f"whole.{suffix}", range(COUNT))
    files = shards(tmp_path, suffix)
    assert merge(files[::-1], tmp_path / f"merged.{suffix}", suffix, "float32") == COUNT - len(FAILED)
    for whole in tmp_path.glob("whole*"):
        assert whole.read_bytes() == (tmp_path / whole.name.replace("whole", "merged")).read_bytes()


def test_formats_may_be_mixed(tmp_path):
    files = [file for suffix in ("npy", "jsonl", "safetensors") for file in shards(tmp_path, suffix)]
    mixed = [files[0], files[4], files[8]]
    merge(mixed, tmp_path / "out.npz", "npz", "float32")
    merged = open_vectors(tmp_path / "out.npz")
    assert merged.names == [f"{position}.png" for position in range(COUNT) if position not in FAILED]
    np.testing.assert_allclose(merged.matrix(), np.delete(vectors(), FAILED, axis=0))
    assert [lost.name for lost in merged.failures] == [f"{position}.png" for position in FAILED]


def test_files_without_shards_stand_one_after_the_other(tmp_path):
    files = [write(tmp_path / "b.npy", range(5, 10)), write(tmp_path / "a.npy", range(1, 3))]
    assert merge(files, tmp_path / "out.jsonl", "jsonl", "float32") == 5
    assert open_vectors(tmp_path / "out.jsonl").names == ["5.png", "6.png", "9.png", "1.png", "2.png"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda files: files[:2], "1 of 3 shards missing: 3/3"),
        (lambda files: [*files, files[1]], "shard 2/3 was given twice"),
        (lambda files: [files[0]] * 3, "shard 1/3 was given twice"),
    ],
)
def test_shards_that_are_not_all(tmp_path, change, why):
    with pytest.raises(VectorsError, match=why):
        merge(change(shards(tmp_path)), tmp_path / "out.npy", "npy", "float32")
    assert not (tmp_path / "out.npy").exists()


def test_shards_of_other_inputs(tmp_path):
    files = shards(tmp_path)
    (tmp_path / "x").mkdir()
    with pytest.raises(VectorsError, match="have different inputs"):
        merge([files[0], files[1], shards(tmp_path / "x", listing="bb")[2]], tmp_path / "out.npy", "npy", "float32")
    with pytest.raises(VectorsError, match="hold 25 of 26 inputs"):
        merge(shards(tmp_path / "x", inputs=26), tmp_path / "out.npy", "npy", "float32")


def test_unfinished_shards_need_to_be_asked_for(tmp_path):
    files = shards(tmp_path, inputs=0)[:2]
    with pytest.raises(VectorsError, match="unfinished"):
        merge(files, tmp_path / "out.npy", "npy", "float32")
    assert merge(files, tmp_path / "out.npy", "npy", "float32", complete=False) == len(files[0]) + len(files[1])


def test_overlap(tmp_path):
    files = [write(tmp_path / "a.npy", range(1, 5)), write(tmp_path / "b.npy", range(4, 9))]
    with pytest.raises(VectorsError, match=r"4\.png is both in .*a\.npy and in .*b\.npy"):
        merge(files, tmp_path / "out.npy", "npy", "float32")
    shard = [
        write(tmp_path / "c.npy", range(1, 5), Shard(1, 2, 9, "aa")),
        write(tmp_path / "d.npy", range(4, 9), Shard(2, 2, 9, "aa")),
    ]
    with pytest.raises(VectorsError, match=r"4\.png is in two of the files"):
        merge(shard, tmp_path / "out.npy", "npy", "float32", complete=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("fingerprint", "f" * 12), ("kind", "text"), ("precision", "bf16"), ("unit_length", False), ("prompts", "x")],
)
def test_files_that_cannot_be_compared(tmp_path, name, value):
    files = [write(tmp_path / "a.npy", [1]), write(tmp_path / "b.npy", [2], info=replace(INFO, **{name: value}))]
    with pytest.raises(VectorsError, match=name.replace("_", " ")):
        merge(files, tmp_path / "out.npy", "npy", "float32")


def test_a_shard_among_others(tmp_path):
    files = [write(tmp_path / "a.npy", [1]), write(tmp_path / "b.npy", [2], Shard(1, 1, 1, "aa"))]
    with pytest.raises(VectorsError, match="is not a shard"):
        merge(files, tmp_path / "out.npy", "npy", "float32")
