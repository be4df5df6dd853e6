"""A Python that has what a plain `pip install clipcli` brings, and nothing else: other packages cannot be imported."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from run import ROOT, Result

_SCRIPT = """
import json, sys
for name in json.loads(sys.argv[1]):
    sys.modules[name] = None
from run import run
for arguments in json.loads(sys.argv[2]):
    done = run(*arguments)
    print(json.dumps([done.stdout, done.stderr, done.code]))
"""


def dependencies() -> list[str]:
    """What pyproject.toml says that a plain install needs."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = text.partition("\ndependencies = [")[2].partition("\n]")[0]
    return re.findall(r'^\s+"(.+)",$', listed, re.MULTILINE)


def closure(names: list[str]) -> set[str]:
    """The distributions that these requirements bring, themselves included, by normal name."""
    found: set[str] = set()
    waiting = [(Requirement(name), "") for name in names]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = _normal(requirement.name)
        for wanted in {"", *requirement.extras} if name not in found else requirement.extras:
            waiting += [(Requirement(line), wanted) for line in _requirements(name)]
        found.add(name)
    return found


def forbidden() -> list[str]:
    """Top-level modules of this environment that a plain install would not have."""
    allowed = closure(dependencies()) | {"clipcli"}
    homes = packages_distributions()
    return sorted(module for module, names in homes.items() if not {_normal(name) for name in names} & allowed)


def run_light(*commands: list[str], cwd: Path) -> list[Result]:
    """Run commands one after the other in one such Python."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, json.dumps(forbidden()), json.dumps(commands)],
        capture_output=True, text=True, check=False, cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers: list[Any] = [json.loads(line) for line in done.stdout.splitlines()]
    return [Result(*answer) for answer in answers]


def _requirements(name: str) -> list[str]:
    """What a distribution of this environment says that it needs; nothing where it is not here."""
    with suppress(PackageNotFoundError):
        return requires(name) or []
    return []


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
