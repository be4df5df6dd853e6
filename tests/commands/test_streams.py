"""Streams: queries are answered as they arrive, open files are outputs, and a terminal may have no size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from run import assert_one_error, run, run_process
from terminal import Terminal

CLIPCLI = [sys.executable, "-m", "clipcli"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "img").mkdir()
    for colour in ("red", "blue", "green"):
        Image.new("RGB", (16, 16), colour).save(tmp_path / "img" / f"{colour}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLIPCLI_MODEL", "tiny")
    assert run("embed", "img", "-o", "v.npy", "-q").code == 0
    return tmp_path


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("corpus", "options"),
    [("v.npy", ()), *(pytest.param("img", ("-f", form), marks=pytest.mark.slow) for form in ("jsonl", "csv"))],
)
def test_a_query_is_answered_before_the_next_is_written(place: Path, corpus: str, options: tuple[str, ...]):
    assert place
    command = [*CLIPCLI, "rank", "--queries", "-", corpus, "-k", "1", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        assert running.stdin
        assert running.stdout
        for number, query in enumerate((b"red", b"blue", "gr\u00fcn".encode())):
            running.stdin.write(query + b"\n")
            running.stdin.flush()
            if not number and "csv" in options:
                assert running.stdout.readline().startswith(b"query,rank")
            assert query.split(b"\xc3")[0] in running.stdout.readline()
        running.stdin.close()
        assert running.stdout.read() == b""
    assert running.returncode == 0


def test_the_answers_are_those_of_a_file(place: Path):
    lines = [f"a {colour} square" for colour in ("red", "blue", "green", "red")]
    (place / "q.txt").write_text("\n".join(lines), encoding="utf-8")
    piped = run(
        "rank", "--queries", "-", "v.npy", "-q", "-f", "jsonl", "--report", "a.html", stdin="\r\n".join(lines).encode()
    )
    filed = run("rank", "--queries", "q.txt", "v.npy", "-q", "-f", "jsonl", "--report", "b.html")
    assert piped == filed
    assert (place / "a.html").read_bytes() == (place / "b.html").read_bytes()


def test_a_bad_line_is_a_row(place: Path):
    assert place
    lines = (
        b'{"id": "1", "text": "red"}\nnonsense\n{"query": "a - a"}\n{"id": 3, "image": "gone.png"}\n{"text": "blue"}\n'
    )
    result = run("rank", "--queries", "-", "v.npy", "-k", "1", "-f", "jsonl", stdin=lines)
    assert result.code == 3
    assert [row.get("query", row.get("image")) for row in result.rows if "error" in row] == [
        "<stdin>:2", "a - a", "gone.png",
    ]  # fmt: skip
    assert [(row.get("id"), row["query"]) for row in result.rows if "rank" in row] == [("1", "red"), (None, "blue")]
    assert run("rank", "--queries", "-", "v.npy", stdin=b"nonsense \xff\n").code == 3


@pytest.mark.parametrize("stdin", [b"", b"\n \n", b"\xff\xfea\0"])
def test_no_queries_at_all(place: Path, stdin: bytes):
    assert place
    assert_one_error(run("rank", "--queries", "-", "v.npy", "-q", stdin=stdin), "<stdin>: ", code=4)


def test_given_queries_come_first(place: Path):
    assert place
    result = run("rank", "-e", "green", "--queries", "-", "v.npy", "-k", "1", "-f", "jsonl", stdin=b"red\n")
    assert [row["query"] for row in result.rows] == ["green", "red"]


SHELL = {
    "pipe": "{} -o /dev/stdout | cat",
    "file": "{} -o /dev/stdout > out; cat out",
    "number": "{} -o /dev/fd/1 > out; cat out",
    "other": "{} -o /dev/fd/3 3>&1 >/dev/null",
    "stderr": "{} -o /dev/stderr 2>&1 >/dev/null",
}


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="these names are Unix's")
@pytest.mark.parametrize("how", SHELL)
def test_an_open_file_is_an_output(place: Path, how: str):
    command = f"{sys.executable} -m clipcli prompts list"
    wanted = run_process("prompts", "list").stdout
    done = subprocess.run(
        ["bash", "-c", SHELL[how].format(command)], check=False, capture_output=True, text=True, cwd=place
    )
    assert (done.stdout, done.stderr) == (wanted, "")


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="these names are Unix's")
def test_an_open_file_is_gone_on_with(place: Path):
    (place / "out").write_text("before\n", encoding="utf-8")
    script = f"{sys.executable} -m clipcli prompts list -f jsonl -o /dev/stdout >> out"
    subprocess.run(["bash", "-c", script], check=True, cwd=place)
    before, *rows = (place / "out").read_text(encoding="utf-8").splitlines()
    assert before == "before"
    assert len(rows) == len(run("prompts", "list", "-f", "jsonl").rows)


def test_vectors_go_to_stdout_by_name(place: Path):
    assert place
    assert run("embed", "img", "-q", "-o", "/dev/stdout").rows == run("embed", "img", "-q").rows
    assert_one_error(run("embed", "img", "-o", "/dev/stdout", "-f", "npy"), "npy cannot be written to a pipe", code=2)


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
@pytest.mark.parametrize(
    "cells", [(0, 0), *(pytest.param(cells, marks=pytest.mark.slow) for cells in ((1, 1), (0, 24), (80, 0)))]
)
def test_a_terminal_without_a_size_is_no_crash(place: Path, cells: tuple[int, int]):
    assert place
    terminal = Terminal(cells=cells, pixels=False)
    assert terminal.run([*CLIPCLI, "rank", "red", "v.npy", "-k", "1", "--preview"]) == 0
    assert b"rank" in terminal.seen.replace(b"\r\n", b"") or cells[0] == 1
    assert f"no preview: the terminal has {cells[0]}".encode() in terminal.seen


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
@pytest.mark.parametrize("cells", [(0, 0), (1, 1)])
def test_other_commands_need_no_size_either(place: Path, cells: tuple[int, int]):
    assert place
    for arguments in (("classify", "--help"), ("classify", "img", "-l", "a,b"), ("embed", "img", "-o", "o.npy")):
        assert Terminal(cells=cells).run([*CLIPCLI, *arguments]) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["embed", "img/red.png", "-f", "npy", "-o", "img/red.png"],
        ["embed", "img/red.png", "-f", "npy", "-o", "link.png"],
        ["classify", "rows.csv", "-l", "a,b", "-o", "./rows.csv"],
        ["classify", "img", "--labels-file", "labels.txt", "-o", "labels.txt"],
        ["classify", "--files-from", "labels.txt", "-l", "a,b", "-o", "labels.txt"],
        ["select", "rows.csv", "--where", "image is null", "-o", "rows.csv"],
        ["merge", "v.npy", "-o", "v.npy"],
        ["dedupe", "rows.csv", "-o", "rows.csv"],
    ],
    ids=" ".join,
)
def test_no_output_replaces_an_input(place: Path, arguments: list[str]):
    (place / "labels.txt").write_text("red\nblue\n", encoding="utf-8")
    (place / "rows.csv").write_text("image,label\nimg/red.png,red\n", encoding="utf-8")
    (place / "link.png").symlink_to("img/red.png")
    before = {path: path.read_bytes() for path in place.rglob("*.*")}
    assert_one_error(run(*arguments), f"-o {arguments[-1]} would replace an input", code=2)
    assert {path: path.read_bytes() for path in place.rglob("*.*")} == before


def test_an_output_may_replace_an_earlier_one(place: Path):
    for _ in range(2):
        assert run("classify", ".", "-l", "rows.csv,b", "--exclude", "rows.csv", "-o", "rows.csv").code == 0
    assert (place / "rows.csv").read_text(encoding="utf-8").startswith("image,label,score")


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "tsv"])
def test_select_reads_every_format_that_rows_are_written_in(place: Path, suffix: str):
    assert run("classify", "img", "-l", "red,blue", "-o", f"rows.{suffix}").code == 0
    chosen = run("select", f"rows.{suffix}", "--min-score", "0", "--paths")
    assert chosen.lines == [f"img/{colour}.png" for colour in ("blue", "green", "red")]
    if suffix.startswith("json"):
        piped = run("select", "-", "--min-score", "0", "--paths", stdin=(place / f"rows.{suffix}").read_bytes())
        assert piped.lines == chosen.lines


def test_an_array_in_one_line_or_in_many_says_how_to_make_lines(place: Path):
    for text in ('[{"image": "a.png"}]', '[\n{\n"image":\n"a.png"\n}\n]'):
        (place / "rows.json").write_text(text, encoding="utf-8")
        assert_one_error(run("select", "rows.json", "--where", "1"), "jq -c '.[]'", code=4)


@pytest.mark.parametrize("command", [["rank", "dog", "-"], ["classify", "-", "-l", "a,b"], ["embed", "-"]])
def test_json_on_stdin_is_not_taken_for_paths(place: Path, command: list[str]):
    assert place
    result = run(*command, "-q", stdin=b'{"image": "img/red.png", "embedding": [0.5]}\n')
    assert_one_error(result, "standard input: JSON objects, not paths", code=4)
