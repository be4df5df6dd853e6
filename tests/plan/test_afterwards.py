"""What people, full disks and torn journals do between `apply` and `undo`."""

from __future__ import annotations

import errno
import json
from unittest import mock

import pytest
from plan.trees import Tree, apply, make_tree, snapshot, take_back, write_plan
from run import run

from clipcli.plan import journal as journals
from clipcli.plan import trashcan
from clipcli.plan.journal import read_journal

ACTIONS = ("trash", "move", "hardlink", "symlink", "delete")


@pytest.mark.parametrize("name", ACTIONS)
def test_names_as_long_as_they_may_be(tmp_path, name):
    root = tmp_path / "tree"
    root.mkdir()
    files = [root / ("a" * 251 + ".jpg"), root / ("ü" * 123 + "b.jpg")]
    for file in files:
        file.write_bytes(b"x")
    before = snapshot(root)
    results = apply(Tree(root, [files]), tmp_path, name)
    if name != "trash":  # the trash adds a suffix of its own
        assert results[str(files[1])].startswith("done")
    take_back(tmp_path)
    assert snapshot(root) == before


@pytest.mark.parametrize("name", ["trash", "move", "delete"])
def test_folders_that_were_removed_are_made_again(tree, tmp_path, name):
    before = snapshot(tree.root)
    apply(tree, tmp_path, name)
    goes = [paths[1] for paths in tree.groups]
    for path in goes:
        if path.parent.exists() and not list(path.parent.iterdir()):
            path.parent.rmdir()
    assert not goes[0].parent.exists()
    assert {one.state for one in take_back(tmp_path)} == {"restored"}
    assert snapshot(tree.root) == before


def test_a_tree_that_is_not_there_is_not_made_again(tree, tmp_path):
    apply(tree, tmp_path, "trash")
    tree.root.rename(tmp_path / "unplugged")
    assert {one.state for one in take_back(tmp_path)} <= {"failed", "lost"}
    assert not tree.root.exists()
    (tmp_path / "unplugged").rename(tree.root)
    assert {one.state for one in take_back(tmp_path)} == {"restored"}


def test_what_was_moved_and_is_gone_comes_from_the_keeper(tree, tmp_path):
    before = snapshot(tree.root)
    apply(tree, tmp_path, "move")
    moved = [path for path in (tmp_path / "away").rglob("*") if path.is_file()]
    moved[0].unlink()
    moved[1].write_bytes(b"changed")
    assert sorted(one.detail[:11] for one in take_back(tmp_path)) == ["copied from", "copied from"]
    assert moved[1].read_bytes() == b"changed"
    assert snapshot(tree.root) == before


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["move", "trash", "delete", "hardlink"])
def test_a_journal_cut_off_anywhere_in_its_last_line(tmp_path, name):
    root = tmp_path / "tree"
    root.mkdir()
    tree = make_tree(root, [[0, 1, 2]], same=True)
    before = snapshot(root)
    for lost in (1, 2, 10, 40, 49, 50):
        apply(tree, tmp_path, name)
        journal = tmp_path / "journal"
        data = journal.read_bytes()
        last = data.rstrip(b"\n").rfind(b"\n") + 1
        journal.write_bytes(data[: max(last, len(data) - lost)])
        assert read_journal(journal)[-1].state == "begun"
        assert {one.state for one in take_back(tmp_path)} == {"restored"}
        assert snapshot(root) == before
        journal.unlink()


@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_full_disk_stops_before_the_next_file(tree, tmp_path, line):
    write_plan(tmp_path / "plan.jsonl", tree)
    before, real, calls = snapshot(tree.root), journals._write_whole, []

    def write(stream, data):
        calls.extend([data] * (b'"nonce"' not in data))  # the first line of a journal has no step
        if len(calls) >= line:
            stream.write(data[:20])
            raise OSError(errno.ENOSPC, "No space left on device")
        real(stream, data)

    with mock.patch.object(journals, "_write_whole", write):
        result = run("apply", tmp_path / "plan.jsonl", "--action", "delete", "--yes")
    assert result.code == 6
    assert "no other file was touched" in result.stderr
    assert sum(path.exists() for paths in tree.groups for path in paths) == (4 if line == 1 else 3)
    assert run("undo", tmp_path / "plan.jsonl.journal").code == 0
    assert snapshot(tree.root) == before


def test_a_new_plan_of_the_same_name_has_a_journal_of_its_own(tree, tmp_path):
    plan, journal = tmp_path / "plan.jsonl", tmp_path / "plan.jsonl.journal"
    both, before = tree.groups, snapshot(tree.root)
    tree.groups = both[:1]
    write_plan(plan, tree)
    assert run("apply", plan, "--action", "delete", "--yes").code == 0
    between = snapshot(tree.root)
    tree.groups = both[1:]
    write_plan(plan, tree)
    result = run("apply", plan, "--action", "delete", "--yes")
    assert "belonged to an earlier plan" in result.stderr
    assert run("undo", journal).code == 0
    assert snapshot(tree.root) == between
    assert run("undo", f"{journal}.1").code == 0
    assert snapshot(tree.root) == before


def test_a_killed_run_is_gone_on_with_in_the_same_journal(tree, tmp_path):
    plan, journal = tmp_path / "plan.jsonl", tmp_path / "plan.jsonl.journal"
    write_plan(plan, tree)
    assert run("apply", plan, "--action", "delete", "--yes").code == 0
    journal.write_bytes(journal.read_bytes()[:-3])
    result = run("apply", plan, "--action", "delete", "--yes", "-f", "jsonl")
    assert {one["state"] for one in result.rows} == {"already"}
    assert not (tmp_path / "plan.jsonl.journal.1").exists()


def test_rows_never_replace_what_undo_needs(tree, tmp_path):
    plan = tmp_path / "plan.jsonl"
    write_plan(plan, tree)
    before = plan.read_bytes()
    for file in (plan, tmp_path / "plan.jsonl.journal"):
        assert run("apply", plan, "--action", "delete", "--yes", "-o", file, "-f", "jsonl").code == 2
    assert plan.read_bytes() == before
    assert all(path.exists() for paths in tree.groups for path in paths)
    assert run("apply", plan, "--action", "delete", "--yes").code == 0
    journal = tmp_path / "plan.jsonl.journal"
    assert run("undo", journal, "-o", journal, "-f", "jsonl").code == 2
    assert run("undo", journal).code == 0


def test_a_file_where_a_folder_should_be(tree, tmp_path):
    write_plan(tmp_path / "plan.jsonl", tree)
    (tmp_path / "taken").touch()
    result = run("apply", tmp_path / "plan.jsonl", "--action", f"move:{tmp_path / 'taken'}", "--yes")
    assert result.code == 2
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "d1").touch()
    result = run("apply", tmp_path / "plan.jsonl", "--action", f"move:{tmp_path / 'away'}", "--yes")
    assert result.code == 3
    assert f"not a directory: {tmp_path / 'away' / 'd1'}" in result.stderr


@pytest.mark.parametrize(
    "change",
    [
        {"number": 7}, {"number": -1}, {"state": "gone"}, {"path": 5}, {"path": "relative"}, {"made": ["x"]},
        {"size": "many"}, {"journal": 2}, {"more": 1},
    ],
)  # fmt: skip
def test_a_journal_edited_into_nonsense(tree, tmp_path, change):
    apply(tree, tmp_path, "delete")
    journal = tmp_path / "journal"
    first, rest = journal.read_text().split("\n", 1)
    journal.write_text(json.dumps({**json.loads(first), **change}) + "\n" + rest)
    before = snapshot(tmp_path)
    result = run("undo", journal)
    assert result.code == 4
    assert "line 1" in result.stderr
    assert snapshot(tmp_path) == before


def test_undo_of_a_plan_names_its_journal(tree, tmp_path):
    plan = tmp_path / "plan.jsonl"
    write_plan(plan, tree)
    run("apply", plan, "--action", "delete", "--yes")
    assert f"clipcli undo {plan}.journal" in run("undo", plan).stderr


def test_the_trash_is_read_once(tree, tmp_path):
    apply(tree, tmp_path, "trash")
    with mock.patch.object(trashcan, "_origin", wraps=trashcan._origin) as looked:
        assert len(take_back(tmp_path)) == 2
    assert looked.call_count == 2
