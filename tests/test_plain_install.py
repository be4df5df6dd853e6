"""The wheel as a stranger gets it, in an environment of its own: its size, and the first pages' commands in it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path

import docs_blocks
import pytest
from run import ROOT

pytestmark = pytest.mark.slow
_MOST_MB = 400


@dataclass(frozen=True)
class Plain:
    """A virtual environment with nothing but the wheel and what it needs."""

    folder: Path
    seconds: float

    @property
    def programs(self) -> Path:
        return self.folder / ("Scripts" if os.name == "nt" else "bin")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    """`WHEEL` names a wheel that was built already, `PLAIN_VENV` where the environment is to stay."""
    folder = Path(os.environ.get("PLAIN_VENV") or tmp_path_factory.mktemp("plain") / "venv")
    wheel = os.environ.get("WHEEL")
    if not wheel:
        dist = tmp_path_factory.mktemp("dist")
        subprocess.run([sys.executable, "-m", "build", "--quiet", "--wheel", "--outdir", dist, ROOT], check=True)
        wheel = str(next(dist.glob("*.whl")))
    started = time.monotonic()
    venv.create(folder, with_pip=True)
    made = Plain(folder, 0.0)
    pip = [made.programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel]
    subprocess.run(pip, check=True)
    return Plain(folder, time.monotonic() - started)


def test_it_is_small(plain: Plain, capsys: pytest.CaptureFixture[str]):
    files = [path.lstat() for path in plain.folder.rglob("*") if not path.is_symlink()]
    size = sum(getattr(file, "st_blocks", file.st_size / 512) * 512 for file in files) / 1e6
    with capsys.disabled():
        print(f"\na plain install: {plain.seconds:.0f} seconds, {size:.0f} MB on disk")  # noqa: T201 - a figure to read
    assert size <= _MOST_MB
    done = subprocess.run(
        [plain.programs / "python", "-c", "import clipcli, sys, importlib.util as u; print(u.find_spec('torch'))"],
        capture_output=True, text=True, check=True, cwd=plain.folder,
    )  # fmt: skip
    assert done.stdout == "None\n"


@pytest.mark.parametrize("page", ["README.md", "docs/tour.md", "docs/cookbook.md"])
def test_the_commands_of_a_page_run_in_it(page: str, plain: Plain, tmp_path: Path):
    docs_blocks.make_world(tmp_path)
    environment = {
        "PATH": f"{plain.programs}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "CLIPCLI_CACHE_DIR": str(tmp_path / "cache"),
        "HF_HOME": str(tmp_path / "hub"),
    }
    wrong, count = [], 0
    for block in docs_blocks.blocks(ROOT / page):
        if block.language not in docs_blocks.SHELL or block.mark == "not run":
            continue
        for command in docs_blocks.commands(block):
            done = subprocess.run(
                ["bash", "-c", f"set -eo pipefail\n{command.line}"],
                capture_output=True, text=True, check=False, cwd=tmp_path, env=environment,
            )  # fmt: skip
            count += 1
            fault = _fault(block, command, done)
            if fault:
                wrong.append(f"{block.where}: {command.line}\n{fault}\n{done.stdout[-500:]}{done.stderr[-1500:]}")
    assert count > 10
    assert not wrong, "\n\n".join(wrong)


def _fault(
    block: docs_blocks.Block, command: docs_blocks.Command, done: subprocess.CompletedProcess[str]
) -> str | None:
    """Say what a command did wrong; where its page says that it needs an extra, it has to ask for that one."""
    if block.extra and command.line.startswith("clipcli "):
        asks = done.returncode and f"[{block.extra}]" in done.stderr
        return None if asks else f"does not ask for clipcli[{block.extra}], which the page says that it needs"
    if done.returncode not in docs_blocks.allowed_codes(command.line):
        return f"ends in {done.returncode}"
    if command.output is not None and done.stdout.splitlines() != list(command.output):
        return "prints something else than the page says"
    return None
