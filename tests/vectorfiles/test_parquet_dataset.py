"""Folders of Parquet parts, near and far, as one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run import run

from clipcli.core.encoder import ModelInfo, Preprocessing, Scoring
from clipcli.errors import VectorsError
from clipcli.vectorfiles import Failure, VectorRows, VectorsInfo, WritePlan, create_vectors, open_vectors
from clipcli.vectorfiles.merge import merge, open_all
from clipcli.vectorfiles.parquet_dataset import ParquetDataset, parts_of
from clipcli.vectorfiles.parquet_file import ParquetFile

pytest.importorskip("pyarrow")
DIM = 6
INFO = VectorsInfo(
    "image",
    "m",
    "0123456789ab",
    "fp32",
    parameters=ModelInfo("m", "0123456789ab", DIM, Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3), 77, causal_text=True),
    scoring=Scoring(100.0),
)


def write(path: Path, names: list[str], info=INFO, failures=(), seed=1) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.random.default_rng(seed).normal(size=(len(names), DIM)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with create_vectors("parquet", WritePlan(path, info, len(names), DIM)) as writer:
        if names:
            writer.write(VectorRows(names, rows))
        for lost in failures:
            writer.fail(lost)
    return rows


@pytest.fixture
def parts(tmp_path: Path, monkeypatch) -> tuple[Path, np.ndarray]:
    """Three parts, one of them empty, one with a name that is not UTF-8 and a failure, of two rows a group."""
    monkeypatch.setattr("clipcli.vectorfiles.parquet_file._ROWS_A_GROUP", 2)
    folder = tmp_path / "vectors"
    first = write(folder / "part-0.parquet", ["a.png", "b.png", "c.png", "d.png", "e.png"])
    write(folder / "part-1.parquet", [])
    lost = [Failure("bad.png", "decode", "no image", 2)]
    last = write(folder / "part-2.parquet", ["f.png", "g\udce9.png", "h.png"], failures=lost, seed=2)
    return folder, np.concatenate([first, last])


NAMES = ["a.png", "b.png", "c.png", "d.png", "e.png", "f.png", "g\udce9.png", "h.png"]


def test_parts_are_one_file(parts):
    folder, vectors = parts
    file = open_vectors(str(folder))
    assert isinstance(file, ParquetDataset)
    assert (len(file), file.dim, file.model) == (8, DIM, "m")
    assert list(file.names) == NAMES
    assert [file.names[row] for row in (7, 6, 0, 4, 5)] == [NAMES[row] for row in (7, 6, 0, 4, 5)]
    assert np.array_equal(file.matrix(), vectors)
    assert [start for start, _ in file.blocks(2)] == [0, 2, 4, 5, 7]
    assert [lost.name for lost in file.failures] == ["bad.png"]


def test_one_row_group_at_a_time_is_read(parts, monkeypatch):
    folder, _ = parts
    asked = []
    real = ParquetFile._group
    monkeypatch.setattr(ParquetFile, "_group", lambda self, *a: asked.append((self.path, a)) or real(self, *a))
    monkeypatch.setattr(ParquetFile, "names", property(lambda _self: pytest.fail("all names at once")))
    file = open_vectors(str(folder))
    assert sum(len(vectors) for _, vectors in file.blocks(4)) == 8
    assert file.names[6] == NAMES[6]
    assert len(asked) == 1


@pytest.mark.parametrize("pattern", ["*.parquet", "part-{0..2}.parquet", "part-[0-2].parquet"])
def test_a_pattern_names_parts(parts, pattern):
    folder, _ = parts
    assert list(open_vectors(f"{folder}/{pattern}").names) == NAMES


def test_partitions_and_other_files(tmp_path):
    for day in (1, 2):
        write(tmp_path / "v" / f"day={day}" / "0.parquet", [f"{day}.png"], seed=day)
    (tmp_path / "v" / "_SUCCESS").touch()
    assert [Path(part).parent.name for part in parts_of(str(tmp_path / "v"))] == ["day=1", "day=2"]
    (tmp_path / "v" / "photo.jpg").touch()
    assert parts_of(str(tmp_path / "v")) == []


@pytest.mark.parametrize("place", ["nowhere", "nowhere.parquet", "no*.parquet", "."])
def test_what_is_no_data_set(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    assert parts_of(place) == []


def test_parts_of_different_models_do_not_go_together(parts):
    folder, _ = parts
    write(folder / "part-3.parquet", ["x.png"], info=replace(INFO, fingerprint="f" * 12))
    with pytest.raises(VectorsError, match=r"part-3.parquet: fingerprint is 'ffffffffffff'"):
        open_vectors(str(folder))


def test_a_damaged_part_is_named(parts):
    folder, _ = parts
    (folder / "part-1.parquet").write_bytes(b"PAR1")
    with pytest.raises(VectorsError, match=r"part-1.parquet: damaged"):
        open_vectors(str(folder))


def test_far_away_it_is_the_same(parts):
    fsspec = pytest.importorskip("fsspec")
    folder, vectors = parts
    system = fsspec.filesystem("memory")
    for file in folder.glob("*.parquet"):
        system.pipe(f"/dataset/{file.name}", file.read_bytes())
    system.pipe("/dataset/part-2.parquet.errors.jsonl", (folder / "part-2.parquet.errors.jsonl").read_bytes())
    far = open_vectors("memory://dataset/")
    assert [lost.name for lost in far.failures] == ["bad.png"]
    assert str(far.path) == "memory://dataset/"
    assert list(far.names) == NAMES
    assert np.array_equal(far.matrix(), vectors)
    assert list(open_vectors("memory://dataset/part-2.parquet").names) == NAMES[5:]
    with pytest.raises(VectorsError, match="no such object"):
        open_vectors("memory://dataset/part-9.parquet")
    with pytest.raises(VectorsError, match="only Parquet"):
        open_vectors("memory://dataset/part-9.npy")


def test_merge_verifies_a_data_set(parts, tmp_path):
    folder, vectors = parts
    out = tmp_path / "all.npy"
    assert merge(open_all([str(folder)]), out, "npy", "float32") == 8
    assert np.array_equal(np.load(out), vectors)
    write(folder / "part-3.parquet", ["x.png", "b.png"])
    with pytest.raises(VectorsError, match=r"b.png is both in .*part-0.parquet and in .*part-3.parquet"):
        merge(open_all([str(folder)]), tmp_path / "other.npy", "npy", "float32")
    assert not (tmp_path / "other.npy").exists()


def test_names_on_disk_are_found_twice_too(parts, tmp_path, monkeypatch):
    monkeypatch.setattr("clipcli.vectorfiles.merge._IN_MEMORY", 32)
    folder, _ = parts
    assert merge(open_all([str(folder)]), tmp_path / "all.npy", "npy", "float32") == 8
    write(folder / "part-3.parquet", ["h.png"])
    with pytest.raises(VectorsError, match=r"h.png is both"):
        merge(open_all([str(folder)]), tmp_path / "other.npy", "npy", "float32")


@pytest.mark.thorough
def test_shards_of_embed_are_searched_compared_and_merged_as_they_lie(tmp_path, folder):
    whole = tmp_path / "whole.parquet"
    run("embed", folder, "-o", whole, "--model", "tiny")
    (tmp_path / "parts").mkdir()
    for share in (1, 2, 3):
        run("embed", folder, "-o", tmp_path / "parts" / f"{share}.parquet", "--model", "tiny", "--shard", f"{share}/3")
    one = run("rank", "a red square", whole, "--all", "-f", "jsonl")
    many = run("rank", "a red square", tmp_path / "parts", "--all", "-f", "jsonl")
    assert many.code == 0
    assert many.rows == one.rows
    found = run("dedupe", folder, "--against", tmp_path / "parts", "--model", "tiny", "-f", "jsonl")
    assert {row["image"] for row in found.rows if not row["keep"]} == {
        row["image"] for row in run("dedupe", folder, "--against", whole, "--model", "tiny", "-f", "jsonl").rows
        if not row["keep"]
    }  # fmt: skip
    merged = run("merge", tmp_path / "parts", "-o", tmp_path / "merged.parquet")
    assert merged.code == 0, merged.stderr
    assert (tmp_path / "merged.parquet").read_bytes() == whole.read_bytes()
    (tmp_path / "parts" / "2.parquet").unlink()
    assert "1 of 3 shards missing: 2/3" in run("merge", tmp_path / "parts", "-o", tmp_path / "m.npy").stderr


@pytest.mark.thorough
def test_a_folder_of_photos_with_vectors_among_them_stays_one_of_photos(tmp_path, folder):
    for picture in folder.glob("disc/*.png"):
        (tmp_path / picture.name).write_bytes(picture.read_bytes())
    run("embed", tmp_path, "-o", tmp_path / "own.parquet", "--model", "tiny")
    rows = run("rank", "red", tmp_path, "--model", "tiny", "-f", "jsonl").rows
    assert len(rows) == len(list(tmp_path.glob("*.png")))
