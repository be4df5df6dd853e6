"""What each format writes, for good rows and failed ones, and what reaches a terminal."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.core.console import printable
from clipcli.errors import ImageError, OutputError, UsageError
from clipcli.output import ErrorRow, Output, open_writer, parse_output
from clipcli.output.rows import dumps
from clipcli.output.targets import Target
from clipcli.output.writers import CsvWriter, JsonArrayWriter, JsonLinesWriter, PathsWriter, TableWriter, TsvWriter


@dataclass(frozen=True)
class Named:
    """A row with a name and a number."""

    name: str
    number: float
    columns: ClassVar[tuple[str, ...]] = ("image", "number")

    @property
    def path(self) -> str:
        return self.name

    def record(self) -> dict[str, object]:
        return {"image": self.name, "number": self.number}

    def cells(self) -> list[tuple[str, ...]]:
        return [(self.name, f"{self.number:.2f}")]


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


ROWS = [Named("a.png", 1), ErrorRow.of("b.png", ImageError("decode", "truncated")), Named("ü\n\x1b[31m.png", 2.5)]


def written(writer_type, rows=ROWS, stream: io.BytesIO | None = None, **options) -> str:
    stream = stream or io.BytesIO()
    writer = writer_type(Target("somewhere", stream), **options)
    for row in rows:
        writer.write(row)
    writer.close()
    return stream.getvalue().decode("utf-8", "surrogateescape")


def test_tsv():
    assert written(TsvWriter) == "a.png\t1.00\nb.png\t\tdecode: truncated\nü\\n\\x1b[31m.png\t2.50\n"


def test_tsv_that_begins_with_a_failure_has_a_column_more_for_it_too():
    assert written(TsvWriter, [ROWS[1], ROWS[0]]) == "b.png\t\tdecode: truncated\na.png\t1.00\n"
    assert written(TsvWriter, [ROWS[1]]) == "b.png\tdecode: truncated\n"


def test_csv():
    assert written(CsvWriter) == 'image,number,error\na.png,1.00,\nb.png,,decode: truncated\n"ü\n\x1b[31m.png",2.50,\n'


def test_csv_that_begins_with_a_failure_has_the_header_first():
    rows = list(csv.reader(io.StringIO(written(CsvWriter, [ROWS[1], ROWS[0]]))))
    assert rows == [["image", "number", "error"], ["b.png", "", "decode: truncated"], ["a.png", "1.00", ""]]
    assert written(CsvWriter, [ROWS[1]]) == "image,error\nb.png,decode: truncated\n"


def test_jsonl_and_json_hold_the_same_objects():
    lines = [json.loads(line) for line in written(JsonLinesWriter).splitlines()]
    assert lines == [row.record() for row in ROWS] == json.loads(written(JsonArrayWriter))
    assert json.loads(written(JsonArrayWriter, [])) == []


def test_paths_leave_failures_out():
    assert written(PathsWriter, null=False) == "a.png\nü\n\x1b[31m.png\n"
    assert written(PathsWriter, null=True) == "a.png\0ü\n\x1b[31m.png\0"


@pytest.mark.parametrize("writer_type", [TsvWriter, CsvWriter, JsonLinesWriter, JsonArrayWriter, TableWriter])
def test_nothing_steers_a_terminal(writer_type):
    hostile = Named("\x1b]0;title\x07\x9b31m\u202egnp.exe\x7f", 1)
    shown = written(writer_type, [hostile, ErrorRow("\x1b[2J", "read", "x\x1b[0m")], Terminal())
    for character in ("\x07", "\x9b", "\u202e", "\x7f", "\x1b]", "\x1b[2J"):
        assert character not in shown, writer_type


def test_paths_on_a_terminal_are_escaped_and_in_a_pipe_are_not():
    row = Named("\x1b[31m", 1)
    assert "\x1b" not in written(PathsWriter, [row], Terminal(), null=False)
    assert "\x1b" in written(PathsWriter, [row], null=False)


def test_a_table_shows_every_row_and_its_failure():
    shown = written(TableWriter)
    assert "a.png" in shown
    assert "decode: truncated" in shown
    assert "image" in shown.splitlines()[0]
    assert written(TableWriter, []) == ""


@given(st.text())
def test_json_reads_back_and_is_plain_utf8(text: str):
    assert json.loads(dumps({"image": text}).encode("utf-8")) == {"image": text}


@given(st.binary().map(os.fsdecode))
def test_json_keeps_any_file_name(name: str):
    assert os.fsencode(json.loads(dumps(name).encode("utf-8"))) == os.fsencode(name)


@given(st.text())
def test_printable_text_has_no_control_characters(text: str):
    shown = printable(text)
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in shown)
    assert "\n" not in shown


class TestTargets:
    def test_a_file_appears_only_when_all_went_well(self, tmp_path: Path):
        path = tmp_path / "rows.jsonl"
        path.write_text("old", encoding="utf-8")
        with pytest.raises(RuntimeError), open_writer(Output("jsonl", str(path))) as writer:
            writer.write(ROWS[0])
            assert path.read_text(encoding="utf-8") == "old"
            raise RuntimeError
        assert path.read_text(encoding="utf-8") == "old"
        with open_writer(Output("jsonl", str(path))) as writer:
            writer.write(ROWS[0])
        assert json.loads(path.read_text(encoding="utf-8")) == ROWS[0].record()
        assert [entry.name for entry in tmp_path.iterdir()] == ["rows.jsonl"]

    def test_permissions_follow_the_umask_or_the_old_file(self, tmp_path: Path):
        path = tmp_path / "rows.jsonl"
        before = os.umask(0o027)
        try:
            with open_writer(Output("jsonl", str(path))):
                pass
        finally:
            os.umask(before)
        assert path.stat().st_mode & 0o777 == 0o640
        path.chmod(0o600)
        with open_writer(Output("jsonl", str(path))):
            pass
        assert path.stat().st_mode & 0o777 == 0o600

    def test_a_link_is_followed_not_replaced(self, tmp_path: Path):
        (tmp_path / "real.jsonl").write_text("", encoding="utf-8")
        (tmp_path / "link.jsonl").symlink_to("real.jsonl")
        with open_writer(Output("jsonl", str(tmp_path / "link.jsonl"))) as writer:
            writer.write(ROWS[0])
        assert (tmp_path / "link.jsonl").is_symlink()
        assert (tmp_path / "real.jsonl").read_text(encoding="utf-8")

    def test_a_full_disk_is_an_output_error(self):
        with pytest.raises(OutputError, match="no space left"), open_writer(Output("jsonl", "/dev/full")) as writer:
            writer.write(ROWS[0])

    def test_a_missing_folder_is_said_at_once(self, tmp_path: Path):
        with (
            pytest.raises(OutputError, match="its folder does not exist"),
            open_writer(Output("csv", str(tmp_path / "no" / "x.csv"))),
        ):
            pass

    def test_other_errors_are_not_taken_for_output_errors(self, tmp_path: Path):
        with pytest.raises(PermissionError), open_writer(Output("csv", str(tmp_path / "x.csv"))):
            raise PermissionError


@pytest.mark.parametrize(
    ("name", "expected"), [("a.csv", "csv"), ("a.JSONL", "jsonl"), ("a.ndjson", "jsonl"), ("a.txt", "table")]
)
def test_a_suffix_names_the_format(name: str, expected: str):
    assert parse_output("auto", name).format == expected


def test_unknown_formats_and_suffixes_are_usage_errors():
    for arguments in [("xml", None), ("auto", "a.xyz")]:
        with pytest.raises(UsageError):
            parse_output(*arguments)
