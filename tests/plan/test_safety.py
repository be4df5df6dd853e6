"""Whatever the tree, the plan and the moment of death: the kept files are there, and undo gives the tree back."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan.trees import Killed, Machine, make_tree, own_trash, snapshot

from clipcli.plan.actions import parse_action
from clipcli.plan.apply import Applier, undo
from clipcli.plan.journal import open_journal

SHAPES = st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=4), min_size=1, max_size=3)
ACTIONS = st.sampled_from(["trash", "move", "move-inside", "hardlink", "symlink", "delete"])


def action_in(name: str, base: Path):
    place = {"move": base / "away" / "deeper", "move-inside": base / "tree" / "d0" / "moved"}.get(name)
    return parse_action(name if place is None else f"move:{place}")


def apply(action, plan, journal: Path, machine: Machine, **more) -> list:
    try:
        with machine.running(), open_journal(journal) as opened:
            return list(Applier(action, opened, **more).run(plan))
    except Killed:
        return []


def take_back(journal: Path, machine: Machine) -> list:
    try:
        with machine.running(), open_journal(journal) as opened:
            return list(undo(opened))
    except Killed:
        return []


@settings(max_examples=120)
@given(
    shape=SHAPES, name=ACTIONS, same=st.booleans(), dies=st.none() | st.integers(1, 60), after=st.booleans(),
    again=st.booleans(), disks=st.booleans(), undo_dies=st.none() | st.integers(1, 30),
)  # fmt: skip
@pytest.mark.slow
def test_a_killed_run_loses_nothing_that_can_be_kept(  # noqa: PLR0917 - hypothesis names them
    shape, name, same, dies, after, again, disks, undo_dies
):
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder).resolve()
        root = base / "tree"
        root.mkdir()
        tree = make_tree(root, shape, same=same)
        before, plan, action, journal = snapshot(root), tree.plan(), action_in(name, base), base / "journal"
        kept = {paths[0]: paths[0].read_bytes() for paths in tree.groups}
        with own_trash(base / "home"):
            apply(action, plan, journal, Machine(dies, after, disks))
            assert all(path.read_bytes() == data for path, data in kept.items())
            if again:
                apply(action, plan, journal, Machine(two_disks=disks))
                assert all(path.read_bytes() == data for path, data in kept.items())
                left = {path for paths in tree.groups for path in paths[1:] if os.path.lexists(path)}
                assert name in {"hardlink", "symlink"} or not left
            take_back(journal, Machine(undo_dies, after, disks))
            results = take_back(journal, Machine(two_disks=disks))
        assert all(path.read_bytes() == data for path, data in kept.items())
        if action.can_undo(same_bytes=same):
            assert snapshot(root) == before
            assert not (base / "away").exists()
            assert {one.state for one in results} <= {"restored", "untouched"}


@settings(max_examples=25)
@given(shape=SHAPES, name=ACTIONS, protected=st.integers(0, 2))
def test_protected_folders_stay_as_they_are(shape, name, protected):
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder).resolve()
        root = base / "tree"
        root.mkdir()
        tree = make_tree(root, shape, same=True)
        safe = root / f"d{protected}"
        safe.mkdir(exist_ok=True)
        before = snapshot(safe)
        target = parse_action(f"move:{base / 'away'}") if name.startswith("move") else parse_action(name)
        with own_trash(base / "home"):
            apply(target, tree.plan(), base / "journal", Machine(), protected=[str(safe)])
        assert snapshot(safe) == before


@settings(max_examples=25)
@given(shape=SHAPES, name=ACTIONS)
def test_a_second_apply_changes_nothing(shape, name):
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder).resolve()
        root = base / "tree"
        root.mkdir()
        tree = make_tree(root, shape, same=True)
        plan, action, journal = tree.plan(), action_in(name, base), base / "journal"
        with own_trash(base / "home"):
            first = apply(action, plan, journal, Machine())
            between = snapshot(root)
            second = apply(action, plan, journal, Machine())
        assert snapshot(root) == between
        assert {one.state for one in first} <= {"done"}
        assert {one.state for one in second} <= {"already"}


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(os, "kill"), reason="needs POSIX signals")
def test_a_real_kill_leaves_a_journal_to_go_on_from(tmp_path: Path):
    import json
    import signal
    import subprocess

    from run import ROOT

    root = tmp_path / "tree"
    root.mkdir()
    tree = make_tree(root, [[0, 1, 2, 0, 1, 2, 3]] * 8, same=True)
    before, plan = snapshot(root), tmp_path / "plan.jsonl"
    rows = [{"group": r.group, "image": r.image, "level": r.level, "keep": r.keep, **r.record()}
            for g in tree.plan().groups for r in (*g.kept, *g.removed)]  # fmt: skip
    plan.write_text("".join(json.dumps(record) + "\n" for record in rows))
    command = [
        os.sys.executable,
        "-m",
        "clipcli",
        "apply",
        plan,
        "--action",
        f"move:{tmp_path / 'away'}",
        "--yes",
        "-f",
        "jsonl",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    take_back(tmp_path / "plan.jsonl.journal", Machine())
    assert snapshot(root) == before
