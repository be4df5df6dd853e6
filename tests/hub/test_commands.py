"""Models from the hub as a user meets them: first use, no network, pull, list, verify."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import hub_server
import pytest
from run import Result, assert_one_error, run, run_script

from clipcli.core.console import Console
from clipcli.models import records
from clipcli.models.model import Model
from clipcli.models.spec import TINY_FOLDER, Choice

REPO = "org/small"
MODEL = f"hf-hub:{REPO}"
WEIGHTS = "open_clip_model.safetensors"
LABELS = ("-l", "disc,square")

IN_PROCESS = """
import sys
from clipcli.cli import app
try:
    app(sys.argv[1:], prog_name="clipcli")
except SystemExit as stop:
    heavy = {"torch", "open_clip", "huggingface_hub", "onnxruntime"} & set(sys.modules)
    print("code", int(stop.code or 0), "loaded", sorted(heavy))
"""
NO_SOCKETS = """
import socket
def refuse(*arguments, **options):
    raise SystemExit(f"a socket was asked for: {arguments}")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
"""


def facts(result: Result) -> dict[str, object]:
    assert result.code == 0, result.stderr
    return {row["fact"]: row["value"] for row in result.rows}


def blob(cache: Path) -> Path:
    (link,) = cache.rglob(WEIGHTS)
    return link.resolve()


@pytest.mark.thorough
def test_the_first_run_fetches_and_the_second_needs_no_network(model_hub: hub_server.Hub, folder: Path):
    first = run("classify", "-m", MODEL, folder, *LABELS)
    assert first.code == 0, first.stderr
    assert first.stderr == ""
    assert [request.sent for request in model_hub.of(WEIGHTS)] == [len(model_hub.files[REPO][WEIGHTS])]

    model_hub.requests.clear()
    model_hub.status = 503
    again = run("classify", "-m", MODEL, folder, *LABELS)
    anew = run("classify", "-m", MODEL, folder, *LABELS, "--no-cache")
    assert again.stdout == anew.stdout == first.stdout
    assert model_hub.requests == []


@pytest.mark.slow
def test_offline_opens_no_socket(model_hub: hub_server.Hub, hub_cache: Path, folder: Path):
    """In a process of its own where any connection ends the run: with the model loaded, and from the cache."""
    online = run("classify", "-m", MODEL, folder, *LABELS)
    command = ("classify", "-m", MODEL, folder, *LABELS, "--offline")
    loaded = run_script(NO_SOCKETS + IN_PROCESS, *command, "--no-cache", **model_hub.environment())
    assert loaded.stdout == f"{online.stdout}code 0 loaded ['huggingface_hub', 'open_clip', 'torch']\n", loaded.stderr
    cached = run_script(NO_SOCKETS + IN_PROCESS, *command, **model_hub.environment())
    assert cached.stdout == f"{online.stdout}code 0 loaded []\n", cached.stderr


def test_offline_without_the_model(model_hub: hub_server.Hub, folder: Path):
    result = run("classify", "-m", MODEL, folder, *LABELS, "--offline")
    assert_one_error(
        result, "is not on this disk and cannot be downloaded offline", "clipcli models pull", "--model tiny"
    )
    assert model_hub.requests == []


@pytest.mark.parametrize(
    ("model", "status", "words"),
    [
        ("hf-hub:org/none", None, ("the hub has no repository org/none", "HF_TOKEN")),
        (f"{MODEL}@v9", None, (f"{REPO} has no revision v9", "check the part after @")),
        ("hf-hub:org/empty", None, ("org/empty has no open_clip_config.json", "hf-hub: takes OpenCLIP repositories")),
        ("hf-hub:org/bare", None, ("org/bare has no OpenCLIP weights",)),
        (MODEL, 429, ("HTTP 429", "try later, or set HF_TOKEN", "--model tiny")),
        (MODEL, 500, ("HTTP 500", "--model tiny")),
    ],
)
def test_failures_are_one_line_and_a_hint(
    model_hub: hub_server.Hub, folder: Path, model: str, status: int | None, words: tuple[str, ...]
):
    model_hub.files["org/empty"] = {}
    model_hub.files["org/bare"] = {"open_clip_config.json": b"{}"}
    model_hub.status = status
    assert_one_error(run("classify", "-m", model, folder, *LABELS), *words)


def test_no_network_at_all(model_hub: hub_server.Hub, folder: Path, monkeypatch: pytest.MonkeyPatch):
    hub_server.use("http://127.0.0.1:9", monkeypatch)
    result = run("classify", folder, *LABELS)
    assert_one_error(result, "cannot fetch", "no connection to the hub", "--model tiny, which needs no download")


@pytest.mark.thorough
def test_a_process_of_its_own_says_the_same_before_it_loads_torch(model_hub: hub_server.Hub, folder: Path):
    """What a user sees: nothing of the client's own logging, warnings or tracebacks."""
    environment = {**model_hub.environment(), "HF_ENDPOINT": "http://127.0.0.1:9"}
    result = run_script(IN_PROCESS, "classify", "-m", MODEL, str(folder), *LABELS, **environment)
    assert result.stdout == "code 5 loaded ['huggingface_hub']\n"
    assert len(result.stderr.splitlines()) == 2
    assert "no connection to the hub" in result.stderr


def test_wrong_bytes_then_right_ones(model_hub: hub_server.Hub, folder: Path):
    model_hub.wrong_bytes = True
    result = run("classify", "-m", MODEL, folder, *LABELS)
    assert_one_error(result, f"{WEIGHTS} is damaged: sha256", "it was deleted", "run the command again")
    model_hub.wrong_bytes = False
    assert run("classify", "-m", MODEL, folder, *LABELS).code == 0


def test_a_revision_is_pinned_and_recorded(model_hub: hub_server.Hub):
    other = "2" * 40
    model_hub.commits["v2"] = other
    for name in (f"{MODEL}@v2", MODEL, f"{MODEL}@{other}"):
        assert run("models", "pull", name, "--no-export").code == 0
    pinned = facts(run("models", "info", f"{MODEL}@v2", "-f", "jsonl"))
    assert pinned["model"] == f"{MODEL}@v2"
    assert pinned["revision"] == other
    assert facts(run("models", "info", MODEL, "-f", "jsonl"))["revision"] == hub_server.COMMIT
    model_hub.requests.clear()
    assert facts(run("models", "info", f"{MODEL}@{other}", "-f", "jsonl"))["revision"] == other
    assert facts(run("models", "info", f"{MODEL}@v2", "-f", "jsonl", "--offline")) == pinned


def test_config_and_weights_are_of_one_commit(model_hub: hub_server.Hub):
    """The branch moves on after the config was fetched."""
    from huggingface_hub import hf_hub_download

    hf_hub_download(REPO, "open_clip_config.json")
    model_hub.commits = {"main": "3" * 40, "old": hub_server.COMMIT}
    run("models", "pull", MODEL, "--no-export")
    assert facts(run("models", "info", MODEL, "-f", "jsonl"))["revision"] == hub_server.COMMIT


def test_another_tool_moving_the_branch_is_noticed(model_hub: hub_server.Hub, hub_cache: Path):
    from huggingface_hub import hf_hub_download

    run("models", "pull", MODEL, "--no-export")
    before = facts(run("models", "info", MODEL, "-f", "jsonl"))
    config = json.loads(model_hub.files[REPO]["open_clip_config.json"])
    config["preprocess_cfg"] = {"mean": [0.5, 0.5, 0.5]}
    model_hub.files[REPO]["open_clip_config.json"] = json.dumps(config).encode()
    model_hub.commits["main"] = "4" * 40
    hf_hub_download(REPO, "open_clip_config.json")
    run("models", "pull", MODEL, "--no-export")
    after = facts(run("models", "info", MODEL, "-f", "jsonl"))
    assert after["revision"] == "4" * 40
    assert after["fingerprint"] != before["fingerprint"]


def test_a_copy_of_an_older_commit_is_not_used_but_one_whose_weights_are_gone_is(
    model_hub: hub_server.Hub, hub_cache: Path
):
    from huggingface_hub import hf_hub_download

    run("models", "pull", MODEL, "--no-export")
    fingerprint = facts(run("models", "info", MODEL, "-f", "jsonl"))["fingerprint"]
    copy = records.bundle_folder(MODEL)
    shutil.copytree(TINY_FOLDER, copy)
    described = json.loads((copy / "manifest.json").read_text())
    described["info"] |= {"name": MODEL, "fingerprint": fingerprint}
    (copy / "manifest.json").write_text(json.dumps(described))
    assert Model(Choice(MODEL), Console()).bundle

    blob(hub_cache).unlink()
    assert Model(Choice(MODEL), Console()).bundle
    model_hub.commits["main"] = "5" * 40
    hf_hub_download(REPO, "open_clip_config.json")
    assert Model(Choice(MODEL), Console()).bundle is None


def test_cache_dir(model_hub: hub_server.Hub, hub_cache: Path, tmp_path: Path, folder: Path):
    mine = tmp_path / "mine"
    assert run("models", "pull", MODEL, "--no-export", "--weights-dir", mine).code == 0
    assert blob(mine).read_bytes() == model_hub.files[REPO][WEIGHTS]
    assert not hub_cache.exists()
    model_hub.requests.clear()
    result = run("classify", "-m", MODEL, folder, *LABELS, "--weights-dir", mine, "--no-cache")
    assert result.code == 0
    assert model_hub.requests == []


def test_info_fetches_no_weights(model_hub: hub_server.Hub):
    found = facts(run("models", "info", MODEL, "-f", "jsonl"))
    assert (found["dim"], found["scoring"], found["context"]) == (48, "softmax", "77 tokens")
    assert found["image"] == "32 × 32, shortest, bicubic"
    assert found["revision"] == hub_server.COMMIT
    assert found["fingerprint"] == f"unknown until the weights are here: clipcli models pull {MODEL}"
    assert model_hub.of(WEIGHTS) == []
    assert {request.file for request in model_hub.requests} == {"open_clip_config.json"}
    run("models", "pull", MODEL, "--no-export")
    known = facts(run("models", "info", MODEL, "-f", "jsonl"))
    assert len(str(known["fingerprint"])) == 12
    assert {key: known[key] for key in ("dim", "image", "mean", "std", "revision")} == {
        key: found[key] for key in ("dim", "image", "mean", "std", "revision")
    }


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({}, "KeyError"),
        ({"model_cfg": []}, "is not an OpenCLIP config"),
        ({"model_cfg": {"embed_dim": 8, "text_cfg": {}}, "preprocess_cfg": {"resize_mode": "torn"}}, "torn"),
    ],
)
def test_a_config_that_is_none(model_hub: hub_server.Hub, config: dict[str, object], reason: str):
    model_hub.files[REPO]["open_clip_config.json"] = json.dumps(config).encode()
    result = run("models", "info", MODEL)
    assert (result.code, result.stdout) == (5, "")
    assert reason in result.stderr


@pytest.mark.thorough
def test_pull_list_verify(model_hub: hub_server.Hub, hub_cache: Path):
    listed = ("models", "list", "--on-disk", "-f", "jsonl")
    assert [row["model"] for row in run(*listed).rows] == ["tiny"]
    nothing = run(*listed, "org/sm")
    assert (nothing.code, nothing.stdout) == (0, "")
    assert nothing.stderr == "clipcli: no model on this disk has 'org/sm' in its name or alias\n"
    missing = run("models", "verify", MODEL)
    assert_one_error(missing, "is not on this disk")
    assert model_hub.requests == []

    pulled = run("models", "pull", MODEL, "--no-export")
    assert pulled.code == 0
    assert pulled.stdout == ""
    assert f"{MODEL} is here (fingerprint " in pulled.stderr
    assert [row["model"] for row in run(*listed).rows] == ["tiny", MODEL]
    assert [row["model"] for row in run(*listed, "org/sm").rows] == [MODEL]

    found = facts(run("models", "verify", MODEL, "-f", "jsonl"))
    assert found["sha256"] == blob(hub_cache).name
    assert found["loads"] is True


@pytest.mark.thorough
@pytest.mark.parametrize("where", ["header", "tensors"])
def test_verify_names_a_damaged_file(model_hub: hub_server.Hub, hub_cache: Path, where: str):
    run("models", "pull", MODEL, "--no-export")
    path = blob(hub_cache)
    data = bytearray(path.read_bytes())
    data[8 if where == "header" else -1] ^= 1
    path.write_bytes(data)
    result = run("models", "verify", MODEL)
    assert_one_error(result, f"{WEIGHTS} is damaged: sha256", path.name[:12], "it was deleted")
    assert not path.exists()
    assert run("models", "pull", MODEL, "--no-export").code == 0
    assert run("models", "verify", MODEL).code == 0


def test_a_tag_comes_from_its_repository(model_hub: hub_server.Hub, hub_cache: Path, folder: Path, small_tag: str):
    result = run("classify", "-m", small_tag, folder, *LABELS)
    assert result.code == 0, result.stderr
    assert facts(run("models", "info", small_tag, "-f", "jsonl"))["revision"] == hub_server.COMMIT
    rows = {row["model"]: row for row in run("models", "list", "-f", "jsonl").rows}
    assert rows[small_tag]["on_disk"] is True
    assert MODEL not in rows
    model_hub.status = 503
    shutil.rmtree(hub_cache)
    assert_one_error(run("classify", "-m", small_tag, folder, *LABELS, "--no-cache"), "HTTP 503")
