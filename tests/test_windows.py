"""What Windows refuses, acted on Linux: renaming and removing what is open, names, privileges, closed pipes."""

from __future__ import annotations

import errno
import io
import os
import shutil
from pathlib import Path

import pytest
import windows
from run import ROOT, Result, run

from clipcli.core.files import open_private
from clipcli.errors import OutputError
from clipcli.inputs.query import Query
from clipcli.models import spec
from clipcli.output import targets
from clipcli.output.targets import Target, open_target
from clipcli.plan import journal_lines
from clipcli.runs.rank import kept_hits
from clipcli.runs.rank.kept_hits import Keeper
from clipcli.runs.rank.rows import Hit
from clipcli.runs.rank.rows import Result as Hits

acted = pytest.mark.skipif(bool(windows.MISSING), reason=windows.MISSING)
tiny_needed = pytest.mark.skipif(
    not (spec.TINY_FOLDER / spec.MANIFEST).is_file(), reason="the embedded model is not built"
)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three drawings, each twice, where Windows' rules hold."""
    (tmp_path / "p").mkdir()
    for name in ("car", "cat", "dog"):
        shutil.copy(ROOT / "examples" / f"{name}.png", tmp_path / "p" / f"{name}.png")
        shutil.copy(ROOT / "examples" / f"{name}.png", tmp_path / "p" / f"copy of {name}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLIPCLI_MODEL", "tiny")
    windows.act_as_windows(monkeypatch)
    return tmp_path


def ok(*arguments: str) -> Result:
    result = run(*arguments)
    assert result.code == 0, result.stderr
    return result


@acted
@tiny_needed
@pytest.mark.thorough
def test_vectors_are_written_over_older_ones(world: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("clipcli.runs.embed.run.PART_INPUTS", 2)
    for suffix in ("npy", "npz", "safetensors", "csv"):
        for _ in range(2):
            ok("embed", "p", "-o", f"v.{suffix}", "-q")
        ok("rank", "a car", f"v.{suffix}", "-q", "-o", "hits.tsv")
    for _ in range(2):
        ok("index", "v.npy", "-o", "v.index", "-q")
    ok("rank", "a car", "v.index", "-q", "-o", "hits.tsv")
    assert not [path for path in world.iterdir() if path.name.endswith((".parts", ".part")) or path.name[0] == "."]


@acted
@pytest.mark.thorough
def test_plans_are_applied_and_undone(world: Path):
    def names() -> set[str]:
        return {str(path.relative_to(world)) for path in world.rglob("*.png")}

    before = names()
    for action in ("move:away", "trash", "hardlink"):
        ok("dedupe", "p", "--level", "exact", "-o", "plan.jsonl", "-q")
        ok("apply", "plan.jsonl", "--yes", "--action", action)
        assert names() != before or action == "hardlink"
        ok("undo", "plan.jsonl.journal", "--yes")
        assert {name for name in names() if not name.startswith("away")} == before
    assert not list(world.glob(".clipcli-*"))


@acted
@pytest.mark.thorough
def test_the_journal_of_another_plan_of_the_same_name_is_kept(world: Path):
    for _ in range(2):
        ok("dedupe", "p", "--level", "exact", "-o", "plan.jsonl", "-q")
        ok("apply", "plan.jsonl", "--yes", "--action", "delete")
        for path in list((world / "p").iterdir()):
            shutil.copy(path, world / "p" / f"new {path.name}")
    assert (world / "plan.jsonl.journal.1").exists()
    assert not list(world.glob(".clipcli-*"))


@acted
def test_an_index_that_is_in_use_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from clipcli.runs.rank.index_builder import install

    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "graph").write_text(name)
    windows.act_as_windows(monkeypatch)
    with (tmp_path / "old" / "graph").open(), pytest.raises(PermissionError):
        install(tmp_path / "new", tmp_path / "old", tmp_path / "aside")
    assert (tmp_path / "old" / "graph").read_text() == "old"
    install(tmp_path / "new", tmp_path / "old", tmp_path / "aside")
    assert (tmp_path / "old" / "graph").read_text() == "new"


def test_a_file_that_another_program_has_open_stays_and_the_hint_says_so(tmp_path: Path, monkeypatch):
    target = tmp_path / "rows.tsv"
    target.write_text("old")
    target.chmod(0o444)

    def refuse(*_given: object) -> None:
        raise PermissionError(errno.EACCES, "Access is denied")

    def keep_read_only(path: Path, *, real=os.unlink) -> None:
        if not os.stat(path).st_mode & 0o200:
            refuse()
        real(path)

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(os, "unlink", keep_read_only)
    monkeypatch.setattr(targets, "_IS_WINDOWS", True)
    with pytest.raises(OutputError) as caught, open_target(str(target)) as out:
        out.write(b"new")
    assert caught.value.hint == "close the program that has it open"
    assert [path.name for path in tmp_path.iterdir()] == ["rows.tsv"]
    assert target.read_text() == "old"


class _ClosedPipe(io.BytesIO):
    def write(self, _data: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")


def test_a_pipe_whose_reader_left_is_no_error(monkeypatch: pytest.MonkeyPatch):
    stdout = Target("standard output", _ClosedPipe())
    with pytest.raises(OutputError):
        stdout.write(b"row\n")
    monkeypatch.setattr(targets, "_IS_WINDOWS", True)
    with pytest.raises(BrokenPipeError):
        stdout.write(b"row\n")


def test_bytes_are_written_and_read_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The C library of Windows changes them in files that were not opened as binary."""
    binary, opened = 1 << 28, []

    def note(path: object, flags: int, *more: object, real=os.open, **named: object) -> int:
        opened.append((os.fspath(path), bool(flags & binary)))
        return real(path, flags & ~binary, *more, **named)

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "open", note)
    for module in (journal_lines, __import__("clipcli.core.files", fromlist=["BINARY"])):
        monkeypatch.setattr(module, "BINARY", binary)
    assert journal_lines.own_key(make=True)
    open_private(tmp_path / "note").close()
    assert len(opened) == 4
    assert all(is_binary for _, is_binary in opened), opened


def hits_of(*paths: str) -> Hits:
    hits = tuple(Hit(number + 1, path, path, 0.5) for number, path in enumerate(paths))
    return Hits(0, Query("a car", ()), hits)


def test_hits_get_names_that_the_file_system_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kept_hits, "_IS_WINDOWS", True)
    names = ["aux.png", 'a"b?c*.png', "ends in a dot.", "é" * 120 + ".jpg", "x" * 250 + ".png"]
    result = hits_of(*(str(tmp_path / name) for name in names))
    for hit in result.hits:
        Path(hit.path).write_bytes(b"x")
        assert Keeper(str(tmp_path / "out"), link=False, queries=1, width=1).keep(result, hit) is None
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made[:3] == ["1-aux.png", "2-a_b_c_.png", "3-ends in a dot"]
    assert [len(name.encode()) for name in made[3:]] == [206, 206]
    assert [name[-4:] for name in made[3:]] == [".jpg", ".png"]


def test_a_copy_that_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_source: object, copy: io.BytesIO) -> None:
        copy.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a.png").write_bytes(b"x")
    monkeypatch.setattr(shutil, "copyfileobj", full)
    result = hits_of(str(tmp_path / "a.png"))
    with pytest.raises(OutputError, match="no space left"):
        Keeper(str(tmp_path / "out"), link=False, queries=1, width=1).keep(result, result.hits[0])
    assert list((tmp_path / "out").iterdir()) == []


def test_links_that_windows_does_not_allow_have_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_given: object) -> None:
        error = OSError(errno.EINVAL, "A required privilege is not held by the client")
        error.winerror = 1314  # type: ignore[attr-defined]
        raise error

    (tmp_path / "a.png").write_bytes(b"x")
    monkeypatch.setattr(os, "symlink", refuse)
    result = hits_of(str(tmp_path / "a.png"))
    with pytest.raises(OutputError) as caught:
        Keeper(str(tmp_path / "out"), link=True, queries=1, width=1).keep(result, result.hits[0])
    assert "developer mode" in str(caught.value.hint)
