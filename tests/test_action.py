"""The Action's own steps and the hook, run for real on a scratch repository of fifty pictures, three of them wrong."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import scratch
from run import ROOT
from scratch import WRONG, Scratch

yaml = pytest.importorskip("yaml", reason="the reader of YAML is a developer's package")
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
PIP = "pip has been asked: "
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
"""How GitHub's runner calls it."""

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="the steps are for bash, which is not here")


@dataclass
class Runner:
    """As much of GitHub's runner as a composite action's `run:` steps notice; `uses:` steps are left out."""

    scratch: Scratch
    home: Path
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    log: str = ""

    def run(self, **inputs: str) -> int:
        """Every step until one fails; its exit code."""
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        self.inputs = {name: spec["default"] for name, spec in ACTION["inputs"].items()} | given
        self.outputs, self.log = {}, ""
        (self.home / "summary.md").write_text("", encoding="utf-8")
        for step in ACTION["runs"]["steps"]:
            if "run" in step and (code := self._step(step)):
                return code
        return 0

    @property
    def summary(self) -> str:
        return (self.home / "summary.md").read_text(encoding="utf-8")

    def _step(self, step: dict[str, Any]) -> int:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "an expression inside a script is a way in for whoever names a branch"
        output = self.home / f"output-{step.get('id', 'none')}"
        output.write_text("", encoding="utf-8")
        script = self.home / "step.sh"
        script.write_text(step["run"], encoding="utf-8")
        done = subprocess.run(
            [*BASH, str(script)], env=self._environment(step.get("env", {}), output), check=False, capture_output=True,
            cwd=self.scratch.root / self._filled(step.get("working-directory", ".")),
        )  # fmt: skip
        self.log += (done.stdout + done.stderr).decode("utf-8", "surrogateescape")
        lines = output.read_text(encoding="utf-8").splitlines()
        self.outputs[step.get("id", "none")] = dict(line.split("=", 1) for line in lines)
        return done.returncode

    def _environment(self, own: dict[str, str], output: Path) -> dict[str, str]:
        return {
            **os.environ, **{name: self._filled(str(value)) for name, value in own.items()},
            "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(output), "RUNNER_TEMP": str(self.home),
            "GITHUB_STEP_SUMMARY": str(self.home / "summary.md"), "GITHUB_WORKSPACE": str(self.scratch.root),
            "HOME": str(self.home), "PYTHONPATH": str(ROOT),
            "PATH": f"{self.home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }  # fmt: skip

    def _filled(self, text: str) -> str:
        known = {"github.action_path": str(ROOT), "runner.os": "Linux"}
        known |= {f"inputs.{name}": value for name, value in self.inputs.items()}
        known |= {f"steps.{step}.outputs.{key}": v for step, all_ in self.outputs.items() for key, v in all_.items()}
        return re.sub(r"\$\{\{ *([^}]+?) *\}\}", lambda match: known[match[1]], text)


@pytest.fixture
def shop(tmp_path: Path) -> Scratch:
    return scratch.make(tmp_path / "repo")


@pytest.fixture
def on_path(tmp_path: Path) -> Path:
    """`python` that is this one but for pip, which only says what it was asked; and `clipcli` from this checkout."""
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    start = f'#!/bin/sh\nif [ "$3" = pip ]; then echo "{PIP}$*"; exit 0; fi\n'
    _executable(home / "bin" / "python", f'{start}exec "{sys.executable}" "$@"\n')
    start = f'#!{sys.executable}\nimport sys\nsys.path.insert(1, "{ROOT}")\n'
    _executable(home / "bin" / "clipcli", f"{start}from clipcli.cli.app import main\nmain()\n")
    return home


def _executable(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


class TestAction:
    @pytest.mark.thorough
    def test_three_of_fifty_fail_by_name_and_pass_when_mended(self, shop: Scratch, on_path: Path):
        runner = Runner(shop, on_path)
        (shop.root / "numpy.py").write_text("raise SystemExit('a file of the repository, not the library')\n")
        assert runner.run(offline="true", report="junit.xml\nout.sarif\n") == 1, runner.log
        marked = re.findall(r"^::error file=([^,]*),title=clipcli%3A shop::", runner.log, re.MULTILINE)
        assert marked == sorted(WRONG)
        assert f"{PIP}-I -m pip install --disable-pip-version-check --quiet {ROOT}[torch]" in runner.log
        assert runner.outputs["check"] == {"exit-code": "1"}
        assert runner.summary.startswith("## clipcli: a check fails")
        assert all(f"| `{name}` |" in runner.summary for name in WRONG)
        assert (shop.root / "junit.xml").read_text(encoding="utf-8").count("<failure") == 3
        assert (shop.root / "out.sarif").is_file()
        self.assert_vectors_and_weights_lie_where_the_caches_look(runner)
        shop.mend()
        assert runner.run(offline="true") == 0, runner.log
        assert runner.outputs["check"] == {"exit-code": "0"}
        assert "every check holds" in runner.summary
        assert "::error" not in runner.log

    @pytest.mark.slow
    def test_inputs_reach_the_command_whatever_is_in_them(self, shop: Scratch, on_path: Path):
        runner = Runner(shop, on_path)
        shop.draw("shop/red/60.png", "green")
        assert runner.run(changed_since="HEAD", args="--only shop --verbose", working_directory="shop") == 1
        assert "::error file=shop/red/60.png," in runner.log
        assert runner.log.count("::error") == 1
        assert runner.run(changed_since="$(touch gone); `touch gone`") == 2
        assert "git knows no such commit" in runner.log
        assert not (shop.root / "gone").exists()
        assert runner.run(config="else where.toml") == 4
        assert "else where.toml: cannot be read" in runner.log

    def assert_vectors_and_weights_lie_where_the_caches_look(self, runner: Runner):
        root = Path(runner.outputs["places"]["root"])
        steps = {step["name"]: step for step in ACTION["runs"]["steps"]}
        pattern = runner._filled(steps["Restore vectors"]["with"]["path"])
        assert list(root.glob(str(Path(pattern).relative_to(root))))
        kept = runner._filled(steps["Restore weights"]["with"]["path"]).splitlines()
        assert kept == [
            str(root / name)
            for name in ("hub", *(f"clipcli/{part}" for part in ("bundles", "models", "origins", "stamps")))
        ]

    def test_what_is_restored_is_kept_also_when_a_picture_is_wrong(self):
        steps = {step["name"]: step for step in ACTION["runs"]["steps"]}
        for what in ("weights", "vectors"):
            restore, keep = steps[f"Restore {what}"], steps[f"Keep {what}"]
            assert restore["uses"].replace("restore", "save") == keep["uses"]
            assert keep["uses"].startswith("actions/cache/save@")
            assert restore["with"]["path"] == keep["with"]["path"]
            assert keep["with"]["key"] == f"${{{{ steps.{restore['id']}.outputs.cache-primary-key }}}}"
            assert keep["if"].startswith("always() && ")
            assert keep["if"].endswith("""contains(fromJSON('["0", "1"]'), steps.check.outputs.exit-code)""")
        assert list(steps).index("Check the pictures") < list(steps).index("Keep weights")

    @pytest.mark.thorough
    def test_the_file_is_one_that_github_takes(self):
        checker = pytest.importorskip(
            "check_jsonschema", reason="the schema of actions comes with a developer's package"
        )
        command = [sys.executable, "-m", checker.__name__, "--builtin-schema", "vendor.github-actions", "action.yml"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


class TestHook:
    @pytest.fixture
    def commit(self, shop: Scratch, on_path: Path, tmp_path: Path):
        """Run the hook through pre-commit on what is staged."""
        pytest.importorskip("pre_commit", reason="pre-commit is a developer's package")
        hooks = Scratch(tmp_path / "hooks")
        hooks.root.mkdir()
        shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks.root)
        hooks.git("init", "-q")
        # The file as it stands, but for the environment: a fresh one would fetch torch.
        config = {"repos": [{"repo": str(hooks.root), "rev": hooks.commit(), "hooks": [
            {"id": "clipcli-check", "language": "system"},
        ]}]}  # fmt: skip
        (shop.root / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        shop.git("add", "-A")
        environment = {
            **os.environ, "PATH": f"{on_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "HOME": str(on_path),
            "PRE_COMMIT_HOME": str(on_path / "pre-commit"), "GIT_CONFIG_GLOBAL": os.devnull,
        }  # fmt: skip

        def call(*arguments: str) -> tuple[int, str]:
            shop.git("add", "-A")
            done = subprocess.run(
                [sys.executable, "-m", "pre_commit", "run", "--verbose", *arguments],
                cwd=shop.root, env=environment, capture_output=True, check=False,
            )  # fmt: skip
            return done.returncode, done.stdout.decode() + done.stderr.decode()

        return call

    @pytest.mark.thorough
    def test_three_of_fifty_fail_by_name_and_pass_when_mended(self, shop: Scratch, commit):
        code, said = commit("--all-files")
        assert code == 1, said
        assert re.findall(r"clipcli: (\S+): expected", said) == sorted(WRONG)
        shop.mend()
        code, said = commit("--all-files")
        assert code == 0, said

    @pytest.mark.slow
    def test_only_what_is_staged(self, shop: Scratch, commit):
        shop.draw("shop/red/60.png", "red")
        code, said = commit()
        assert code == 0, said
        assert "clipcli-check" in said
        assert "expected" not in said
        shop.draw("shop/red/60.png", "blue")
        code, said = commit()
        assert code == 1
        assert "shop/red/60.png: expected red" in said
