"""Parquet tables of images, and of paths."""

from __future__ import annotations

import pytest
from run import assert_one_error, run

from clipcli import images as reading
from clipcli.errors import ImageError, InputsError
from clipcli.inputs.collect import collect
from clipcli.inputs.sources.parquet import Table

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write(path, rows=2, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return str(path)


@pytest.fixture
def table(tmp_path, images):
    """As Hugging Face's datasets writes them."""
    cells = [{"bytes": data, "path": name} for name, data in images.items()]
    return write(tmp_path / "a.parquet", image=cells, label=list(range(5)))


def test_the_only_column_of_images_is_found(table, images):
    refs = list(collect([table]))
    assert [ref.name for ref in refs] == [f"{table}/{row}" for row in range(5)]
    assert [reading.read_ref(ref) for ref in refs] == list(images.values())
    assert reading.read(f"{table}/3") == images["000003.png"]


def test_two_row_groups_at_most_are_in_memory(table, monkeypatch):
    read = []
    real = Table.column
    monkeypatch.setattr(Table, "column", lambda self, group, column: read.append(group) or real(self, group, column))
    for ref in collect([table]):
        reading.read_ref(ref)
    assert read == [0, 1, 2]


def test_a_column_of_plain_bytes_and_one_by_name(tmp_path, images):
    data = list(images.values())
    path = write(tmp_path / "a.parquet", thumb=data[::-1], full=data)
    with pytest.raises(InputsError, match="has several columns"):
        list(collect([path]))
    assert [reading.read_ref(ref) for ref in collect([path], column="full")] == data
    result = run("classify", path, "--column", "nothing", "-l", "a,b", "--model", "tiny")
    assert_one_error(result, "no column nothing", "thumb", code=4)


def test_a_column_of_paths(tmp_path, shard, images):
    (tmp_path / "b.png").write_bytes(images["000001.png"])
    path = write(tmp_path / "a.parquet", file=["b.png", None, "00000.tar/000003.png", "missing.png"])
    refs = list(collect([path], column="file"))
    assert [ref.problem for ref in refs] == [None, "no path in this row", None, None]
    assert reading.read_ref(refs[0]) == images["000001.png"]
    assert reading.read_ref(refs[2]) == images["000003.png"]
    with pytest.raises(ImageError, match="no such file"):
        reading.read_ref(refs[3])


def test_rows_without_an_image_are_failures_of_their_own(tmp_path, images):
    path = write(tmp_path / "a.parquet", image=[images["000000.png"], None, b"", b"no image"])
    result = run("embed", path, "--model", "tiny")
    reasons = [row.get("error", {}).get("reason") for row in result.rows]
    assert reasons[:3] == [None, "no image in this row", "empty file"]
    assert reasons[3] is not None
    assert result.code == 3


def test_other_columns_are_no_images(tmp_path):
    path = write(tmp_path / "a.parquet", number=[1, 2])
    with pytest.raises(InputsError, match="holds int64, neither images nor paths"):
        list(collect([path], column="number"))


def test_a_table_names_no_tables(tmp_path):
    path = write(tmp_path / "a.parquet", file=["a.parquet"])
    assert [ref.problem for ref in collect([path], column="file")] == ["a table within a table"]


@pytest.mark.parametrize("content", [b"", b"PAR1 damaged PAR1", b"x" * 1000])
def test_a_damaged_table(tmp_path, content):
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    result = run("classify", path, "-l", "a,b", "--model", "tiny")
    assert result.code == 4
    assert "cannot be read" in result.stderr


@pytest.mark.thorough
def test_rank_tells_tables_of_images_from_vectors(tmp_path, table):
    searched = run("rank", "a red square", table, "--model", "tiny", "-f", "jsonl")
    assert sorted(row["image"] for row in searched.rows) == [f"{table}/{row}" for row in range(5)]
    vectors = tmp_path / "v.parquet"
    run("embed", table, "--model", "tiny", "-o", vectors)
    again = run("rank", "a red square", vectors, "--model", "tiny", "-f", "jsonl")
    assert [row["image"] for row in again.rows] == [row["image"] for row in searched.rows]


@pytest.mark.thorough
def test_a_pattern_of_tables_is_no_pattern_of_vectors(tmp_path, table):
    searched = run("rank", "a red square", f"{tmp_path}/*.parquet", "--model", "tiny", "-f", "jsonl")
    assert sorted(row["image"] for row in searched.rows) == [f"{table}/{row}" for row in range(5)]
