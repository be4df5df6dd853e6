"""Results that go to a URL: whole or not at all, with their companion files."""

from __future__ import annotations

from pathlib import Path

import pytest
from run import assert_one_error, run

from clipcli.errors import OutputError
from clipcli.inputs.sources.filesystems import check_writable
from clipcli.vectorfiles import open_vectors
from clipcli.vectorfiles.checkpoints import open_parts
from clipcli.vectorfiles.writer import staging_path

fsspec = pytest.importorskip("fsspec")
TINY = ("--model", "tiny")


@pytest.fixture
def memory():
    """A file system in this process, empty."""
    system = fsspec.filesystem("memory")
    system.mkdirs("/out", exist_ok=True)
    yield system
    system.rm("/out", recursive=True)


@pytest.fixture
def photos(tmp_path, images) -> Path:
    """Five pictures, and a file that is none."""
    place = tmp_path / "photos"
    place.mkdir()
    for name, data in (images | {"bad.png": b"no picture"}).items():
        (place / name).write_bytes(data)
    return place


def files_of(memory) -> dict[str, bytes]:
    return {path.removeprefix("/out/"): memory.cat_file(path) for path in memory.find("/out")}


def no_leftovers() -> bool:
    return not list(staging_path("memory://out/x").parent.parent.glob("*/*"))


@pytest.mark.thorough
@pytest.mark.parametrize("suffix", ["npy", "npz", "parquet", "safetensors", "jsonl", "csv"])
def test_the_files_are_those_of_a_run_on_disk(memory, photos, tmp_path, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / "near").mkdir()
    near = run("embed", photos, *TINY, "-o", tmp_path / "near" / f"v.{suffix}")
    far = run("embed", photos, *TINY, "-o", f"memory://out/v.{suffix}")
    assert (near.code, far.code, far.stdout) == (3, 3, "")
    assert files_of(memory) == {file.name: file.read_bytes() for file in (tmp_path / "near").iterdir()}
    assert no_leftovers()


def test_failures_of_an_earlier_run_do_not_stay(memory, photos):
    run("embed", photos, *TINY, "-o", "memory://out/v.npy")
    (photos / "bad.png").unlink()
    assert run("embed", photos, *TINY, "-o", "memory://out/v.npy").code == 0
    assert set(files_of(memory)) == {"v.npy", "v.npy.json"}


@pytest.mark.thorough
def test_shards_there_are_merged_there(memory, photos, tmp_path):
    pytest.importorskip("pyarrow")
    for share in (1, 2):
        run("embed", photos, *TINY, "--shard", f"{share}/2", "-o", f"memory://out/parts/{share}.parquet")
    merged = run("merge", "memory://out/parts/", "-o", "memory://out/all.parquet")
    assert (merged.code, merged.stderr) == (0, "clipcli: 5 vectors in memory://out/all.parquet\n")
    run("embed", photos, *TINY, "-o", tmp_path / "whole.parquet")
    assert files_of(memory)["all.parquet"] == (tmp_path / "whole.parquet").read_bytes()
    assert list(open_vectors("memory://out/all.parquet").names) == list(open_vectors(tmp_path / "whole.parquet").names)
    assert no_leftovers()


def test_what_cannot_be_sent_is_kept_and_sent_by_resume(memory, photos, monkeypatch):
    def refuse(*_: object) -> None:
        raise OutputError("cannot write it: access denied")

    command = ("embed", photos, *TINY, "--no-cache", "-o", "memory://out/v.npy")
    with monkeypatch.context() as patch:
        patch.setattr("clipcli.vectorfiles.writer.upload", refuse)
        failed = run(*command)
    assert failed.code == 6
    kept, error = failed.stderr.splitlines()[-2:]
    assert kept.endswith("images are finished; --resume continues from there")
    assert error == "clipcli: error: cannot write it: access denied"
    assert files_of(memory) == {}
    monkeypatch.setattr(
        "clipcli.runs.embed.embed_inputs.ImageInputs.outcomes", lambda _s, _e, wanted: iter(list(wanted))
    )
    assert run(*command, "--resume").code == 3
    assert set(files_of(memory)) == {"v.npy", "v.npy.json", "v.npy.errors.jsonl"}


def test_two_runs_into_one_url(memory, photos):
    with open_parts(staging_path("memory://out/v.npy"), "float32", resume=False):
        result = run("embed", photos, *TINY, "-o", "memory://out/v.npy")
    assert (result.code, result.stdout) == (6, "")
    assert "another clipcli is writing memory://out/v.npy" in result.stderr
    assert files_of(memory) == {}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "command", [("classify", "-l", "red,blue"), ("rank", "red"), ("dedupe",)], ids=lambda command: command[0]
)
def test_rows_go_there_too(memory, photos, tmp_path, command):
    name, *options = command
    near, far = tmp_path / "rows.jsonl", "memory://out/rows.jsonl"
    assert [run(name, *options, photos, *TINY, "-o", place).code for place in (near, far)] == [3, 3]
    assert files_of(memory) == {"rows.jsonl": near.read_bytes()}


def test_rows_of_a_run_that_ends_in_an_error_do_not_appear(memory, photos, monkeypatch):
    monkeypatch.setattr("clipcli.output.targets.upload", lambda *_: pytest.fail("it is sent"))
    assert run("classify", photos, "-l", "red,blue", "-m", "no-such-model", "-o", "memory://out/rows.jsonl").code == 5


@pytest.mark.parametrize(
    ("place", "code", "words"),
    [
        ("https://host/v.npy", 2, "https:// can only be read"),
        ("memory://out/", 2, "memory://out/ is a folder"),
        ("memory://out/v.xyz", 2, "cannot tell the format"),
        ("gopher://host/v.npy", 4, "gopher:// is not supported"),
    ],
)
def test_places_that_cannot_be_written(photos, place, code, words):
    assert_one_error(run("embed", photos, *TINY, "-q", "-o", place), words, code=code)


def test_offline_nothing_is_sent(photos):
    result = run("embed", photos, *TINY, "-q", "--offline", "-o", "s3://bucket/v.npy")
    assert_one_error(result, "s3:// needs the network", code=2)


def test_a_place_that_nobody_may_list_may_be_writable(monkeypatch, memory):
    def ls(*_: object, **__: object) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "ls", ls)
        check_writable("memory://out/v.npy")
