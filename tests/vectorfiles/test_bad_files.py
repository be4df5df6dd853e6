"""A vector file that would give wrong answers is refused, with what is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from clipcli.core.optional_packages import install_command
from clipcli.errors import InputsError, OutputError, UsageError, VectorsError
from clipcli.vectorfiles import VECTOR_FORMATS, VectorRows, WritePlan, create_vectors, open_vectors


@pytest.mark.parametrize(("value", "why"), [(np.nan, "not finite"), (0.0, "is zero"), (1.0, "not of unit length")])
@pytest.mark.parametrize("suffix", ["npy", "npz", "parquet", "safetensors"])
def test_bad_numbers(sample, suffix, value, why):
    vectors = sample.vectors()
    vectors[4] = value
    path = sample.folder / f"out.{suffix}"
    with create_vectors(suffix, WritePlan(path, sample.info, 7, 6)) as writer:
        writer.write(VectorRows(sample.names, vectors))

    with pytest.raises(VectorsError, match=rf"row 4 \({sample.names[4]}\) .*{why}"):
        list(open_vectors(path).blocks(3))
    assert len(list(open_vectors(path).blocks(3, check=False))) == 3


@pytest.mark.parametrize("keep", [0, 5, 40, -9, -2])
@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
def test_cut_off_anywhere(sample, suffix, keep):
    path = sample.write(f"out.{suffix}")
    path.write_bytes(path.read_bytes()[:keep])
    if suffix == "csv" and keep < 0:
        return  # it ends in empty columns, which nothing needs
    with pytest.raises(VectorsError, match="out"):
        _read_all(path)


def _read_all(path):
    file = open_vectors(path)
    return list(file.names), list(file.failures), list(file.blocks())


@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
def test_noise(sample, suffix):
    path = sample.write(f"out.{suffix}")
    path.write_bytes(np.random.default_rng(3).bytes(5000))
    with pytest.raises(VectorsError, match=f"out.{suffix}"):
        open_vectors(path)


def test_npy_without_or_with_another_runs_description(sample):
    path = sample.write("out.npy")
    sample.write("other.npy")
    np.save(path, sample.vectors()[::-1])
    with pytest.raises(VectorsError, match="not from the same run"):
        open_vectors(path)
    (sample.folder / "out.npy.json").unlink()
    with pytest.raises(VectorsError, match=r"out\.npy\.json: no such file"):
        open_vectors(path)


def test_npy_of_another_shape_type_or_count(sample):
    path = sample.write("out.npy")
    for wrong, why in [
        (np.zeros(7, np.float32), "not a table"),
        (np.zeros((7, 6), np.int32), "not a table"),
        (np.array([{}], object), "damaged"),
        (sample.vectors()[:5], "5 vectors but 7 names"),
    ]:
        np.save(path, wrong, allow_pickle=True)
        with pytest.raises(VectorsError, match=why):
            open_vectors(path)


def test_files_of_other_programs_say_how_to_make_ours(sample):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an optional package")
    import pyarrow as pa

    parquet.write_table(pa.table({"embedding": [[1.0, 0.0]]}), sample.folder / "other.parquet")
    np.savez(sample.folder / "other.npz", features=sample.vectors())
    (sample.folder / "other.csv").write_text("path,x\na.png,1\n")
    (sample.folder / "other.jsonl").write_text('{"image": "a.png", "embedding": [1.0, 0.0]}\n')
    for suffix in ("parquet", "npz", "csv", "jsonl"):
        with pytest.raises(VectorsError) as caught:
            open_vectors(sample.folder / f"other.{suffix}")
        assert caught.value.hint == "make it with clipcli embed"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("absent.npy", "no such file"),
        ("absent.parts", "no such file"),
        ("notes.txt", "not the suffix of a vector file"),
    ],
)
def test_no_vector_file_at_all(sample, name, why):
    (sample.folder / "notes.txt").touch()
    with pytest.raises(VectorsError, match=why):
        open_vectors(sample.folder / name)


def test_noise_in_place_of_an_array_gives_no_advice_to_load_it_unsafely(sample):
    path = sample.write("out.npy")
    path.write_bytes(b"noise" * 99)
    with pytest.raises(VectorsError) as caught:
        open_vectors(path)
    assert "it is not a NumPy array" in caught.value.message
    assert "pickle" not in caught.value.message


def test_a_newer_format_is_named(sample):
    path = sample.write("out.npy")
    beside = sample.folder / "out.npy.json"
    beside.write_text(json.dumps({**json.loads(beside.read_text()), "version": 9}))
    with pytest.raises(VectorsError, match="format version is 9"):
        open_vectors(path)


def test_rows_of_unequal_length(sample):
    path = sample.write("out.jsonl")
    first = path.read_text().splitlines()[0]
    path.write_text(first + "\n" + json.dumps({**json.loads(first), "embedding": [1.0]}) + "\n")
    with pytest.raises(VectorsError, match="row 1 has 1 numbers, the first 6"):
        list(open_vectors(path).blocks())


def test_parquet_without_pyarrow(sample, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(InputsError) as caught:
        sample.write("out.parquet")
    assert caught.value.hint == install_command("parquet")


@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
def test_an_interrupted_writer_leaves_the_old_file(sample, suffix, monkeypatch):
    path = sample.write(f"out.{suffix}")
    before = {file: file.read_bytes() for file in sample.folder.iterdir()}
    monkeypatch.setattr(Path, "replace", None)  # nothing may be moved into place
    with pytest.raises(KeyboardInterrupt):
        _write_some_and_stop(path, sample)
    assert {file: file.read_bytes() for file in sample.folder.iterdir()} == before


def _write_some_and_stop(path, sample):
    with create_vectors(path.suffix[1:], WritePlan(path, sample.info, 7, 6)) as writer:
        writer.write(VectorRows(sample.names[:3], sample.vectors()[:3]))
        raise KeyboardInterrupt


@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
def test_a_full_disk(sample, suffix, monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    target = sample.folder / f"out.{suffix}"
    target.symlink_to("/dev/full")
    with pytest.raises(OutputError, match="no space left"):
        sample.write(f"out.{suffix}")
    assert os.listdir(sample.folder) == [target.name]


@pytest.mark.parametrize("suffix", ["npy", "parquet", "safetensors"])
def test_binary_formats_need_a_file(sample, suffix):
    with pytest.raises(UsageError, match="pipe"), create_vectors(suffix, WritePlan(None, sample.info, 1, 6)):
        pass
