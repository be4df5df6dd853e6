"""Rows as Parquet: one schema for all rows of a file, whatever came first."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from run import run

from clipcli.errors import OutputError, UsageError
from clipcli.output import ErrorRow, Output, open_writer, parse_output
from clipcli.output.column_types import ColumnType

pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")


class Record:
    columns: ClassVar[tuple[str, ...]] = ()
    path: ClassVar[None] = None

    def __init__(self, record: dict[str, Any]) -> None:
        self._record = record

    def record(self) -> dict[str, Any]:
        return self._record

    def cells(self) -> list[tuple[str, ...]]:
        return []


def written(tmp_path: Path, *records: dict[str, Any]) -> Any:
    with open_writer(Output("parquet", str(tmp_path / "rows.parquet"))) as writer:
        for record in records:
            writer.write(Record(record))
    return pq.read_table(tmp_path / "rows.parquet")


def test_rows_of_every_shape_share_the_columns(tmp_path: Path):
    table = written(
        tmp_path,
        {"image": "a", "score": None, "labels": []},
        {"image": "b", "score": 1, "labels": [{"label": "x", "score": 0.5}, {"label": "y", "extra": True}]},
        {"image": "c", "error": {"stage": "decode", "reason": "bad"}},
        {"image": "d", "score": 0.25, "more": {}},
    )
    assert table.column_names == ["image", "score", "labels", "more", "error"]
    assert table.to_pylist()[1] == {
        "image": "b", "score": 1.0, "more": None, "error": None,
        "labels": [{"label": "x", "score": 0.5, "extra": None}, {"label": "y", "score": None, "extra": True}],
    }  # fmt: skip
    assert table["error"].to_pylist() == [None, None, {"stage": "decode", "reason": "bad"}, None]
    assert table["score"].to_pylist() == [None, 1.0, None, 0.25]


def test_values_of_several_kinds_become_text(tmp_path: Path):
    table = written(tmp_path, {"value": True}, {"value": "512"}, {"value": 1 << 80}, {"value": [1, "a"]}, {})
    assert table["value"].to_pylist() == ["true", "512", str(1 << 80), '[1, "a"]', None]


def test_names_that_are_no_utf8_are_spelt(tmp_path: Path):
    table = written(tmp_path, {"image": b"caf\xe9.jpg".decode("utf-8", "surrogateescape")}, {"image": "\ud800x"})
    assert table["image"].to_pylist() == ["caf\\xe9.jpg", "\ufffdx"]


def test_no_rows_are_a_readable_file(tmp_path: Path):
    table = written(tmp_path)
    assert (table.num_rows, table.column_names) == (0, ["error"])


def test_many_rows_are_many_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("clipcli.output.parquet_rows._ROWS_IN_A_GROUP", 3)
    assert written(tmp_path, *({"n": n} for n in range(8)))["n"].to_pylist() == list(range(8))
    assert pq.ParquetFile(tmp_path / "rows.parquet").metadata.num_row_groups == 3


def test_nothing_is_left_of_a_run_that_failed(tmp_path: Path):
    with pytest.raises(PermissionError), open_writer(Output("parquet", str(tmp_path / "x.parquet"))) as writer:
        writer.write(ErrorRow("a", "decode", "bad"))
        raise PermissionError
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_output_error():
    with pytest.raises(OutputError, match="no space left"), open_writer(Output("parquet", "/dev/full")) as writer:
        writer.write(ErrorRow("a", "decode", "bad"))


def test_a_terminal_gets_no_parquet(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(UsageError, match="cannot be shown on a terminal"):
        parse_output("parquet", None)
    assert parse_output("parquet", "rows.pq").format == "parquet"


@pytest.mark.parametrize(("name", "format_name"), [("ndjson", "jsonl"), ("parquet", "parquet")])
def test_names_of_formats(name: str, format_name: str):
    assert parse_output(name, "x.out").format == format_name


def test_a_command_writes_its_rows(tmp_path: Path):
    assert run("prompts", "list", "-o", tmp_path / "sets.parquet").code == 0
    rows = pq.read_table(tmp_path / "sets.parquet").to_pylist()
    assert rows == [{**row, "error": None} for row in run("prompts", "list", "-f", "ndjson").rows]


def test_types_only_widen():
    kind = ColumnType()
    for value in (None, 1, 2.5, None):
        kind.add(value)
    assert kind.name == "float"
    kind.add("x")
    kind.add(3)
    assert kind.name == "mixed"
