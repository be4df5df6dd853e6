"""Journals and plans that somebody else wrote: nothing but a journal is changed, and nothing is written by its word."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan.trees import Tree, action_for, apply, make_tree, own_trash, snapshot, take_back, write_plan
from run import run, run_process

from clipcli.errors import ClipcliError
from clipcli.plan import descriptors, safe_move
from clipcli.plan.apply import Applier
from clipcli.plan.journal import open_journal, read_journal

ACTIONS = ("trash", "move", "delete", "hardlink", "symlink")
BEGINNINGS = st.sampled_from(
    [b"", b"{", b'{"journal": ', b'{"journal": 1', b'{"journal": 1}\n', b"\0", b"\n", b"[", b"#!"]
)


@settings(max_examples=50)
@given(start=BEGINNINGS, rest=st.binary(max_size=200))
def test_any_bytes_that_do_not_begin_as_a_journal_stay(tmp_path_factory, start, rest):
    file = tmp_path_factory.mktemp("any") / "file"
    file.write_bytes(start + rest)
    before = file.stat()
    with pytest.raises(ClipcliError), open_journal(file):
        pass
    assert file.read_bytes() == start + rest
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize(
    "data",
    [b"", b"no newline", b"MZ\0\0\0", b"\xff" * 70_000, b"[" * 50_000, b'{"journal": 1',
     b'{"journal": ' + b"[" * 50_000 + b"\n",
     b'{"journal": ' + b"9" * 9_000 + b"}\n", b"\n\n", "ключ".encode("utf-16"), b"{}\n{"],
    ids=range(11),
)  # fmt: skip
@pytest.mark.parametrize("command", ["undo", "apply"])
def test_what_is_given_as_a_journal_and_is_none_stays(tree, tmp_path, data, command):
    file, plan = tmp_path / "precious", tmp_path / "plan.jsonl"
    file.write_bytes(data)
    write_plan(plan, tree)
    before = snapshot(tmp_path)
    for more in ((), ("--yes",)):
        arguments = ("undo", file) if command == "undo" else ("apply", plan, "-a", "delete", "--journal", file)
        result = run(*arguments, *more)
        assert result.code == 4, result.stderr
        assert str(file) in result.stderr
        assert "Traceback" not in result.stderr
    assert snapshot(tmp_path) == before


def test_what_is_no_ordinary_file_is_no_journal(tree, tmp_path):
    plan = tmp_path / "plan.jsonl"
    write_plan(plan, tree)
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "link").symlink_to("precious")
    (tmp_path / "nowhere").symlink_to("not there")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "nowhere", "folder", "pipe", "/dev/null", "/dev/zero"):
        for arguments in (("undo",), ("apply", plan, "-a", "delete", "--yes", "--journal")):
            result = run(*arguments, tmp_path / name)
            assert result.code in {4, 6}, (name, result.stderr)
            assert "Traceback" not in result.stderr
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "not there").exists()


def test_a_new_journal_is_private_whatever_the_mask(tree, tmp_path):
    before = os.umask(0)
    try:
        apply(tree, tmp_path, "delete")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o600
    assert not list(tmp_path.glob(".clipcli-journal*"))


def crafted(folder: Path, **more: object) -> dict[str, object]:
    """A step that would write a file with bytes from elsewhere."""
    (folder / "bytes").write_bytes(b"ssh-ed25519 AAAA")
    return {
        "journal": 1, "number": 0, "action": "delete", "image": "photo.jpg",
        "path": str(folder / "ssh" / "authorized_keys"),
        "keeper": str(folder / "bytes"), "sha256": hashlib.sha256(b"ssh-ed25519 AAAA").hexdigest(), "size": 16,
        "mtime_ns": 0, "mode": 0o4755, "root": str(folder), "state": "done", **more,
    }  # fmt: skip


def write_journal(file: Path, *records: dict[str, object]) -> Path:
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def test_a_foreign_journal_is_shown_with_its_real_paths_and_not_followed(tmp_path):
    journal = write_journal(tmp_path / "j", crafted(tmp_path))
    before = snapshot(tmp_path)
    result = run("undo", journal, "-f", "jsonl")
    assert result.code == 4
    assert [row["image"] for row in result.rows] == [str(tmp_path / "ssh" / "authorized_keys")]
    assert "--yes" in result.stderr
    assert snapshot(tmp_path) == before
    assert run("undo", journal, "--yes").code == 0
    assert stat.S_IMODE((tmp_path / "ssh" / "authorized_keys").stat().st_mode) == 0o755


def test_a_line_added_to_an_own_journal_makes_it_foreign(tree, tmp_path):
    plan, journal = tmp_path / "plan.jsonl", tmp_path / "plan.jsonl.journal"
    write_plan(plan, tree)
    run("apply", plan, "-a", "delete", "--yes")
    own, before = journal.read_text(), snapshot(tree.root)
    steps = read_journal(journal)
    journal.write_text(own + json.dumps(crafted(tmp_path, number=len(steps))) + "\n")
    assert run("undo", journal).code == 4
    assert snapshot(tree.root) == before
    lines = own.splitlines(keepends=True)
    journal.write_text("".join([lines[0], *lines[3:], *lines[1:3]]).replace('"number": 1', '"number": 0'))
    assert run("undo", journal).code == 4
    assert run("apply", plan, "-a", "delete", "--yes").code == 4
    assert snapshot(tree.root) == before
    journal.write_text(own)
    assert run("undo", journal).code == 0


@pytest.mark.parametrize(
    "change",
    [
        {"path": "/etc/passwd"}, {"path": "{}/ssh/../../x"}, {"path": "{}"}, {"path": "{}/\0"}, {"path": "{}/\ud800"},
        {"root": ""}, {"root": "relative"}, {"keeper": "bytes"}, {"keeper": "{}/./bytes"}, {"action": "burn"},
        {"action": "move"}, {"action": "move", "target": "x"}, {"target": "{}/x"}, {"made": ["{}"]},
        {"action": "move", "target": "{}/a/b", "made": ["{}/elsewhere"]}, {"mode": -1}, {"mode": 2**70}, {"size": -1},
        {"mtime_ns": 2**90}, {"sha256": "0"}, {"began": float("nan")}, {"began": float("inf")}, {"uid": -2},
        {"uid": 2**40}, {"xattrs": ["security.capability=00"]}, {"xattrs": ["user.x=zz"]}, {"xattrs": [1]},
        {"xattrs": "user.x=00"}, {"number": True}, {"more": 1}, {"seal": 1, "image": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_step_obeys_the_rules_of_a_plan(tmp_path, change):
    def placed(value: object) -> object:
        if isinstance(value, list):
            return [placed(one) for one in value]
        return value.replace("{}", str(tmp_path)) if isinstance(value, str) else value

    journal = write_journal(tmp_path / "j", crafted(tmp_path, **{name: placed(one) for name, one in change.items()}))
    before = snapshot(tmp_path)
    result = run("undo", journal, "--yes")
    assert result.code == 4
    assert "line 1" in result.stderr
    assert len(result.stderr.splitlines()) <= 2
    assert snapshot(tmp_path) == before


def test_a_plan_shows_real_paths(tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tree.root)
    plan = tmp_path / "plan.jsonl"
    write_plan(plan, tree)
    goes = [str(paths[1]) for paths in tree.groups]
    lines = [json.loads(line) for line in plan.read_text().splitlines()]
    for line, image in zip(lines, ("harmless.jpg",) * 3 + (os.path.relpath(goes[1], tree.root),), strict=True):
        line["image"] = image
    plan.write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = [row["image"] for row in run("apply", plan, "-f", "jsonl").rows]
    assert shown == [goes[0], os.path.relpath(goes[1], tree.root)]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"plan": ' + "9" * 5000 + "}", "x" * 300_000, '{"plan":1,"group":' + "9" * 30 + "}"]
)
def test_a_plan_of_nonsense_without_an_end(tmp_path, text):
    (tmp_path / "p").write_text(text + "\n")
    result = run("apply", tmp_path / "p")
    assert result.code == 4
    assert len(result.stderr.splitlines()) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("file", ["/dev/zero", "pipe"])
@pytest.mark.parametrize("command", ["apply", "undo"])
def test_a_plan_without_an_end(tmp_path, command, file):
    os.mkfifo(tmp_path / "pipe")
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30));"
        "from clipcli.cli.app import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, command, tmp_path / file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr


def extended(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path) if name != "security.capability"}


def acl(*entries: tuple[int, int, int]) -> bytes:
    """An access list as Linux keeps it: tag, permissions, id."""
    return (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + (who & 0xFFFFFFFF).to_bytes(4, "little")
        for tag, bits, who in entries
    )


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="extended attributes are reached on Linux only")
@pytest.mark.parametrize("disks", [False, True])
@pytest.mark.parametrize("name", [name for name in ACTIONS if name != "symlink"])
def test_what_a_file_has_besides_its_bytes_comes_back(tree, tmp_path, name, disks):
    from plan.trees import Machine

    tree.groups.pop()
    goes = tree.groups[0][1]
    try:
        os.setxattr(goes, "user.note", b"mine \xff")
        os.setxattr(
            goes, "system.posix_acl_access",
            acl((1, 6, -1), (2, 4, 12345), (4, 4, -1), (16, 4, -1), (32, 0, -1)),
        )  # fmt: skip
    except OSError:
        pytest.skip("the file system of the tests has no extended attributes")
    owner = (1234, 2345) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    os.chown(goes, *owner)
    os.utime(goes, ns=(10**18 + 7, 10**18 + 9))
    before, had = goes.stat(), extended(goes)
    with Machine(two_disks=disks).running():
        assert apply(tree, tmp_path, name)[str(goes)].startswith("done")
        take_back(tmp_path)
    after = goes.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, *owner)
    assert after.st_mtime_ns == before.st_mtime_ns
    assert extended(goes) == had


@pytest.mark.parametrize("disks", [False, True])
@pytest.mark.parametrize("name", ["delete", "hardlink", "move"])
def test_no_copy_runs_as_another_user(tree, tmp_path, name, disks):
    from plan.trees import Machine

    tree.groups.pop()
    goes = tree.groups[0][1]
    goes.chmod(0o6755)
    with Machine(two_disks=disks).running():
        apply(tree, tmp_path, name)
        made = list((tmp_path / "away").rglob("*.jpg")) if disks else []
        assert not [path for path in made if path.stat().st_mode & 0o7000]
        take_back(tmp_path)
    assert stat.S_IMODE(goes.stat().st_mode) & 0o777 == 0o755
    if name != "move" or disks:
        assert not goes.stat().st_mode & 0o7000


@contextmanager
def swapped(folder: Path, elsewhere: Path, before: str):
    """Another program swaps a folder for a link just before a system call."""
    real = getattr(descriptors, before)

    def call(*arguments, **given):
        if folder.is_dir() and not folder.is_symlink():
            folder.rename(elsewhere.with_name("moved away"))
            folder.symlink_to(elsewhere)
        return real(*arguments, **given)

    with mock.patch.object(descriptors, before, call):
        yield


@pytest.mark.parametrize("before", ["rename", "replace", "unlink", "create", "link"])
@pytest.mark.parametrize("name", ACTIONS)
def test_a_folder_that_is_swapped_redirects_nothing(tree, tmp_path, name, before):
    tree.groups.pop()
    goes = tree.groups[0][1]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in goes.parent.iterdir():
        (elsewhere / path.name).write_bytes(path.read_bytes())
        os.utime(elsewhere / path.name, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    (elsewhere / Path(safe_move.quarantine_path(str(goes))).name).write_bytes(goes.read_bytes())
    (elsewhere / Path(safe_move.part_of(str(goes))).name).write_bytes(goes.read_bytes())
    victims = snapshot(elsewhere)
    with swapped(goes.parent, elsewhere, before):
        apply(tree, tmp_path, name)
    assert snapshot(elsewhere) == victims
    with swapped(goes.parent, elsewhere, before):
        take_back(tmp_path)
    assert snapshot(elsewhere) == victims


@pytest.mark.parametrize("name", ["trash", "move"])
def test_what_took_the_name_in_the_last_moment_does_not_go(tree, tmp_path, name):
    tree.groups.pop()
    goes = tree.groups[0][1]
    real, state = descriptors.rename, goes.stat()

    def rename(source, target):
        if source == str(goes):
            (tmp_path / "new").write_bytes(b"X" * state.st_size)
            os.utime(tmp_path / "new", ns=(state.st_atime_ns, state.st_mtime_ns))
            os.replace(tmp_path / "new", goes)
        real(source, target)

    with mock.patch.object(descriptors, "rename", rename):
        assert apply(tree, tmp_path, name)[str(goes)].startswith("failed another file")
    assert goes.read_bytes() == b"X" * state.st_size
    assert not list(goes.parent.glob(".clipcli-*"))


@pytest.mark.parametrize("name", ACTIONS[:3])
def test_bytes_that_changed_with_the_same_time_do_not_go(tree, tmp_path, name):
    tree.groups.pop()
    goes = tree.groups[0][1]
    state, real = goes.stat(), descriptors.rename

    def rename(source, target):
        real(source, target)
        if source == str(goes):
            Path(target).write_bytes(b"X" * state.st_size)
            os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns))

    with mock.patch.object(descriptors, "rename", rename):
        assert apply(tree, tmp_path, name)[str(goes)].startswith("failed another file")
    assert goes.read_bytes() == b"X" * state.st_size


def test_two_real_disks(tree, tmp_path):
    away = Path("/dev/shm")  # noqa: S108 - a disk of memory, where there is one
    if not away.is_dir() or away.stat().st_dev == tmp_path.stat().st_dev or not os.access(away, os.W_OK):
        pytest.skip("needs a second file system at /dev/shm")
    import tempfile

    before = snapshot(tree.root)
    with tempfile.TemporaryDirectory(dir=away) as folder:
        plan = tmp_path / "plan.jsonl"
        write_plan(plan, tree)
        assert run("apply", plan, "-a", f"move:{folder}/deep", "--yes").code == 0
        assert len([path for path in Path(folder).rglob("*") if path.is_file()]) == 2
        assert run("undo", f"{plan}.journal").code == 0
        assert not list(Path(folder).iterdir())
    assert snapshot(tree.root) == before


def test_the_trash_keeps_to_its_specification(tmp_path):
    root, home = tmp_path / "tree", tmp_path / "home"
    root.mkdir()
    names = ["a.jpg", "b/a.jpg", "per%cent ü.jpg"]
    (root / "b").mkdir()
    tree = Tree(root, [[root / "keeper.jpg", *(root / name for name in names)]])
    for path in tree.groups[0]:
        path.write_bytes(b"x")
    apply(tree, tmp_path, "trash")
    assert sorted(path.name for path in (home / "Trash" / "files").iterdir()) == [
        "a (2).jpg",
        "a.jpg",
        "per%cent ü.jpg",
    ]
    notes = {path.name: path.read_text().splitlines() for path in (home / "Trash" / "info").iterdir()}
    assert set(notes) == {"a.jpg.trashinfo", "a (2).jpg.trashinfo", "per%cent ü.jpg.trashinfo"}
    head, path, when = notes["per%cent ü.jpg.trashinfo"]
    assert head == "[Trash Info]"
    assert path == f"Path={root}/per%25cent%20%C3%BC.jpg"
    assert when.startswith("DeletionDate=20")
    assert len(when) == len("DeletionDate=2026-01-01T00:00:00")
    for folder in ("", "files", "info"):
        assert stat.S_IMODE((home / "Trash" / folder).stat().st_mode) == 0o700


def test_a_trash_that_is_somebody_elses_is_not_used(tree, tmp_path):
    (tmp_path / "home" / "Trash").mkdir(parents=True)
    with mock.patch.object(os, "geteuid", return_value=4321):
        results = apply(tree, tmp_path, "trash")
    assert {state.split()[0] for state in results.values()} == {"failed"}
    assert all(path.exists() for paths in tree.groups for path in paths)


@pytest.mark.thorough
def test_a_second_process_is_refused(tree, tmp_path):
    plan = tmp_path / "plan.jsonl"
    write_plan(plan, tree)
    with own_trash(tmp_path / "home"), open_journal(tmp_path / "plan.jsonl.journal") as opened:
        list(Applier(action_for("delete", tmp_path), opened).run(tree.plan()))
        result = run_process("undo", f"{plan}.journal")
    assert result.code == 6
    assert "another clipcli is using" in result.stderr
    assert run("undo", f"{plan}.journal").code == 0


def test_without_a_place_for_the_key_undo_asks(tmp_path, monkeypatch):
    root = tmp_path / "tree"
    root.mkdir()
    tree, plan = make_tree(root, [[0, 1]], same=True), tmp_path / "plan.jsonl"
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    write_plan(plan, tree)
    assert run("apply", plan, "-a", "delete", "--yes").code == 0
    assert run("undo", f"{plan}.journal").code == 4
    assert run("undo", f"{plan}.journal", "--yes").code == 0
