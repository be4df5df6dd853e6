"""What is written is read back as it was."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from clipcli.vectorfiles import VECTOR_FORMATS, VectorRows, VectorsInfo, WritePlan, create_vectors, open_vectors
from clipcli.vectorfiles.info import settings
from clipcli.vectorfiles.vector_file import description_path


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
def test_everything_comes_back(sample, suffix, dtype):
    file = open_vectors(sample.write(f"out.{suffix}", dtype))

    assert (file.info, file.dim, file.fingerprint, file.kind, len(file)) == (sample.info, 6, "0123456789ab", "image", 7)
    assert list(file.names) == sample.names
    assert file.positions is None
    found = [(lost.name, lost.stage, lost.reason) for lost in file.failures]
    assert found == [("bad.png", "decode", "no image"), ("gone.png", "read", "no such file")]
    assert file.matrix().dtype == np.float32
    np.testing.assert_array_equal(file.matrix().astype(dtype), sample.vectors(dtype))
    starts, blocks = zip(*file.blocks(3), strict=True)
    assert starts == (0, 3, 6)
    np.testing.assert_array_equal(np.concatenate(blocks), file.matrix())


@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
def test_a_shard_keeps_positions(sample, suffix):
    sample.use_shard()
    file = open_vectors(sample.write(f"out.{suffix}"))

    assert file.info == sample.info
    assert file.positions.tolist() == list(sample.positions)
    assert [lost.position for lost in file.failures] == [2, 7]
    assert np.concatenate([rows.positions for rows in file.read(2)]).tolist() == list(sample.positions)


@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
def test_the_same_rows_give_the_same_bytes_in_any_blocks(sample, suffix):
    sample.failures = ()
    first = sample.write(f"out.{suffix}", block=2).read_bytes()
    assert sample.write(f"out.{suffix}", block=5).read_bytes() == first


def test_binary_files_are_mapped_not_read(sample):
    for suffix in ("npy", "npz", "safetensors"):
        matrix = open_vectors(sample.write(f"out.{suffix}")).matrix()
        assert isinstance(matrix, np.memmap) or isinstance(matrix.base, np.memmap)


def test_csv_has_a_header_and_an_error_column(sample):
    path = sample.write("out.csv")
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["image", "fingerprint", "precision", "v0", "v1", "v2", "v3", "v4", "v5", "error"]
    names = sample.names
    assert [row[0] for row in rows] == [*names[:2], "bad.png", *names[2:4], "gone.png", *names[4:]]
    assert rows[2][-1] == "decode: no image"


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize(
    "info",
    [
        VectorsInfo("image", "m", "f" * 12, "bf16", unit_length=False, pixels="rgb on #0a0B0c".lower()),
        VectorsInfo("image", "m", "f" * 12, "fp32", decoding="unrotated, fast", pixels="bare"),
        VectorsInfo("text", "m", "f" * 12, "fp16", prompts='imagenet, "mine"'),
        VectorsInfo("text", "m", "f" * 12),
    ],
    ids=lambda info: f"{info.kind} {info.precision}",
)
def test_rows_alone_say_what_changes_their_vectors(sample, suffix, info):
    sample.info = info
    path = sample.write(f"out.{suffix}")
    described = open_vectors(path).info
    description_path(path).unlink()
    alone = open_vectors(path)
    assert settings(alone.info) == settings(described) == settings(info)
    assert (alone.kind, alone.fingerprint, alone.names) == (info.kind, info.fingerprint, sample.names)
    assert len(alone.failures) == 2


def test_columns_of_other_programs_are_not_settings(tmp_path):
    path = tmp_path / "foreign.jsonl"
    path.write_text(
        '{"image": "a", "fingerprint": "0123456789ab", "pixels": 640, "decoding": null, "embedding": [1.0]}\n'
    )
    assert open_vectors(path).info == VectorsInfo("image", "", "0123456789ab")


def test_failures_of_an_older_run_do_not_stay(sample):
    path = sample.write("out.npy")
    assert open_vectors(path).failures
    with create_vectors("npy", WritePlan(path, sample.info, 1, 6)) as writer:
        writer.write(VectorRows(["a"], sample.vectors()[:1]))
    assert open_vectors(path).failures == []


def test_names_too_wide_for_an_array_stand_as_json(sample, monkeypatch):
    monkeypatch.setattr("clipcli.vectorfiles.numpy_file._NAMES_AS_ARRAY_LIMIT", 10)
    assert open_vectors(sample.write("out.npz")).names == sample.names


def test_row_groups_have_one_size_whatever_the_blocks(sample, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an optional package")
    monkeypatch.setattr("clipcli.vectorfiles.parquet_file._ROWS_A_GROUP", 3)
    path = sample.write("out.parquet", block=7)
    metadata = parquet.ParquetFile(path).metadata
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [3, 3, 1]
    np.testing.assert_array_equal(open_vectors(path).matrix(), sample.vectors())
