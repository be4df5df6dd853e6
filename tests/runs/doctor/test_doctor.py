"""`doctor`: what it says, what it hides, and that it notices a model that answers wrongly."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from run import ROOT, run

from clipcli import __version__
from clipcli.errors import BundleError
from clipcli.models import spec
from clipcli.runs.doctor import run as doctor

built = pytest.mark.skipif(not (spec.TINY_FOLDER / spec.MANIFEST).is_file(), reason="the embedded model is not built")


@pytest.fixture
def no_tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spec, "TINY_FOLDER", tmp_path / "no-model")


@pytest.fixture
def some_tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A model that seems to be there; what it answers is up to the test."""
    (tmp_path / "manifest.json").touch()
    monkeypatch.setattr(spec, "TINY_FOLDER", tmp_path)


def findings(*arguments: str):
    result = run("doctor", "--format", "jsonl", *arguments)
    return result, {(row["area"], row["name"]): row for row in result.rows}


def test_everything_a_bug_report_needs_is_there(no_tiny):
    result, found = findings()
    assert result.code == 0
    assert result.stderr == ""
    assert found["version", "clipcli"]["value"] == __version__
    for name in ("python", "torch", "open_clip_torch", "onnxruntime", "pillow", "huggingface_hub"):
        assert found["version", name]["value"][0].isdigit()
    for name in ("auto", "cuda", "mps", "cpu"):
        assert found["device", name]["value"]
    assert found["test", "tiny"] == {
        "area": "test", "name": "tiny", "ok": None,
        "value": "skipped: the embedded model is not part of this installation",
    }  # fmt: skip
    assert found["network", "probed"]["value"].startswith("no")


def test_secrets_are_never_shown(no_tiny, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:password@proxy")
    monkeypatch.setenv("CLIPCLI_DEVICE", "cpu")
    result, found = findings()
    assert found["environment", "HF_TOKEN"]["value"] == "set, not shown"
    assert found["environment", "CLIPCLI_DEVICE"]["value"] == "cpu"
    assert "hf_very_secret" not in result.stdout + result.stderr
    assert "password" not in result.stdout + result.stderr


def test_every_package_that_is_needed_is_looked_for(no_tiny, monkeypatch):
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split(r"[<>=!; ]", line)[0].replace("_", "-") for line in project["dependencies"]} - {"tomli"}
    assert {name.replace("_", "-") for name in doctor._LISTED_PACKAGES + doctor._NEEDED_PACKAGES} == needed
    monkeypatch.setattr(doctor, "_NEEDED_PACKAGES", ("no-such-package",))
    result, found = findings()
    assert found["version", "no-such-package"]["ok"] is False
    assert result.code == 5
    assert "problem: version no-such-package: not installed" in result.stderr


class TestConfigFile:
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path, monkeypatch, no_tiny):
        monkeypatch.chdir(tmp_path)

    def test_none(self):
        assert findings()[1]["config", "file"]["value"].startswith("none: no clipcli.toml")

    def test_what_it_sets(self):
        text = 'model = "tiny"\nprompts = ["plain", "photo"]\n[checks.a]\ninclude = "a"\nduplicates = "exact"\n'
        Path("clipcli.toml").write_text(text, encoding="utf-8")
        _, found = findings()
        told = {name: row["value"] for (area, name), row in found.items() if area == "config"}
        assert told == {"file": "clipcli.toml", "model": "tiny", "prompts": "plain, photo", "checks": "a"}

    def test_a_broken_one_is_a_fault_and_not_the_end(self):
        Path("clipcli.toml").write_text('modle = "tiny"\n', encoding="utf-8")
        result, found = findings()
        assert found["config", "file"]["ok"] is False
        assert "config file: clipcli.toml:1: unknown key 'modle'" in result.stderr
        assert found["version", "clipcli"]["value"] == __version__
        assert result.code == 5


def test_rows_without_files_have_no_paths(no_tiny):
    for command in (("doctor",), ("models", "list"), ("models", "info", "tiny"), ("cache", "info")):
        assert run(*command, "--paths").code == 2


def test_a_table_and_text_formats(no_tiny, tmp_path):
    assert run("doctor").lines[0].split("\t")[:3] == ["version", "clipcli", __version__]
    assert "area" in run("doctor", "--format", "table").lines[0]
    target = tmp_path / "doctor.json"
    assert run("doctor", "-o", target).stdout == ""
    assert json.loads(target.read_text(encoding="utf-8"))[0]["name"] == "clipcli"


def test_caches_are_named_with_their_sizes(no_tiny, own_world):
    (own_world / "bundles" / "x").mkdir(parents=True)
    (own_world / "bundles" / "x" / "image.onnx.data").write_bytes(bytes(2_500_000))
    _, found = findings()
    assert found["cache", "clipcli"]["value"] == f"{own_world}, 2.5 MB"
    assert found["cache", "clipcli bundles"]["value"] == "2.5 MB"
    assert found["cache", "clipcli"]["ok"] is True


def test_a_cache_that_cannot_be_written_is_a_fault(no_tiny, tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("CLIPCLI_CACHE_DIR", str(file / "below"))
    result, found = findings()
    assert found["cache", "clipcli"]["ok"] is False
    assert result.code == 5


def test_a_wrong_answer_is_a_fault(some_tiny, monkeypatch):
    good = doctor.ModelAnswer("abc", np.eye(3, 8, dtype=np.float32))
    monkeypatch.setattr(doctor, "compute_answer", lambda: good)
    monkeypatch.setattr(doctor, "read_answer", lambda: doctor.ModelAnswer("abc", np.eye(3, 8, dtype=np.float32)))
    assert next(doctor.embedded_model()).ok is True
    monkeypatch.setattr(doctor, "read_answer", lambda: doctor.ModelAnswer("abc", np.roll(good.vectors, 1, axis=1)))
    wrong = next(doctor.embedded_model())
    assert wrong.ok is False
    assert wrong.value.startswith("failed: not its known answer, cosine 0.0")
    monkeypatch.setattr(doctor, "read_answer", lambda: doctor.ModelAnswer("abd", good.vectors))
    assert next(doctor.embedded_model()).value == "failed: the model is abc, but the stored answer is for abd"


def test_a_model_that_does_not_run_is_a_fault_with_a_reason(some_tiny, monkeypatch):
    def broken():
        raise BundleError("image.onnx: damaged")

    monkeypatch.setattr(doctor, "compute_answer", broken)
    result, found = findings()
    assert result.code == 5
    assert found["test", "tiny"]["value"] == "failed: image.onnx: damaged"
    assert found["test", "tiny"]["ok"] is False


@built
def test_the_embedded_model_gives_its_known_answer():
    """Fails after another model was embedded: clipcli.runs.doctor.run.keep_answer() writes the new one."""
    assert next(doctor.embedded_model()).ok is True, next(doctor.embedded_model()).value


def test_the_cpu_is_told_from_cpuinfo(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor : 0\nmodel name\t: Fast CPU 9\nflags\t\t: fpu avx2 amx_bf16\n")
    assert doctor._cpu(file) == "Fast CPU 9; avx2 amx_bf16; computes in bf16"
    file.write_text("processor : 0\nFeatures\t: fp asimd\n")
    assert doctor._cpu(file).endswith("; asimd; no bf16")
    assert doctor._cpu(tmp_path / "missing")


def test_sizes_do_not_follow_links(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(bytes(1000))
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert 1000 <= doctor.size_of(tmp_path) < 2000


@pytest.mark.thorough
def test_torch_is_not_imported_to_ask():
    script = """
import sys
from clipcli.models import spec
from pathlib import Path
spec.TINY_FOLDER = Path("nowhere")
from clipcli.runs.doctor import examine
list(examine())
print(sorted({"torch", "open_clip", "onnxruntime", "transformers"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
