"""`select` as a user runs it: whole samples, in order, and what is missing is said."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from run import assert_one_error, run, run_script

Members = list[tuple[str, bytes]]


def shard(path: Path, members: Members) -> Path:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def members(path: Path) -> Members:
    with tarfile.open(path) as tar:
        return [(info.name, file.read()) for info in tar if (file := tar.extractfile(info)) is not None]


def sample(key: str, *extensions: str) -> Members:
    return [(f"{key}.{extension}", f"{key} {extension}".encode()) for extension in extensions]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three shards of four samples each, and rows of `score` about them: samples 0, 2, 4, … have 0.3 and more."""
    monkeypatch.chdir(tmp_path)
    rows: list[dict[str, Any]] = []
    for number in range(3):
        every: Members = []
        for key in (f"{number * 4 + each:03d}" for each in range(4)):
            every += sample(key, "jpg", "txt", "json")
            score = 0.3 + int(key) / 1000 if int(key) % 2 == 0 else 0.1
            rows.append({"image": f"shards/{number}.tar/{key}.jpg", "text": f"{key} txt", "score": score})
        shard(tmp_path / "shards" / f"{number}.tar", every)
    rows[3:3] = [{"image": "shards/0.tar/x.jpg", "error": {"stage": "decode", "reason": "truncated"}}]
    write_rows(tmp_path / "scores.jsonl", rows)
    return tmp_path


def test_whole_samples_in_order_and_several_shards(world: Path):
    result = run(
        "select", "scores.jsonl", "--from", "shards/*.tar", "--min-score", "0.3", "--per-shard", "4", "-o",
        "kept/{:05d}.tar",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    assert result.stdout == ""
    wanted = [pair for key in range(0, 12, 2) for pair in sample(f"{key:03d}", "jpg", "txt", "json")]
    assert sorted(os.listdir("kept")) == ["00000.tar", "00001.tar"]
    assert members(world / "kept/00000.tar") + members(world / "kept/00001.tar") == wanted
    assert "wrote 18 files for 6 images: 2 shards" in result.stderr
    assert "6 of 13 rows chosen; rows of failed inputs left out: 1" in result.stderr
    again = run("select", "scores.jsonl", "--min-score", "0.3", "-o", "kept/{:05d}.tar")
    assert_one_error(again, "kept/00000.tar already exists", code=2)


def test_the_order_is_that_of_the_shards_whatever_that_of_the_rows(world: Path):
    rows = [json.loads(line) for line in (world / "scores.jsonl").read_text().splitlines()]
    write_rows(world / "back.jsonl", rows[::-1])
    run("select", "back.jsonl", "--from", "shards/{0..2}.tar", "--top-share", "0.25", "-o", "best.tar")
    assert [name for name, _ in members(world / "best.tar")][::3] == ["006.jpg", "008.jpg", "010.jpg"]
    run("select", "scores.jsonl", "--top-share", "0.25", "-o", "same.tar")
    assert (world / "same.tar").read_bytes() == (world / "best.tar").read_bytes()


@pytest.mark.thorough  # webdataset imports torch
def test_webdataset_reads_what_was_written(world: Path):
    webdataset = pytest.importorskip("webdataset")
    run("select", "scores.jsonl", "--min-score", "0.3", "--per-shard", "2", "-o", "kept/{}.tar")
    urls = [str(world / "kept" / name) for name in sorted(os.listdir("kept"))]
    found = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert [each["__key__"] for each in found] == [f"{key:03d}" for key in range(0, 12, 2)]
    assert found[1]["txt"] == b"002 txt"


def test_what_was_asked_for_and_is_not_there_ends_in_3(world: Path):
    with (world / "scores.jsonl").open("a") as stream:
        for image in ("shards/1.tar/nothing.jpg", "shards/9.tar/a.jpg", "lost.jpg", "t.parquet/3"):
            stream.write(json.dumps({"image": image, "score": 0.5}) + "\n")
    result = run("select", "scores.jsonl", "--from", "shards/*.tar", "--min-score", "0.3", "-o", "kept.tar")
    assert result.code == 3
    for words in (
        "shards/1.tar/nothing.jpg: no such member", "shards/9.tar/a.jpg: --from does not name it",
        "lost.jpg: no such file",
        "t.parquet/3: an image in a table is not a sample", "incomplete: 4 of 10 images could not be copied",
    ):  # fmt: skip
        assert words in result.stderr
    assert len(members(world / "kept.tar")) == 18


def test_a_damaged_archive_gives_its_whole_samples_only(world: Path):
    whole = (world / "shards/1.tar").read_bytes()
    (world / "shards/1.tar").write_bytes(whole[: 512 * 9])  # amid the second sample
    result = run("select", "scores.jsonl", "--where", "score > 0", "-o", "kept.tar")
    assert result.code == 3
    names = [name for name, _ in members(world / "kept.tar")]
    assert [name for name in names if name < "008" and name >= "004"] == ["004.jpg", "004.txt", "004.json"]
    assert "shards/1.tar: the archive is cut off" in result.stderr
    assert "shards/1.tar/005.jpg: may not be whole" in result.stderr
    assert "incomplete: 3 of 12" in result.stderr


def test_keys_end_at_the_first_dot_or_at_the_last(world: Path):
    every = [
        *sample("22.05", "jpg", "txt"), *sample("22.06", "jpg", "txt"), *sample("s.left", "jpg", "json"),
        *sample("s.right", "jpg"), *sample("s", "txt"), *sample("a/b", "jpg", "tar.txt"), *sample("late", "jpg"),
        *sample("z", "jpg"), *sample("late", "txt"),
    ]  # fmt: skip
    shard(world / "dots.tar", every)
    rows = [{"image": f"dots.tar/{name}"} for name in ("22.05.jpg", "s.left.jpg", "late.jpg", "a/b.jpg")]
    write_rows(world / "rows.jsonl", rows)
    result = run("select", "rows.jsonl", "-o", "first.tar")
    assert [name for name, _ in members(world / "first.tar")] == [
        "22.05.jpg", "22.05.txt", "22.06.jpg", "22.06.txt", "s.left.jpg", "s.left.json", "s.right.jpg", "s.txt",
        "a/b.jpg", "a/b.tar.txt", "late.jpg", "late.txt",
    ]  # fmt: skip
    assert "2 other images of the same samples were written too" in result.stderr
    result = run("select", "rows.jsonl", "--last-dot", "-o", "last.tar")
    assert [name for name, _ in members(world / "last.tar")] == [
        "22.05.jpg", "22.05.txt", "s.left.jpg", "s.left.json", "s.txt", "a/b.jpg", "a/b.tar.txt",
        "late.jpg", "late.txt",
    ]  # fmt: skip
    assert "of the same samples" not in result.stderr


def test_keys_that_two_archives_share_stay_apart(world: Path):
    for name in ("p", "q"):
        shard(world / f"{name}.tar", [("0.jpg", name.encode()), ("0.txt", name.encode())])
    write_rows(world / "rows.jsonl", [{"image": f"{name}.tar/0.jpg"} for name in "pq"])
    result = run("select", "rows.jsonl", "-o", "kept.tar")
    assert members(world / "kept.tar") == [("0.jpg", b"p"), ("0.txt", b"p"), ("q/0.jpg", b"q"), ("q/0.txt", b"q")]
    assert "samples with a repeated name, each in a folder named after its shard: 1" in result.stderr


def test_files_of_a_folder_with_what_belongs_to_them(world: Path):
    for name in ("a.jpg", "a.txt", "a.en.txt", "a.05.png", "a.05.txt", "b.jpg", "b.json"):
        (world / "photos" / "deep").mkdir(parents=True, exist_ok=True)
        (world / "photos" / "deep" / name).write_text(name, encoding="utf-8")
    rows = [{"image": "photos/deep/b.jpg", "score": 1}, {"image": "photos/deep/a.jpg", "score": 1}]
    write_rows(world / "rows.jsonl", rows)
    result = run("select", "rows.jsonl", "--copy-to", "best")
    assert result.code == 0, result.stderr
    copied = sorted(str(path.relative_to("best")) for path in Path("best").rglob("*.*"))
    assert copied == [f"photos/deep/{name}" for name in ("a.en.txt", "a.jpg", "a.txt", "b.jpg", "b.json")]
    assert run("select", "rows.jsonl", "--copy-to", "best").code == 6
    run("select", "rows.jsonl", "-o", "kept.tar")
    names = [name.rpartition("/")[2] for name, _ in members(world / "kept.tar")]
    assert names == ["b.jpg", "b.json", "a.jpg", "a.en.txt", "a.txt"]
    run("select", "scores.jsonl", "--top-share", "0.08", "--copy-to", "one")
    assert sorted(path.name for path in Path("one/shards/2").iterdir()) == ["010.jpg", "010.json", "010.txt"]


def test_a_file_that_belongs_to_two_images_is_copied_once(world: Path):
    (world / "photos").mkdir()
    for name in ("a.jpg", "a.png", "a.txt"):
        (world / "photos" / name).write_text(name, encoding="utf-8")
    write_rows(world / "rows.jsonl", [{"image": "photos/a.png"}, {"image": "photos/a.jpg"}])
    result = run("select", "rows.jsonl", "--copy-to", "best")
    assert result.code == 0, result.stderr
    assert sorted(os.listdir("best/photos")) == ["a.jpg", "a.png", "a.txt"]
    assert run("select", "rows.jsonl", "--copy-to", "best").code == 6
    (world / "photos" / "a.gif").write_text("a.gif", encoding="utf-8")
    Path("best/photos/a.txt").write_text("mine", encoding="utf-8")
    write_rows(world / "rows.jsonl", [{"image": "photos/a.gif"}])
    assert run("select", "rows.jsonl", "--copy-to", "best").code == 6
    assert Path("best/photos/a.txt").read_text(encoding="utf-8") == "mine"


def test_names_cannot_lead_out_of_the_folder(world: Path):
    (world / "up.jpg").write_bytes(b"up")
    (world / "below").mkdir()
    os.chdir("below")
    write_rows(Path("rows.jsonl"), [{"image": "../up.jpg"}, {"image": str(world / "up.jpg")}])
    result = run("select", "rows.jsonl", "--copy-to", "best")
    assert result.code == 0, result.stderr
    assert sorted(path for path in Path().rglob("up.jpg")) == [
        Path("best") / str(world / "up.jpg").lstrip("/"), Path("best/up.jpg"),
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_rows_of_every_format_go_in_and_out(world: Path, suffix: str):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    made = run("select", "scores.jsonl", "-o", f"rows.{suffix}")
    assert made.code == 0, made.stderr
    result = run("select", f"rows.{suffix}", "--where", "score > 0.305 and text not like '%8%'", "--format", "jsonl")
    assert [row["image"] for row in result.rows] == [f"shards/{n}.tar/{key}.jpg" for n, key in ((1, "006"), (2, "010"))]
    if suffix != "csv":
        assert result.rows[0] == {"image": "shards/1.tar/006.jpg", "text": "006 txt", "score": 0.306}
    paths = run("select", f"rows.{suffix}", "--top-share", "0.1", "--paths", "-0").stdout
    assert paths == "shards/2.tar/010.jpg\0"


def test_rows_in_a_pipe_and_rows_that_cannot_be_read(world: Path):
    lines = '{"image": "a.jpg", "score": 0.5}\nno json\n{"score": 1}\n{"image": "b.jpg", "score": "x"}\n'
    result = run("select", "-", "--min-score", "0.2", "--paths", stdin=lines.encode())
    assert result.code == 3
    assert result.lines == ["a.jpg"]
    for words in ("stdin/1: ", "stdin/2: no image in the column image", "stdin/3: no number in the column score"):
        assert words in result.stderr
    table = list(csv.DictReader(io.StringIO(run("select", "scores.jsonl", "--format", "csv").stdout)))
    assert len(table) == 12


def test_what_cannot_be_used_is_said_in_one_line(world: Path):
    write_rows(world / "labels.jsonl", [{"image": "a.jpg", "label": "cat"}])
    assert_one_error(run("select", "labels.jsonl", "--min-score", "1"), "has no column score", "label", code=4)
    assert_one_error(run("select", "labels.jsonl", "--where", "lable = 'cat'"), "did you mean 'label'", code=2)
    assert_one_error(run("select", "labels.jsonl", "--by", "label"), "--by needs", code=2)
    assert run("select", "lost.jsonl").code == 4
    assert_one_error(run("select"), "no rows given", code=2)
    assert_one_error(run("select", "labels.jsonl", "--from", "shards/*.tar"), "--from needs", code=2)
    assert_one_error(run("select", "labels.jsonl", "--min-score", "nan"), "--min-score nan", code=2)
    for places in (["-o", "b.tar"], ["--copy-to", "b"], []):
        assert_one_error(run("select", "labels.jsonl", "--per-shard", "5", *places), "--per-shard needs", code=2)
    assert_one_error(run("select", "labels.jsonl", "--copy-to", "b", "-o", "b.tar"), "do not go together", code=2)
    assert_one_error(run("select", "labels.jsonl", "-o", "{:05d}/{:05d}.tar"), "one number", code=2)
    assert_one_error(run("select", "labels.jsonl", "-o", "{x}.tar"), "cannot tell the number", code=2)
    assert_one_error(run("select", "scores.jsonl", "--min-score", "9", "-o", "k.tar"), "no row passes", code=4)
    lost = run("select", "scores.jsonl", "--from", "shrads/*.tar", "-o", "k.tar")
    assert lost.code == 4
    assert "nothing matches this pattern" in lost.stderr


LIMITED = """import resource, runpy, sys
sys.argv = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
runpy.run_module("clipcli", run_name="__main__")
"""


@pytest.mark.thorough
def test_a_full_disk_leaves_no_shard_behind(world: Path):
    pytest.importorskip("resource")
    shard(world / "shards" / "2.tar", [("010.jpg", bytes(40_000))])
    result = run_script(
        LIMITED, "clipcli", "select", "scores.jsonl", "--min-score", "0.3", "--per-shard", "2", "-o", "kept/{}.tar"
    )
    assert result.code == 6, result.stderr
    assert "cannot write kept/0.tar" in result.stderr
    assert not list((world / "kept").iterdir())


MEASURED = """import resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module("clipcli", run_name="__main__")
except SystemExit:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(world: Path):
    pytest.importorskip("resource")
    peaks = []
    for count in (1_000, 300_000):
        with (world / f"{count}.jsonl").open("w") as stream:
            stream.writelines(f'{{"image": "shards/{n % 97}.tar/{n:09d}.jpg", "score": 0.5}}\n' for n in range(count))
        done = run_script(
            MEASURED,
            "clipcli",
            "select",
            f"{count}.jsonl",
            "--from",
            "shards/*.tar",
            "--top-share",
            "0.5",
            "-o",
            "k.tar",
        )
        peaks.append(int(done.lines[-1]))
    assert peaks[1] < peaks[0] + 40_000, peaks  # KB: 300,000 names in a set have 40 MB and more


def as_tsv(world: Path, form: str) -> Path:
    """The rows as a command writes them to a pipe."""
    lines = []
    for row in map(json.loads, (world / "scores.jsonl").read_text(encoding="utf-8").splitlines()):
        ending = ["decode: truncated"] if "error" in row else []
        score = "" if ending else f"{row['score']:.4f}"
        middle = {"score": [row["image"], row.get("text", ""), score], "rank": ["a dog", "1", row["image"], score]}
        lines.append("\t".join([*middle[form], *ending]))
    (world / f"{form}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return world / f"{form}.tsv"


@pytest.mark.parametrize("form", ["score", "rank"])
def test_tsv_without_a_header_is_read_as_commands_write_it(world: Path, form: str):
    rows = as_tsv(world, form)
    wanted = run("select", "scores.jsonl", "--min-score", "0.3", "--paths")
    found = run("select", rows, "--min-score", "0.3", "--paths")
    assert (found.code, found.lines) == (wanted.code, wanted.lines)
    assert found.stderr == wanted.stderr
    best = run("select", rows, "--top-share", "0.1", "--where", "score > 0.2", "-f", "jsonl")
    assert best.rows[0]["image"] == "shards/2.tar/010.jpg"
    assert "error" not in best.rows[0]


def test_tsv_that_starts_with_a_failed_input_and_that_is_of_no_command(world: Path):
    text = (world / as_tsv(world, "score")).read_text(encoding="utf-8").splitlines()
    (world / "late.tsv").write_text("\n".join([text[3], *text[:3]]), encoding="utf-8")
    assert len(run("select", "late.tsv", "--min-score", "0.3", "--paths").lines) == 2
    (world / "own.tsv").write_text("a.jpg\tsome\twords\n", encoding="utf-8")
    refused = run("select", "own.tsv", "--min-score", "0.3", "--paths")
    assert_one_error(refused, "own.tsv: has no header", "--format csv or jsonl", code=4)
    (world / "named.tsv").write_text("photo\tscore\nshards/0.tar/000.jpg\t0.5\n", encoding="utf-8")
    assert run("select", "named.tsv", "--min-score", "0.3", "--paths").lines == ["shards/0.tar/000.jpg"]
