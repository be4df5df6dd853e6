"""What changed since a commit, as git tells it."""

from __future__ import annotations

import os
import subprocess

from clipcli.errors import InputsError, UsageError


def canonical(path: str) -> str:
    """One name a file, whatever links its folder is reached by; a link itself keeps its name, as in git."""
    folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100 - any bytes
    return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118


def changed_since(ref: str, folder: str) -> frozenset[str]:
    """Files that differ from the point where this branch left `ref`, by canonical path; new ones too, deleted ones not.

    A renamed file counts under its new name, also when its content stayed: its folder may be what is expected of it.

    Raises:
        UsageError: no such commit.
        InputsError: git is missing, or the folder is in no repository.
    """
    where = folder or os.curdir
    top = _git(where, "rev-parse", "--show-toplevel")
    if top is None:
        raise InputsError(f"--changed-since: {where} is in no git repository", hint="run it inside of one")
    root = os.fsdecode(top.removesuffix(b"\n"))
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if commit is None:
        hint = "in CI the history may be cut: fetch it with actions/checkout's fetch-depth: 0, or git fetch origin"
        raise UsageError(f"--changed-since {ref}: git knows no such commit", hint=hint)
    sha = commit.decode().strip()
    # Without a common ancestor (a shallow clone) the commit itself is what there is to compare with.
    base = (_git(root, "merge-base", sha, "HEAD") or commit).decode().strip()
    listed = (
        _git(
            root,
            "diff",
            "--name-only",
            "--no-ext-diff",
            "--no-textconv",
            "--no-renames",
            "-z",
            "--diff-filter=d",
            base,
            "--",
        )
        or b""
    )
    fresh = _git(root, "ls-files", "-z", "--others", "--exclude-standard") or b""
    names = [name for name in (listed + fresh).split(b"\0") if name]
    return frozenset(canonical(os.path.join(root, os.fsdecode(name))) for name in names)  # noqa: PTH118


def _git(folder: str, *arguments: str) -> bytes | None:
    """What git prints, or None where it refuses. Raises InputsError when there is no git."""
    try:
        # What a repository's own config would have git run is not asked for.
        command = ["git", "-C", folder, "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", *arguments]
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        raise InputsError(f"git cannot be run: {error.strerror or error}", hint="install git") from error
    if done.returncode and b"dubious ownership" in done.stderr:
        raise InputsError(
            "git refuses this repository: it belongs to another user",
            hint="git config --global --add safe.directory DIR",
        )
    return None if done.returncode else done.stdout
