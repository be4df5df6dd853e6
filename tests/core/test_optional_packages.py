"""The command that adds a package is that of the installer which made the installation."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from clipcli.core import optional_packages
from clipcli.core.optional_packages import install_command, installer, require_packages, require_torch, torch_hint
from clipcli.errors import PackageMissingError, TorchMissingError, UsageError


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An environment with a Python, made by nobody yet, of a clipcli that came from an index."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("python", "pip"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setenv("PATH", str(programs))
    came_from(monkeypatch, None)
    monkeypatch.setattr(optional_packages, "_present", lambda _extra: [])
    installer.cache_clear()
    yield tmp_path
    installer.cache_clear()


def came_from(monkeypatch: pytest.MonkeyPatch, origin: object) -> None:
    text = None if origin is None else json.dumps(origin)
    monkeypatch.setattr("importlib.metadata.distribution", lambda _name: SimpleNamespace(read_text=lambda _file: text))


def test_pip_of_an_active_environment(environment: Path):
    assert install_command("parquet") == "pip install 'clipcli[parquet]'"
    assert install_command("torch", cpu_only=True) == (
        "pip install 'clipcli[torch]' --extra-index-url https://download.pytorch.org/whl/cpu"
    )


def test_pip_of_an_environment_that_is_not_active(environment: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert install_command("parquet") == f"{environment}/bin/python -m pip install 'clipcli[parquet]'"
    monkeypatch.chdir(environment)
    assert install_command("parquet") == "bin/python -m pip install 'clipcli[parquet]'"


@pytest.mark.parametrize(
    ("mark", "plain", "cpu_only"),
    [
        ("pipx_metadata.json", "pipx install --force 'clipcli[heic]'", "--pip-args='--extra-index-url https:"),
        ("uv-receipt.toml", "uv tool install 'clipcli[heic]'", "'clipcli[torch]' --torch-backend cpu"),
    ],
)
def test_tools_of_their_own(environment: Path, mark: str, plain: str, cpu_only: str):
    (environment / mark).touch()
    assert install_command("heic") == plain
    assert cpu_only in install_command("torch", cpu_only=True)
    shlex.split(install_command("torch", cpu_only=True))


def test_a_tool_that_is_made_anew_keeps_what_it_had(environment: Path, monkeypatch: pytest.MonkeyPatch):
    (environment / "pipx_metadata.json").touch()
    monkeypatch.setattr(optional_packages, "_present", lambda _extra: ["parquet", "heic"])
    assert install_command("torch") == "pipx install --force 'clipcli[heic,parquet,torch]'"


def test_an_environment_without_pip(environment: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(optional_packages, "find_spec", lambda _name: None)
    assert install_command("heic") == "uv pip install 'clipcli[heic]'"
    monkeypatch.setenv("PATH", "/nowhere")
    installer.cache_clear()
    assert install_command("heic") == f"uv pip install --python {environment}/bin/python 'clipcli[heic]'"


def test_what_the_installation_was_made_from(environment: Path, monkeypatch: pytest.MonkeyPatch):
    folder = environment / "a clone"
    folder.mkdir()
    url = folder.as_uri()
    came_from(monkeypatch, {"url": url, "dir_info": {}})
    assert install_command("raw") == f"pip install '{folder}[raw]'"
    came_from(monkeypatch, {"url": url, "dir_info": {"editable": True}})
    assert install_command("raw") == f"pip install -e '{folder}[raw]'"
    came_from(monkeypatch, {"url": "https://example.org/c.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}})
    assert install_command("raw") == "pip install 'clipcli[raw] @ git+https://example.org/c.git@abc'"


@pytest.mark.parametrize("origin", [{"url": "file:///gone"}, {"url": 3}, [], {"vcs_info": {}}, "text"])
def test_an_origin_that_says_nothing(environment: Path, monkeypatch: pytest.MonkeyPatch, origin: object):
    came_from(monkeypatch, origin)
    assert install_command("raw") == "pip install 'clipcli[raw]'"


def test_what_is_missing_is_named(environment: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PackageMissingError, match=r"^Parquet needs the package pyarrow$") as caught:
        require_packages("parquet", "Parquet")
    assert caught.value.hint == "pip install 'clipcli[parquet]'"
    with pytest.raises(UsageError):
        require_packages("parquet", "Parquet", UsageError)
    monkeypatch.delitem(sys.modules, "pyarrow")


def test_torch_is_missed_with_both_builds(environment: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(
        TorchMissingError, match=r"^ViT-B-32/openai runs through torch, which is not installed$"
    ) as caught:
        require_torch("ViT-B-32/openai")
    with_cuda, without, instead = str(caught.value.hint).splitlines()
    assert with_cuda.startswith("pip install 'clipcli[torch]'   # ")
    assert "/whl/cpu   # " in without
    assert "--model tiny" in instead
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "/whl/cpu" not in torch_hint()


def test_torch_alone_does_not_suffice(environment: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(TorchMissingError, match="needs timm beside torch"):
        require_torch("ViT-B-32/openai")
