"""Small trees of files, plans over them, and a machine that dies at any system call."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from clipcli.plan.actions import parse_action
from clipcli.plan.apply import Applier, undo
from clipcli.plan.journal import open_journal
from clipcli.plan.plan_file import Plan, PlanGroup, PlanRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.plan.actions import Action
    from clipcli.plan.apply import Undone

CALLS = ("replace", "rename", "link", "symlink", "unlink", "mkdir", "rmdir", "open", "chmod", "utime", "fsync")


class Killed(BaseException):
    """The process is gone."""


def one_folder(source: str, target: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> bool:
    """Whether both names are in the same folder."""
    return os.path.samestat(
        os.stat(os.path.dirname(source) or ".", dir_fd=src_dir_fd),
        os.stat(os.path.dirname(target) or ".", dir_fd=dst_dir_fd),
    )


@dataclass
class Machine:
    """Counts system calls that change something, and dies at one of them: before it, or after it."""

    dies_at: int | None = None
    after: bool = False
    two_disks: bool = False
    """Nothing can be renamed from one folder to another, as between file systems."""
    calls: int = 0

    def wrap(self, name: str, real: Any) -> Any:
        def call(*arguments: Any, **given: Any) -> Any:
            if name == "open" and not arguments[1] & (os.O_CREAT | os.O_WRONLY):
                return real(*arguments, **given)
            self.calls += 1
            dies = self.dies_at == self.calls
            if self.two_disks and name == "replace" and not one_folder(*arguments, **given):
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            if dies and not self.after:
                raise Killed
            result = None if name == "fsync" else real(*arguments, **given)
            if dies:
                raise Killed
            return result

        return call

    @contextmanager
    def running(self) -> Iterator[None]:
        with mock.patch.multiple(os, **{name: self.wrap(name, getattr(os, name)) for name in CALLS}):
            yield


@contextmanager
def own_trash(home: Path) -> Iterator[None]:
    """A trash of the test's own, on the file system of the test."""
    import send2trash.plat_other as trash

    data = os.fsencode(home)
    with (
        mock.patch.dict(os.environ, {"XDG_DATA_HOME": str(home)}),
        mock.patch.object(trash, "XDG_DATA_HOME", data),
        mock.patch.object(trash, "HOMETRASH_B", data + b"/Trash"),
        mock.patch.object(trash, "get_dev", return_value=1),
        mock.patch.object(sys.modules["send2trash"], "send2trash", trash.send2trash),
    ):
        yield


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    """Every path below a root with all that can be seen of it."""
    seen: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        state = path.lstat()
        name = str(path.relative_to(root))
        if path.is_symlink():
            seen[name] = ("link", os.readlink(path))
        elif path.is_dir():
            seen[name] = ("folder",)
        else:
            seen[name] = ("file", path.read_bytes(), state.st_mode, state.st_mtime_ns)
    return seen


def row(path: Path, root: Path, keeper: Path, group: int, *, keep: bool, **more: Any) -> PlanRow:
    """The row of a file as it is now."""
    state = path.lstat()
    return PlanRow(
        group, str(path), "exact", keep, str(path), str(root), str(keeper), state.st_size, state.st_mtime_ns,
        state.st_dev, state.st_ino, hashlib.sha256(path.read_bytes()).hexdigest(), **more,
    )  # fmt: skip


@dataclass
class Tree:
    """Files by group; the first of each group is kept."""

    root: Path
    groups: list[list[Path]] = field(default_factory=list)

    def plan(self) -> Plan:
        groups = []
        for number, (keeper, *others) in enumerate(self.groups, 1):
            kept = row(keeper, self.root, keeper, number, keep=True)
            removed = tuple(row(path, self.root, keeper, number, keep=False) for path in others)
            groups.append(PlanGroup(number, (kept,), removed))
        return Plan(self.root / "plan.jsonl", tuple(groups))


def make_tree(root: Path, shape: list[list[int]], *, same: bool) -> Tree:
    """A group for each inner list, a file for each number in it, spread over three folders."""
    tree = Tree(root)
    names = ("a.jpg", "B.jpg", "b.jpg", "ü.png", "two words.gif", "-n.jpg", "percent%20.png", "l" * 230)
    for group, files in enumerate(shape):
        paths = []
        for place, kind in enumerate(files):
            folder = root / f"d{kind % 3}"
            folder.mkdir(exist_ok=True)
            path = folder / f"{group}{place}{names[kind % len(names)]}"
            data = b"" if group == 2 else b"picture %d" % group  # one group of empty files
            path.write_bytes(data + (b"" if same or not place else b" copy %d" % place))
            path.chmod((0o644, 0o600, 0o755)[kind % 3])
            os.utime(path, ns=(10**18 + kind * 10**9 + 123, 10**18 + kind * 10**9 + 456))
            paths.append(path)
        tree.groups.append(paths)
    return tree


def write_plan(file: Path, tree: Tree) -> None:
    rows = [
        {**one.record(), "group": one.group, "image": one.image, "level": one.level, "keep": one.keep}
        for group in tree.plan().groups
        for one in (*group.kept, *group.removed)
    ]
    file.write_text("".join(json.dumps(record) + "\n" for record in rows))


def action_for(name: str, base: Path) -> Action:
    """An action by name; what is moved goes to `away`."""
    return parse_action(f"move:{base / 'away'}" if name == "move" else name)


def apply(tree: Tree, base: Path, name: str) -> dict[str, str]:
    """Return state and reason of each file that is to go."""
    with own_trash(base / "home"), open_journal(base / "journal") as opened:
        results = Applier(action_for(name, base), opened).run(tree.plan())
        return {one.row.path: f"{one.state} {one.reason}" for one in results}


def take_back(base: Path) -> list[Undone]:
    """Undo what `apply` did."""
    with own_trash(base / "home"), open_journal(base / "journal") as opened:
        return list(undo(opened))
