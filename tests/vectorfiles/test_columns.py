"""Columns of input tables that are carried with vectors: every format keeps them with their types."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timezone
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.errors import UsageError, VectorsError
from clipcli.output.column_types import ColumnType, parse_type, plain
from clipcli.vectorfiles import VECTOR_FORMATS, VectorRows, VectorsInfo, WritePlan, create_vectors, open_vectors
from clipcli.vectorfiles.columns import CarriedColumn, ColumnTypes, output_name
from clipcli.vectorfiles.info import Shard
from clipcli.vectorfiles.merge import merge
from clipcli.vectorfiles.vector_file import description_path

ROWS = [
    {
        "sku": f"00{n}", "price": n + 0.5, "stock": n, "new": n % 2 == 0, "tags": ["a", f'"{n}", ]\n['],
        "size": {"w": n, "h": [0.5]}, "added": date(2024, 2, n + 1), "cost": Decimal("1.25") * n, "opens": time(9, n),
        "at": datetime(2024, 1, 1, n, 30, 1, 250, tzinfo=timezone.utc), "made": datetime(1999, 12, 31, 23, 59, 59, n),  # noqa: DTZ001
        "fields": ["a key of the file itself"], "größe, cm": n,
    }
    for n in range(3)
]  # fmt: skip
"""Rows of every type; texts that look like the file around them."""
GAP = dict.fromkeys(ROWS[0])
DIM = 4


def vectors(count: int) -> np.ndarray:
    rows = np.random.default_rng(count).normal(size=(count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write(path: Path, rows, *, names=None, columns=None, shard=None, positions=None) -> Path:
    types = ColumnTypes(CarriedColumn(name) for name in (columns or ROWS[0]))
    types.add(rows)
    info = VectorsInfo("image", "m", "f" * 12, shard=shard, columns=types.columns)
    names = names or [f"{n}.jpg" for n in range(len(rows))]
    places = None if positions is None else np.array(positions)
    with create_vectors(path.suffix[1:], WritePlan(path, info, len(rows), DIM)) as writer:
        for start in range(0, len(rows), 2):
            writer.write(VectorRows(names, vectors(len(rows)), places, rows).part(start, start + 2))
    return path


def skip_without_arrow(suffix: str) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")


@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
def test_columns_come_back_with_their_types(tmp_path: Path, suffix: str):
    skip_without_arrow(suffix)
    rows = [*ROWS, GAP]
    file = open_vectors(write(tmp_path / f"v.{suffix}", rows))
    expected = [*ROWS, {**GAP, "sku": ""}] if suffix == "csv" else rows  # CSV has no text that is not there
    assert list(file.fields) == expected
    assert file.fields[2] == ROWS[2]
    assert [type(value) for value in file.fields[0].values()] == [type(value) for value in ROWS[0].values()]
    assert [row for block in file.field_blocks(["price"], 3) for row in (r["price"] for r in block)] == [
        row["price"] for row in rows
    ]
    assert [row for block in file.read(3, fields=True) for row in block.fields or ()] == expected
    assert [block.fields for block in file.read(9)] == [None]
    assert {column.name: column.type for column in file.info.columns}["price"] == "float"


@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
def test_no_row_and_no_column(tmp_path: Path, suffix: str):
    skip_without_arrow(suffix)
    assert len(open_vectors(write(tmp_path / f"v.{suffix}", []), empty_ok=True).fields) == 0
    plan = WritePlan(tmp_path / f"w.{suffix}", VectorsInfo("image", "m", "f" * 12), 1, DIM)
    with create_vectors(suffix, plan) as writer:
        writer.write(VectorRows(["a.jpg"], vectors(1)))
    file = open_vectors(tmp_path / f"w.{suffix}")
    assert (list(file.fields), list(file.field_blocks(["price"])), file.info.columns) == ([], [], ())


@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
@pytest.mark.parametrize("source", ["npy", "jsonl", "safetensors"])
def test_merge_orders_columns_as_their_rows(tmp_path: Path, source: str, suffix: str):
    skip_without_arrow(suffix)
    both = [{"price": n if n % 2 else n + 0.5, "n": n} for n in range(5)]  # whole numbers in one shard, others in one
    shards = []
    for index, start in enumerate((0, 1), 1):
        part = range(start, 5, 2)
        shards.append(
            write(
                tmp_path / f"{index}.{source}", [both[n] for n in part], columns=["price", "n"],
                names=[f"{n}.jpg" for n in part], shard=Shard(index, 2, 5, "aa"), positions=list(part),
            )
        )  # fmt: skip
    out = tmp_path / f"out.{suffix}"
    merge([open_vectors(path) for path in reversed(shards)], out, suffix, "float32")
    file = open_vectors(out)
    assert [row["n"] for row in file.fields] == list(range(5))
    assert [row["price"] for row in file.fields] == [row["price"] for row in both]
    assert {column.name: column.type for column in file.info.columns} == {"price": "float", "n": "int"}


def test_merge_of_files_with_other_columns(tmp_path: Path):
    first = write(tmp_path / "a.npy", [{"sku": "7", "price": 1}], columns=["sku", "price"], names=["a.jpg"])
    second = write(tmp_path / "b.npz", [{"price": "free"}], columns=["price"], names=["b.jpg"])
    merge([open_vectors(first), open_vectors(second)], tmp_path / "out.jsonl", "jsonl", "float32")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["sku"], row["price"]) for row in rows] == [("7", 1), (None, "free")]


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_rows_without_their_description_still_have_columns(tmp_path: Path, suffix: str):
    path = write(tmp_path / f"v.{suffix}", ROWS)
    description_path(path).unlink()
    file = open_vectors(path)
    assert [row["sku"] for row in file.fields] == ["000", "001", "002"]
    assert file.fields[1]["price"] == ("1.5" if suffix == "csv" else 1.5)


def test_columns_that_another_tool_added_to_parquet_are_carried(tmp_path: Path):
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    path = write(tmp_path / "v.parquet", ROWS)
    table = pyarrow.parquet.read_table(path)
    table = table.append_column("rating", arrow.array([1, 2, 3], arrow.int16())).drop_columns(["size"])
    table = table.append_column("thumb", arrow.array([b"a", b"b", b"c"]))
    pyarrow.parquet.write_table(table, tmp_path / "joined.parquet", row_group_size=2)
    file = open_vectors(tmp_path / "joined.parquet")
    assert [row["rating"] for row in file.fields] == [1, 2, 3]
    assert not {"size", "thumb"} & set(file.fields[0])


@pytest.mark.parametrize("reader", ["pandas", "polars", "duckdb"])
def test_other_tools_read_the_types(tmp_path: Path, reader: str):
    pytest.importorskip("pyarrow")
    tool = pytest.importorskip(reader)
    path = write(tmp_path / "v.parquet", ROWS)
    if reader == "duckdb":
        columns = "sku, price * 2, stock + 1, new, tags[1], size.w, added, cost, embedding[1]"
        found = tool.sql(f"select {columns} from '{path.as_posix()}' where price < 2").fetchall()  # noqa: S608
        assert [row[:8] for row in found] == [
            ("000", 1.0, 1, True, "a", 0, date(2024, 2, 1), Decimal("0.00")),
            ("001", 3.0, 2, False, "a", 1, date(2024, 2, 2), Decimal("1.25")),
        ]
        return
    table = tool.read_parquet(path)
    assert list(table["sku"]) == ["000", "001", "002"]
    assert str(table["price"].dtype).lower() == "float64"
    assert str(table["stock"].dtype).lower() == "int64"
    assert table["price"].sum() == 4.5
    assert [str(value)[:10] for value in table["added"]] == ["2024-02-01", "2024-02-02", "2024-02-03"]


def test_damaged_columns_are_an_error_of_the_file(tmp_path: Path):
    path = write(tmp_path / "v.npy", ROWS)
    beside = description_path(path)
    text = beside.read_text(encoding="utf-8")
    record = json.loads(text)
    for broken in (record | {"fields": record["fields"][:2]}, record | {"fields": 3}):
        beside.write_text(json.dumps(broken), encoding="utf-8")
        with pytest.raises(VectorsError, match=r"v.npy.json: .*columns"):
            list(open_vectors(path).fields)
    beside.write_text(text.replace('"2024-02-01"', '"2024-99-01"'), encoding="utf-8")
    with pytest.raises(VectorsError, match="columns are damaged"):
        open_vectors(path).fields[0]
    beside.write_text(text.replace('"type": "date"', '"type": "rubbish"'), encoding="utf-8")
    with pytest.raises(VectorsError, match="its description is damaged"):
        open_vectors(path)


@pytest.mark.parametrize("layout", [{}, {"indent": 1}, {"separators": (",", ":")}, {"sort_keys": True}])
def test_a_description_in_another_layout_has_the_same_columns(tmp_path: Path, layout):
    path = write(tmp_path / "v.npy", ROWS)
    beside = description_path(path)
    beside.write_text(json.dumps(json.loads(beside.read_text("utf-8")), **layout), "utf-8")
    file = open_vectors(path)
    assert list(file.fields) == ROWS
    assert list(file.names) == ["0.jpg", "1.jpg", "2.jpg"]


def test_a_name_that_the_file_uses_itself_is_renamed():
    names = ["image", "v0", "v12", "position", "error", "sku", "v", "fingerprint", "vector"]
    assert [output_name(name) for name in names if output_name(name) != name] == [
        "table_image", "table_v0", "table_v12", "table_position", "table_error", "table_fingerprint",
    ]  # fmt: skip


def test_a_column_that_is_not_there_is_a_usage_error(tmp_path: Path):
    file = open_vectors(write(tmp_path / "v.npy", ROWS))
    file.require_columns("--keep", ["price", "sku"])
    with pytest.raises(UsageError, match="has no column prise") as caught:
        file.require_columns("--keep", ["prise"])
    assert "price" in str(caught.value.hint)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text('aé\n"]')
    | st.dates() | st.datetimes() | st.datetimes(timezones=st.just(timezone.utc)) | st.decimals(-999, 999, places=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, min_size=1),
    max_leaves=4,
)  # fmt: skip


@given(VALUES)
def test_a_value_comes_back_from_json_by_its_type(value):
    kind = ColumnType()
    kind.add(value)
    described = parse_type(kind.describe())
    assert described == kind
    if "mixed" not in kind.describe():
        restored = described.restore(json.loads(json.dumps(plain(value))))
        assert restored == value or (kind.name in {"list", "struct"} and repr(restored).count("None"))


@given(st.lists(VALUES, max_size=4), st.lists(VALUES, max_size=4))
def test_types_of_parts_merge_to_the_type_of_all(first, second):
    one, two, both = ColumnType(), ColumnType(), ColumnType()
    for value in first:
        one.add(value)
        both.add(value)
    for value in second:
        two.add(value)
        both.add(value)
    one.merge(two)
    assert (one.name == "mixed") == (both.name == "mixed")
    assert one == both or "mixed" in both.describe()


def test_lancedb_filters_by_carried_columns(tmp_path: Path):
    pytest.importorskip("pyarrow")
    lancedb = pytest.importorskip("lancedb")
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(write(tmp_path / "v.parquet", ROWS))
    table = lancedb.connect(tmp_path / "lance").create_table("v", file.iter_batches(2), schema=file.schema_arrow)
    found = table.search(vectors(3)[2]).where("price < 2").limit(3).to_arrow().to_pylist()
    assert sorted((row["sku"], row["added"], row["cost"]) for row in found) == [
        ("000", date(2024, 2, 1), Decimal("0.00")),
        ("001", date(2024, 2, 2), Decimal("1.25")),
    ]
