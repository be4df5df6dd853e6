"""Completion in the shells that Typer knows: the lazy list of commands answers it, and nothing heavy is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "open_clip", "numpy", "PIL", "onnxruntime", "huggingface_hub"}
SCRIPT = f"""
import atexit, sys
sys.argv = ["clipcli"]
from clipcli.cli import main
atexit.register(lambda: sys.stderr.write(" ".join(sorted({HEAVY!r} & set(sys.modules)))))
main()
"""


def completed(shell: str, words: str, folder: Path) -> str:
    """What the shell is told for these words, the last of which is being typed."""
    given = {"_CLIPCLI_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": words, "COMP_WORDS": words}
    given |= {"COMP_CWORD": str(words.count(" ")), "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=folder, env=os.environ | given, capture_output=True, text=True, check=False
    )
    assert done.stderr == "", "heavy, or a traceback"
    return done.stdout


@pytest.mark.thorough
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("clipcli cal", ["calibrate"]),
        ("clipcli models ", ["bench", "export", "info", "list", "pull", "verify"]),
        ("clipcli check --ch", ["--changed-since"]),
        ("clipcli classify --expect", ["--expect", "--expect-from"]),
    ],
)
def test_commands_verbs_and_options(shell: str, words: str, expected: list[str], tmp_path: Path):
    (tmp_path / "clipcli.toml").write_text("broken", encoding="utf-8")
    told = completed(shell, words, tmp_path)
    assert all(name in told for name in expected)
    if shell == "bash":
        assert sorted(told.split()) == expected
