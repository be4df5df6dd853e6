"""What other programs do between a check of a file and the system call after it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from unittest import mock

import pytest
from plan.trees import (
    Killed,
    Machine,
    Tree,
    action_for,
    apply,
    make_tree,
    own_trash,
    row,
    snapshot,
    take_back,
    write_plan,
)
from run import ROOT

from clipcli.plan import descriptors
from clipcli.plan.actions import Delete, parse_action
from clipcli.plan.apply import Applier
from clipcli.plan.file_state import is_below, look
from clipcli.plan.journal import Journal, open_journal
from clipcli.plan.plan_file import Plan, PlanGroup
from clipcli.plan.safe_move import FreeNames

ACTIONS = ("trash", "move", "hardlink", "symlink", "delete")


def written_meanwhile(change):
    """Something that happens when a step is in the journal and not yet taken."""
    real = Journal.begin

    def begin(self, step):
        change()
        return real(self, step)

    return mock.patch.object(Journal, "begin", begin)


@pytest.mark.parametrize("name", ACTIONS)
def test_a_file_that_is_replaced_after_its_check_stays(tree, tmp_path, name):
    tree.groups.pop()
    _, goes = tree.groups[0]

    def replace() -> None:
        (tmp_path / "new").write_bytes(b"somebody's work")
        (tmp_path / "new").replace(goes)

    with written_meanwhile(replace):
        assert apply(tree, tmp_path, name)[str(goes)].startswith("failed")
    assert goes.read_bytes() == b"somebody's work"
    assert {one.state for one in take_back(tmp_path)} <= {"lost"}
    assert goes.read_bytes() == b"somebody's work"


def test_a_file_that_is_replaced_in_the_last_moment_stays(tree, tmp_path):
    tree.groups.pop()
    _, goes = tree.groups[0]
    real, state = descriptors.rename, goes.stat()

    def rename(source, target):
        if source == str(goes):
            (tmp_path / "new").write_bytes(b"x" * state.st_size)
            os.utime(tmp_path / "new", ns=(state.st_atime_ns, state.st_mtime_ns))
            os.replace(tmp_path / "new", goes)
        real(source, target)

    with mock.patch.object(descriptors, "rename", rename):
        assert apply(tree, tmp_path, "delete")[str(goes)].startswith("failed another file")
    assert goes.read_bytes() == b"x" * state.st_size
    assert not list(goes.parent.glob(".clipcli-*"))


@pytest.mark.parametrize("when", ["before the step", "in it"])
@pytest.mark.parametrize("name", ACTIONS)
def test_a_keeper_that_goes_after_its_check_leaves_the_file(tree, tmp_path, name, when):
    tree.groups.pop()
    kept, goes = tree.groups[0]
    before, action = snapshot(goes.parent), type(action_for(name, tmp_path))
    real = action.act

    def act(self, step):
        real(self, step)
        kept.unlink()

    with written_meanwhile(kept.unlink) if when == "before the step" else mock.patch.object(action, "act", act):
        assert apply(tree, tmp_path, name)[str(goes)].startswith("failed ")
    assert snapshot(goes.parent) == before


@pytest.mark.parametrize("second", ACTIONS)
@pytest.mark.parametrize("first", ACTIONS)
def test_two_runs_that_keep_what_the_other_removes(tree, tmp_path, first, second):
    tree.groups.pop()
    bytes_before, action = tree.groups[0][0].read_bytes(), type(action_for(first, tmp_path))
    other, plan, real = Tree(tree.root, [tree.groups[0][::-1]]), tree.plan(), action.act
    other_plan = other.plan()

    def act(self, step):
        with mock.patch.object(action, "act", real), open_journal(tmp_path / "other") as opened:
            list(Applier(action_for(second, tmp_path), opened).run(other_plan))
        real(self, step)

    with own_trash(tmp_path / "home"), mock.patch.object(action, "act", act), open_journal(tmp_path / "j") as opened:
        list(Applier(action_for(first, tmp_path), opened).run(plan))
    assert bytes_before in [path.read_bytes() for path in tree.groups[0] if path.exists()]


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="starts two processes over files that are open")
def test_two_processes_that_keep_what_the_other_removes(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    tree = make_tree(root, [[0, 1]] * 40, same=True)
    code = "import sys; from clipcli.cli.app import main; sys.stdin.readline(); sys.exit(main())"
    runs = []
    for name, groups in (("p", tree.groups), ("q", [paths[::-1] for paths in tree.groups])):
        write_plan(tmp_path / name, Tree(root, groups))
        runs.append(
            subprocess.Popen(
                [sys.executable, "-c", code, "apply", tmp_path / name, "--action", "delete", "--yes", "-q"],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        )  # fmt: skip
    for one in runs:
        one.stdin.write(b"\n")
        one.stdin.flush()
    codes = [one.wait() for one in runs if one.communicate()]
    assert set(codes) <= {0, 3}
    for group, (kept, goes) in enumerate(tree.groups):
        assert (b"" if group == 2 else b"picture %d" % group) in [
            path.read_bytes() for path in (kept, goes) if path.exists()
        ]


def test_what_appears_at_the_target_is_not_touched(tree, tmp_path):
    kept, goes = tree.groups.pop()
    target = tmp_path / "away" / goes.relative_to(tree.root)
    target.parent.mkdir(parents=True)
    copy = kept.read_bytes()
    with written_meanwhile(lambda: target.write_bytes(copy)):
        tree.groups = [[kept, goes]]
        assert apply(tree, tmp_path, "move")[str(goes)] == f"failed file exists: {target}"
    take_back(tmp_path)
    assert target.read_bytes() == goes.read_bytes() == copy


def test_a_waiting_name_that_is_taken(tree, tmp_path):
    goes = tree.groups[0][1]
    aside = Path(journals_aside(goes))
    aside.write_bytes(b"precious")
    assert "already exists" in apply(tree, tmp_path, "delete")[str(goes)]
    assert aside.read_bytes() == b"precious"
    assert goes.exists()


def journals_aside(path: Path) -> str:
    from clipcli.plan.safe_move import quarantine_path

    return quarantine_path(str(path))


def test_one_disk_under_two_device_numbers(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"x")
    from dataclasses import replace

    here = look(str(tmp_path / "a"))
    assert replace(here, device=here.device + 1).is_same(here)
    assert not replace(look(str(tmp_path / "b")), device=here.device + 1).is_same(here)
    assert not look(str(tmp_path / "b")).is_same(here)


def test_a_protected_folder_has_many_names(tmp_path):
    (tmp_path / "safe" / "deep").mkdir(parents=True)
    (tmp_path / "safe" / "deep" / "a").touch()
    (tmp_path / "Alias").symlink_to(tmp_path / "safe")
    assert is_below(str(tmp_path / "safe" / "deep" / "a"), [str(tmp_path / "Alias")])
    assert is_below(str(tmp_path / "safe"), [str(tmp_path / "safe")])
    assert not is_below(str(tmp_path / "safer"), [str(tmp_path / "safe"), str(tmp_path / "missing")])


def test_a_folder_is_listed_once(tmp_path):
    places = FreeNames(str(tmp_path))
    with mock.patch.object(os, "listdir", wraps=os.listdir) as listed:
        names = {places.of(name)[0] for name in ("a.jpg", "A.jpg", "a.JPG", "b.jpg")}
    assert listed.call_count == 1
    assert sorted(os.path.basename(name) for name in names) == ["A (2).jpg", "a (3).JPG", "a.jpg", "b.jpg"]


@pytest.mark.parametrize("name", ACTIONS)
def test_a_disk_without_second_names(tree, tmp_path, name):
    before = snapshot(tree.root)
    with mock.patch.object(os, "link", side_effect=PermissionError(errno.EPERM, "Operation not permitted")):
        states = {state.split()[0] for state in apply(tree, tmp_path, name).values()}
        assert states == {"failed" if name == "hardlink" else "done"}
        take_back(tmp_path)
    assert snapshot(tree.root) == before


def test_a_source_that_changes_while_it_is_copied_to_another_disk(tree, tmp_path):
    tree.groups.pop()
    _, goes = tree.groups[0]
    real = descriptors.sync_folder

    def sync(path):
        real(path)
        stream.write(b"somebody's work")

    stream = goes.open("r+b", buffering=0)
    with stream, mock.patch.object(descriptors, "sync_folder", sync), Machine(two_disks=True).running():
        assert apply(tree, tmp_path, "move")[str(goes)].startswith("failed it was changed")
    assert goes.read_bytes() == b"somebody's work"
    assert not list((tmp_path).glob("away/**/*.jpg"))


def test_a_group_of_one_file_under_two_names_loses_none(tmp_path):
    (tmp_path / "tree").mkdir()
    one, two = tmp_path / "tree" / "a.jpg", tmp_path / "tree" / "b.jpg"
    one.write_bytes(b"x")
    os.link(one, two)
    rows = [row(path, tmp_path / "tree", one, 1, keep=path == one) for path in (one, two)]
    plan = Plan(tmp_path / "plan.jsonl", (PlanGroup(1, (rows[0],), (rows[1],)),))
    with open_journal(tmp_path / "journal") as opened:
        results = list(Applier(Delete(), opened).run(plan))
    assert [one.state for one in results] == ["skipped"]
    assert two.exists()


def test_a_run_that_was_killed_in_a_move_is_gone_on_with(tmp_path):
    for dies in range(6, 16):
        root = tmp_path / str(dies) / "tree"
        root.mkdir(parents=True)
        tree = make_tree(root, [[0, 0]], same=False)
        plan, journal = tree.plan(), root.parent / "journal"
        action = parse_action(f"move:{root.parent / 'away' / 'deeper'}")
        with suppress(Killed), Machine(dies).running(), open_journal(journal) as opened:
            list(Applier(action, opened).run(plan))
        with open_journal(journal) as opened:
            assert next(one.state for one in Applier(action, opened).run(plan)) in {"done", "already"}
        assert not tree.groups[0][1].exists()
