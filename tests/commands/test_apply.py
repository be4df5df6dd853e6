"""`apply` and `undo` as users meet them: what is refused, what is skipped, and what comes back."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from unittest import mock

import pytest
from pictures import disc
from plan.trees import one_folder, own_trash, snapshot
from run import run


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three copies of one picture."""
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    disc("red").save(root / "a.png")
    for name in ("b.png", "sub/c.png"):
        (root / name).write_bytes((root / "a.png").read_bytes())
    for age, name in enumerate(("a.png", "b.png", "sub/c.png")):
        os.utime(root / name, ns=(10**18 + age, 10**18 + age))
    return root


@pytest.fixture
def plan(tree: Path, tmp_path: Path) -> Path:
    file = tmp_path / "plan.jsonl"
    assert run("dedupe", tree, "--level", "exact", "-o", file).code == 0
    return file


def change(file: Path, line: int, /, **fields: object) -> None:
    lines = file.read_text().splitlines()
    lines[line] = json.dumps({**json.loads(lines[line]), **fields})
    file.write_text("\n".join(lines) + "\n")


def states(result) -> dict[str, str]:
    return {os.path.basename(row["image"]): row["state"] for row in result.rows}


def apply(plan: Path, action: str, *more: str):
    return run("apply", plan, "--action", action, "--yes", "-f", "jsonl", *more)


def test_nothing_is_touched_without_yes(tree, plan):
    before = snapshot(tree.parent)
    result = run("apply", plan, "--action", "delete", "-f", "jsonl")
    assert states(result) == {"b.png": "planned", "c.png": "planned"}
    assert "nothing was touched" in result.stderr
    assert snapshot(tree.parent) == before


def doubles(number: str) -> float:
    """A number as a program reads it that has only doubles."""
    return float(number)


def digits(number: str) -> int:
    """A number as jq 1.6 and JavaScript write it: 17 significant digits, then zeros."""
    return int(format(float(number), ".17g").partition("e")[0].replace(".", "").ljust(len(number), "0"))


@pytest.mark.parametrize("read", [doubles, digits])
@pytest.mark.parametrize("action", ["trash", "move", "hardlink"])
def test_a_plan_may_be_edited_with_tools_that_have_only_doubles(tree, plan, read, action):
    before = snapshot(tree)
    rows = [json.loads(line, parse_int=read) for line in plan.read_text().splitlines()]
    assert any(int(row["mtime_ns"]) != (tree / row["path"]).stat().st_mtime_ns for row in rows)
    plan.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert states(apply(plan, action if action != "move" else f"move:{tree.parent / 'away'}")) == {
        "b.png": "done", "c.png": "done",
    }  # fmt: skip
    assert run("undo", f"{plan}.journal").code == 0
    assert snapshot(tree) == before


def test_files_are_not_renamed_in_their_own_folder(tree, plan):
    before = snapshot(tree)
    result = apply(plan, f"move:{tree}")
    assert states(result) == {"b.png": "failed", "c.png": "failed"}
    assert {row["reason"] for row in result.rows} == {f"it is in {tree} already"}
    assert snapshot(tree) == before


def test_a_keeper_on_the_web_protects_its_copies_and_says_why(tree, plan):
    before, url = snapshot(tree), "https://shop.example/a.png"
    change(plan, 0, image=url, path=url, keeper=url, root="")
    for line in (1, 2):
        change(plan, line, keeper=url)
    result = apply(plan, "delete")
    assert states(result) == {"b.png": "skipped", "c.png": "skipped"}
    assert {row["reason"] for row in result.rows} == {
        f"the file to keep, {url}, is not on this machine and is not checked again"
    }
    assert snapshot(tree) == before


def test_a_plan_as_an_array_of_several_lines_says_how_to_make_lines(plan):
    rows = [json.loads(line) for line in plan.read_text().splitlines()]
    for indent in (None, 2):
        plan.write_text(json.dumps(rows, indent=indent))
        result = run("apply", plan)
        assert result.code == 4
        assert "jq -c '.[]'" in result.stderr


@pytest.mark.parametrize("action", ["trash", "move", "hardlink", "symlink", "delete"])
def test_done_and_taken_back(tree, plan, tmp_path, action):
    before = snapshot(tree)
    with own_trash(tmp_path / "home"):
        result = apply(plan, f"move:{tmp_path / 'away'}" if action == "move" else action)
        assert (result.code, states(result)) == (0, {"b.png": "done", "c.png": "done"})
        assert snapshot(tree) != before
        undone = run("undo", f"{plan}.journal", "-f", "jsonl")
    assert (undone.code, states(undone)) == (0, {"b.png": "restored", "c.png": "restored"})
    assert snapshot(tree) == before
    assert run("undo", f"{plan}.journal").stderr.strip().endswith("nothing to undo")


def test_both_have_a_bar(tree, plan, bars):
    apply(plan, "delete")
    run("undo", f"{plan}.journal")
    assert bars == [["delete", 2, 2], ["undo", 2, 2]]


def test_applied_twice(tree, plan):
    assert apply(plan, "delete").code == 0
    again = apply(plan, "delete")
    assert (again.code, states(again)) == (0, {"b.png": "already", "c.png": "already"})


@pytest.mark.parametrize("what", ["gone", "longer", "other bytes", "touched", "replaced", "a link", "a folder's link"])
def test_a_file_that_changed_is_left_alone(tree, plan, what):
    file = tree / "sub" / "c.png"
    data, times = file.read_bytes(), (10**18 + 2, 10**18 + 2)
    if what == "gone":
        file.unlink()
    elif what == "longer":
        file.write_bytes(data + b"x")
    elif what == "other bytes":
        with file.open("r+b") as stream:
            stream.write(b"X")
        os.utime(file, ns=times)
    elif what == "touched":
        os.utime(file)
    elif what == "replaced":
        file.with_name("new").write_bytes(data)
        os.utime(file.with_name("new"), ns=times)
        file.with_name("new").replace(file)
    elif what == "a link":
        file.rename(tree / "elsewhere.png")
        file.symlink_to(tree / "elsewhere.png")
    else:
        (tree / "sub").rename(tree / "moved")
        (tree / "sub").symlink_to(tree / "moved", target_is_directory=True)
    before = snapshot(tree)
    result = apply(plan, "delete")
    assert (result.code, states(result)) == (3, {"b.png": "done", "c.png": "skipped"})
    before.pop("b.png")
    assert snapshot(tree) == before


def test_without_its_keeper_nothing_goes(tree, plan):
    (tree / "a.png").write_bytes(b"other")
    result = apply(plan, "delete")
    assert states(result) == {"b.png": "skipped", "c.png": "skipped"}
    assert "the file to keep" in result.stderr
    assert (tree / "b.png").exists()


def test_two_names_of_one_file(tree, plan):
    (tree / "b.png").unlink()
    os.link(tree / "a.png", tree / "b.png")
    state = (tree / "b.png").stat()
    change(plan, 1, inode=state.st_ino, mtime_ns=state.st_mtime_ns)
    result = apply(plan, "delete")
    assert states(result)["b.png"] == "skipped"
    assert "the same file" in result.stderr


@pytest.mark.parametrize(
    ("line", "fields", "message"),
    [
        (0, {"keep": False}, "keeps no file"),
        (1, {"path": "/etc/passwd"}, "outside"),
        (1, {"root": "/etc"}, "outside"),
        (1, {"path": "b.png"}, "absolute"),
        (0, {"root": "https://example.org/x"}, "absolute"),
        (1, {"path": "https://example.org/x.png"}, "absolute"),
        (1, {"keeper": "../a.png"}, "absolute"),
        (1, {"path": "/tree/\0.png"}, "absolute"),
        (1, {"plan": 2}, "version 2"),
        (1, {"plan": True}, "version True"),
        (1, {"sha256": "0"}, "sha256"),
        (1, {"bytes": "many"}, "bytes"),
        (1, {"keep": "no"}, "keep"),
        (1, {"level": "alike"}, "level"),
        (1, {"protected": True}, "protected"),
    ],
)
def test_a_plan_edited_into_nonsense_is_refused_whole(tree, plan, line, fields, message):
    change(plan, line, **fields)
    before = snapshot(tree)
    result = apply(plan, "delete")
    assert result.code == 4
    assert message in result.stderr
    assert snapshot(tree) == before


def test_a_keeper_that_another_group_removes(tree, plan):
    lines = plan.read_text().splitlines()
    kept = {**json.loads(lines[0]), "group": 2, "keep": False}
    other = {**json.loads(lines[2]), "group": 2, "keep": True}
    plan.write_text("\n".join([*lines[:2], json.dumps(other), json.dumps(kept)]))
    result = apply(plan, "delete")
    assert result.code == 4
    assert "kept in group 1" in result.stderr


@pytest.mark.parametrize("text", ["not json\n", "[1]\n", '{"group": 1}\n', "\x00\xff"])
def test_what_is_no_plan(tmp_path, text):
    (tmp_path / "p.jsonl").write_bytes(text.encode("latin-1"))
    assert run("apply", tmp_path / "p.jsonl").code == 4
    assert run("apply", tmp_path / "missing.jsonl").code == 4


@pytest.mark.parametrize("name", ["plan.jsonl", "plan.json"])
def test_an_empty_plan_is_nothing_to_do(tmp_path, name):
    disc("red").save(tmp_path / "a.png")
    assert run("dedupe", tmp_path, "--level", "exact", "-o", tmp_path / name).code == 0
    for more in ([], ["--yes"], ["--action", "delete", "--yes"]):
        result = run("apply", tmp_path / name, *more)
        assert (result.code, result.stdout) == (0, "")
        assert "nothing to do" in result.stderr


def test_a_plan_in_a_json_array(tree, tmp_path):
    before = snapshot(tree)
    assert run("dedupe", tree, "--level", "exact", "-o", tmp_path / "plan.json").code == 0
    assert states(apply(tmp_path / "plan.json", "delete")) == {"b.png": "done", "c.png": "done"}
    assert run("undo", tmp_path / "plan.json.journal").code == 0
    assert snapshot(tree) == before


class TestWhatCannotComeBack:
    @pytest.fixture
    def plan(self, tree: Path, tmp_path: Path) -> Path:
        """Of one file three are to go: of the same bytes, of the same pixels, and the same picture."""
        disc("red").save(tree / "b.png", compress_level=1)
        disc("red").resize((50, 50)).save(tree / "near.jpg")
        file = tmp_path / "plan.jsonl"
        made = run("dedupe", tree, "-m", "tiny", "--level", "near", "--keep", "in:" + str(tree / "sub"), "-o", file)
        assert made.code == 0, made.stderr
        return file

    def test_it_is_counted_apart(self, tree, plan):
        result = run("apply", plan, "--action", "delete", "-f", "jsonl")
        assert {os.path.basename(row["image"]): row["can_undo"] for row in result.rows} == {
            "a.png": True, "b.png": False, "near.jpg": False,
        }  # fmt: skip
        assert "1 can be brought back, 2 cannot" in result.stderr
        assert "add --yes --irreversible to do it" in result.stderr
        assert "3 can be brought back, 0 cannot" in run("apply", plan, "--action", "trash").stderr

    def test_what_is_no_copy_needs_one_more_word(self, tree, plan):
        before = snapshot(tree.parent)
        refused = apply(plan, "delete")
        assert refused.code == 2
        assert "1 file to be deleted is no exact copy of what is kept" in refused.stderr
        assert snapshot(tree.parent) == before
        done = apply(plan, "delete", "--irreversible")
        assert (done.code, set(states(done).values())) == (0, {"done"})
        assert "to take back 1 file: clipcli undo" in done.stderr
        assert states(run("undo", f"{plan}.journal", "-f", "jsonl")) == {
            "a.png": "restored", "b.png": "lost", "near.jpg": "lost",
        }  # fmt: skip

    def test_nothing_is_promised_where_nothing_can_be_kept(self, tree, plan):
        (tree / "a.png").unlink()
        done = apply(plan, "delete", "--irreversible")
        assert "0 can be brought back, 2 cannot" in done.stderr
        assert "undo" not in done.stderr

    def test_another_keeper_than_the_one_compared_with_makes_no_copy(self, tree, plan):
        """Somebody turns the plan around: the small picture stays, and the large one it was made of goes."""
        rows = [json.loads(line) for line in plan.read_text().splitlines()]
        turned = [{**row, "keep": row["image"].endswith("near.jpg")} for row in rows]
        plan.write_text("".join(json.dumps(row) + "\n" for row in turned))
        before = snapshot(tree)
        refused = apply(plan, "delete")
        assert refused.code == 2
        assert "3 files to be deleted are no exact copies" in refused.stderr
        assert snapshot(tree) == before

    def test_the_word_is_for_delete(self, plan):
        assert apply(plan, "trash", "--irreversible").code == 2


def test_a_plan_with_a_page_is_to_be_looked_at_first(tree, tmp_path):
    plan, page = tmp_path / "plan.jsonl", tmp_path / "page.html"
    assert run("dedupe", tree, "--level", "exact", "-o", plan, "--report", page).code == 0
    before = snapshot(tree)
    for more in ([], ["--yes"]):
        refused = run("apply", plan, *more)
        assert refused.code == 2
        assert f"{page} was written for that" in refused.stderr
        assert "clipcli apply plan-reviewed.jsonl; or add --unreviewed" in refused.stderr
    assert snapshot(tree) == before
    assert states(apply(plan, "delete", "--unreviewed")) == {"b.png": "done", "c.png": "done"}


def test_a_dry_run_may_be_asked_for(plan, tree):
    before = snapshot(tree.parent)
    assert "nothing was touched" in run("apply", plan, "--dry-run").stderr
    assert run("apply", plan, "--dry-run", "--yes").code == 2
    assert snapshot(tree.parent) == before


def test_names_that_differ_in_case_only_do_not_clash(tmp_path):
    root, away = tmp_path / "tree", tmp_path / "away"
    for folder in ("x", "X"):
        (root / folder).mkdir(parents=True)
    disc("red").save(root / "0.png")
    for name in ("x/Photo.png", "X/photo.png"):
        (root / name).write_bytes((root / "0.png").read_bytes())
    run("dedupe", root, "--level", "exact", "--keep", "shortest-path", "-o", tmp_path / "plan.jsonl")
    before = snapshot(root)
    assert apply(tmp_path / "plan.jsonl", f"move:{away}").code == 0
    moved = sorted(str(path.relative_to(away)) for path in away.rglob("*.png"))
    assert len(moved) == len({name.casefold() for name in moved}) == 2
    assert run("undo", tmp_path / "plan.jsonl.journal").code == 0
    assert snapshot(root) == before


def test_moving_to_another_file_system(tree, plan, tmp_path):
    before, real = snapshot(tree), os.replace

    def replace(source, target, **folders):
        if not one_folder(source, target, **folders):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(source, target, **folders)

    with mock.patch.object(os, "replace", replace):
        assert apply(plan, f"move:{tmp_path / 'away'}").code == 0
        assert (tmp_path / "away" / "sub" / "c.png").stat().st_mtime_ns == before["sub/c.png"][3]
        assert run("undo", f"{plan}.journal").code == 0
    assert snapshot(tree) == before
    assert not (tmp_path / "away").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_folder(tree, plan):
    (tree / "sub").chmod(0o555)
    result = apply(plan, "delete")
    (tree / "sub").chmod(0o755)
    assert (result.code, states(result)) == (3, {"b.png": "done", "c.png": "failed"})


def test_the_trash_takes_no_read_only_files(tree, plan):
    real = os.access
    with mock.patch.object(os, "access", lambda path, mode: mode != os.W_OK and real(path, mode)):
        result = apply(plan, "trash")
    assert (result.code, states(result)) == (3, {"b.png": "failed", "c.png": "failed"})
    assert "read-only files cannot be trashed" in result.stderr


def test_what_is_refused_in_the_folder_of_a_file_does_not_name_its_keeper(tree, plan):
    refused = PermissionError(errno.EACCES, "Permission denied", "keeper", None, str(tree / "sub" / "part"))
    with mock.patch.object(os, "link", side_effect=refused):
        result = apply(plan, "hardlink")
    assert "c.png: failed: permission denied\n" in result.stderr


def test_a_system_that_refuses(tree, plan, tmp_path):
    before = snapshot(tree)
    unlink = os.unlink

    def refuse(path, **options):
        if str(path).endswith(".png"):
            raise PermissionError(errno.EACCES, "Permission denied")
        unlink(path, **options)

    with mock.patch.object(os, "unlink", refuse):
        result = apply(plan, "delete")
    assert (result.code, states(result)) == (3, {"b.png": "failed", "c.png": "failed"})
    assert snapshot(tree) == before


def test_a_link_would_lose_other_bytes(tree, plan, tmp_path):
    change(plan, 1, sha256="0" * 64)
    result = apply(plan, "hardlink")
    assert "other bytes" in result.stderr
    assert states(result) == {"b.png": "skipped", "c.png": "done"}


def test_a_shared_copy_or_the_reason_why_not(tree, plan):
    before = snapshot(tree)
    result = apply(plan, "reflink")
    assert set(states(result).values()) in ({"done"}, {"failed"})
    assert snapshot(tree) == before


def test_what_cannot_come_back_is_said(tree, plan):
    apply(plan, "delete")
    (tree / "a.png").unlink()
    (tree / "b.png").write_bytes(b"something new")
    undone = run("undo", f"{plan}.journal", "-f", "jsonl")
    assert (undone.code, states(undone)) == (3, {"b.png": "lost", "c.png": "lost"})
    assert (tree / "b.png").read_bytes() == b"something new"


def test_protected_at_the_last_moment(tree, plan):
    result = apply(plan, "delete", "--protect", str(tree / "sub"))
    assert states(result) == {"b.png": "done", "c.png": "skipped"}


def test_bad_words():
    assert run("apply", "plan.jsonl", "--action", "burn").code == 2
    assert run("apply", "plan.jsonl", "--action", "move:").code == 2


def test_a_journal_that_is_none(tmp_path):
    (tmp_path / "j").write_text("nonsense\n")
    assert run("undo", tmp_path / "j").code == 4
    assert run("undo", tmp_path / "missing").code == 4


def test_every_test_has_a_trash_of_its_own(tree, plan, own_world):
    trash = own_world.with_name(f"{own_world.name}-data") / "Trash"
    assert not trash.exists()
    assert apply(plan, "trash").code == 0
    assert sorted(path.name for path in (trash / "files").iterdir()) == ["b.png", "c.png"]
