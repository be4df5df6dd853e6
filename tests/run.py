"""Run the command line as a user does, in this process or in one of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Result:
    """What a run left behind."""

    stdout: str
    stderr: str
    code: int

    @property
    def rows(self) -> list[Any]:
        """Stdout as JSON lines."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()


def assert_one_error(result: Result, *words: str, code: int = 5) -> None:
    """One line that says what is wrong, one that says what to do, no output, no traceback."""
    assert result.code == code, result.stderr
    assert result.stdout == ""
    error, hint = result.stderr.splitlines()
    assert error.startswith("clipcli: error: ")
    assert hint.startswith("clipcli:   ")
    for word in words:
        assert word in result.stderr


class _Stream(io.TextIOWrapper):
    """A text stream over bytes in memory, with the file descriptor of nothing."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8", errors="backslashreplace", write_through=True)

    @property
    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode("utf-8", "surrogateescape")


def run(*arguments: str | Path, stdin: bytes = b"") -> Result:
    """In this process: fast, and models stay imported."""
    from clipcli.cli.app import app

    before = sys.stdin, sys.stdout, sys.stderr
    out, err = _Stream(), _Stream()
    sys.stdin, sys.stdout, sys.stderr = _Stream(stdin), out, err
    try:
        app([str(argument) for argument in arguments], prog_name="clipcli")
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
    return Result(out.text, err.text, int(code))


def run_process(*arguments: str | Path, stdin: bytes = b"", cwd: Path | None = None, **environment: str) -> Result:
    """In a process of its own: what imports, signals and exit codes are really like."""
    return _process(command(*arguments), stdin, cwd, environment)


def run_script(script: str, *arguments: str | Path, **environment: str) -> Result:
    """Lines of Python in a process of their own, with clipcli importable and the arguments in `sys.argv`."""
    return _process([sys.executable, "-c", script, *map(str, arguments)], b"", None, environment)


def _process(argv: list[str], stdin: bytes, cwd: Path | None, environment: dict[str, str]) -> Result:
    done = subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False,
        timeout=120,
    )
    return Result(
        done.stdout.decode("utf-8", "surrogateescape"), done.stderr.decode("utf-8", "replace"), done.returncode
    )


def command(*arguments: str | Path) -> list[str]:
    """The argument list of a process that runs clipcli from this checkout."""
    return [sys.executable, "-m", "clipcli", *map(str, arguments)]
