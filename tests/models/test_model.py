"""Models by every kind of name: described without loading, loaded when needed, never the wrong one."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import small_models
from run import Result, assert_one_error, run, run_script

from clipcli.core.console import Console
from clipcli.errors import DeviceError, ModelError, UsageError
from clipcli.models import records
from clipcli.models.model import Model
from clipcli.models.spec import Choice

LABELS = ("-l", "disc,square")
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
IN_PROCESS = """
import sys
from clipcli.cli import app
try:
    app(sys.argv[1:], prog_name="clipcli")
except SystemExit as stop:
    heavy = {"torch", "open_clip", "huggingface_hub", "onnxruntime"} & set(sys.modules)
    print("code", stop.code, "loaded", sorted(heavy))
"""


@pytest.fixture
def model(random_model: str, tmp_path: Path) -> Path:
    """The folder of a model of one's own."""
    return Path(shutil.copytree(random_model.removeprefix("local-dir:"), tmp_path / "model"))


def classify(spec: str | Path, folder: Path, *options: str) -> Result:
    name = f"local-dir:{spec}" if isinstance(spec, Path) else spec
    return run("classify", "-m", name, folder, *LABELS, "--device", "cpu", *options)


def fingerprint(spec: str | Path) -> str:
    name = f"local-dir:{spec}" if isinstance(spec, Path) else spec
    return Model(Choice(name, "cpu"), Console()).info.fingerprint


def reweigh(model: Path, seed: int) -> None:
    """Other weights of the same size, in the same file."""
    other = model.parent / f"other-{seed}"
    other.mkdir()
    small_models.save("clip", other, seed)
    assert (other / WEIGHTS).stat().st_size == (model / WEIGHTS).stat().st_size
    (model / WEIGHTS).write_bytes((other / WEIGHTS).read_bytes())


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["safetensors", "pt", "checkpoint", "module", "old", "bin"])
def test_a_checkpoint_of_any_kind_gives_the_same_vectors(
    model: Path, folder: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
):
    import torch
    from safetensors.torch import load_file

    config = tmp_path / "Small-ViT.json"
    config.write_text(json.dumps(json.loads((model / CONFIG).read_text())["model_cfg"]))
    small_models.register("Small-ViT", config, {}, monkeypatch)
    state, path = load_file(model / WEIGHTS), tmp_path / "weights.pt"
    if kind == "safetensors":
        path = model / WEIGHTS
    elif kind == "module":  # as a training run on several devices writes it
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    elif kind == "checkpoint":
        torch.save({"epoch": 3, "name": "run", "state_dict": state, "optimizer": {"step": torch.tensor(1)}}, path)
    else:
        path = path.with_suffix(".bin") if kind == "bin" else path
        torch.save(state, path, _use_new_zipfile_serialization=kind != "old")
    result = classify(f"Small-ViT@{path}", folder)
    assert result.code == 0, result.stderr
    assert result.stdout == classify(model, folder).stdout


@pytest.mark.parametrize(
    "name",
    ["open_clip_pytorch_model.bin", "open_clip_pytorch_model.safetensors", "any.safetensors", "any.pt", "any.pth"],
)
def test_a_folders_weights_are_those_that_are_named(model: Path, folder: Path, name: str):
    """open_clip would pick another file of some folders, or none and go on with random weights."""
    import torch
    from safetensors.torch import load_file

    expected = classify(model, folder).stdout
    if name.endswith("safetensors"):
        (model / WEIGHTS).rename(model / name)
    else:
        torch.save(load_file(model / WEIGHTS), model / name)
        (model / WEIGHTS).unlink()
    assert classify(model, folder, "--refresh").stdout == expected


def test_of_safetensors_and_pickles_the_safetensors_are_taken(model: Path, folder: Path):
    expected = classify(model, folder).stdout
    for name in ("open_clip_pytorch_model.bin", "open_clip_pytorch_model.safetensors", "model.safetensors", "x.pth"):
        (model / name).write_bytes(b"not to be read")
    assert classify(model, folder, "--refresh").stdout == expected


@pytest.mark.thorough
def test_a_second_run_loads_no_model(random_model: str, folder: Path):
    first = run("classify", "-m", random_model, folder, *LABELS)
    again = run_script(IN_PROCESS, "classify", "-m", random_model, str(folder), *LABELS)
    assert again.stdout == f"{first.stdout}code 0 loaded []\n", again.stderr
    info = run_script(IN_PROCESS, "models", "info", random_model)
    assert info.lines[-1] == "code 0 loaded []"
    assert info.lines[:-1] == run("models", "info", random_model).lines


def test_an_export_serves_runs_that_came_never_before_while_its_weights_are_there(model: Path):
    name = f"local-dir:{model}"
    bundle = Model(Choice("tiny"), Console()).bundle
    assert bundle
    shutil.copytree(bundle.folder, records.bundle_folder(name))
    assert Model(Choice(name), Console()).bundle is None, "nobody knows whose bundle it is"
    weights = records.FileStamp.of(model / WEIGHTS)
    info = dataclasses.replace(bundle.info, name=name)
    records.keep(records.Record(info, bundle.scoring, weights, (), None, "cpu", "fp32"), "where-it-was-exported")
    assert Model(Choice(name), Console()).bundle
    reweigh(model, seed=1)
    assert Model(Choice(name), Console()).bundle is None


@pytest.mark.thorough
def test_changed_weights_are_another_model(model: Path, folder: Path):
    before, told = classify(model, folder), fingerprint(model)
    reweigh(model, seed=1)
    after = classify(model, folder)
    assert after.code == 0
    assert after.stdout != before.stdout
    assert fingerprint(model) != told
    assert after.stdout == classify(model, folder, "--no-cache").stdout


def test_a_changed_config_is_another_model(model: Path, folder: Path):
    before, told = classify(model, folder), fingerprint(model)
    config = json.loads((model / CONFIG).read_text())
    config["preprocess_cfg"] = {"mean": [0.9, 0.1, 0.5], "resize_mode": "squash"}
    (model / CONFIG).write_text(json.dumps(config))
    assert fingerprint(model) != told
    assert classify(model, folder).stdout == classify(model, folder, "--no-cache").stdout != before.stdout


def test_the_same_model_by_another_name_has_the_same_fingerprint(model: Path, random_model: str):
    assert fingerprint(model) == fingerprint(random_model)
    assert len(fingerprint(model)) == 12


def test_folders_of_one_relative_name_are_told_apart(
    model: Path, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """Two projects, each with a folder `model`, and weights of one size and time."""
    for name in ("one", "two"):
        shutil.copytree(model, tmp_path / name / "model")
    reweigh(tmp_path / "two" / "model", seed=2)
    for path in tmp_path.glob("*/model/*"):
        os.utime(path, ns=(10**18, 10**18))
    found = []
    for name in ("one", "two", "one"):
        monkeypatch.chdir(tmp_path / name)
        found.append(classify("local-dir:model", folder).stdout)
    assert found[0] == found[2] != found[1]


def test_weights_that_change_behind_a_description_are_not_mixed(model: Path, monkeypatch: pytest.MonkeyPatch):
    """Size and time are as they were: only loading shows it, and by then vectors were looked up."""
    Model(Choice(f"local-dir:{model}", "cpu"), Console()).encoder  # noqa: B018 - loads
    stat = (model / WEIGHTS).stat()
    reweigh(model, seed=3)
    os.utime(model / WEIGHTS, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    named = Model(Choice(f"local-dir:{model}", "cpu"), Console())
    told = named.info
    with pytest.raises(ModelError, match="has changed since the last run") as caught:
        named.encoder  # noqa: B018 - loads
    assert caught.value.hint == "run the command again"
    again = Model(Choice(f"local-dir:{model}", "cpu"), Console())
    assert again.info.fingerprint != told.fingerprint
    assert again.encoder.info == again.info


def test_another_device_is_another_record(random_model: str, monkeypatch: pytest.MonkeyPatch):
    """A GPU that comes or goes does not leave the precision of the other behind."""
    monkeypatch.setattr("clipcli.models.model.accelerator", lambda: None)
    Model(Choice(random_model), Console()).encoder  # noqa: B018 - loads
    assert Model(Choice(random_model), Console()).is_described
    monkeypatch.setattr("clipcli.models.model.accelerator", lambda: "cuda")
    assert not Model(Choice(random_model), Console()).is_described


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"engine": "openclip"}, UsageError, "is a bundle: it runs through onnx or openvino only"),
        ({"device": "cuda"}, DeviceError, "is a bundle: it runs on the CPU only"),
        ({"device": "cuda:1"}, DeviceError, "is a bundle: it runs on the CPU only"),
        ({"device": "mps"}, DeviceError, "is a bundle: it runs on the CPU only"),
        ({"precision": "bf16"}, UsageError, "is a bundle: it computes in fp32"),
    ],
)
def test_what_a_bundle_cannot_do(tmp_path: Path, options: dict[str, str], error: type[Exception], message: str):
    (tmp_path / "manifest.json").touch()
    with pytest.raises(error) as caught:
        Model(Choice(str(tmp_path), **options), Console())  # type: ignore[arg-type]
    assert caught.value.message == f"{tmp_path} {message}"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "cuda"}, DeviceError, "--engine onnx runs on the CPU only"),
        ({"precision": "fp16"}, UsageError, "--engine onnx computes in fp32"),
    ],
)
def test_what_onnx_cannot_do(options: dict[str, str], error: type[Exception], message: str):
    with pytest.raises(error) as caught:
        Model(Choice("ViT-B-32", engine="onnx", **options), Console())  # type: ignore[arg-type]
    assert caught.value.message == message  # type: ignore[attr-defined]


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps"])
def test_a_device_that_is_absent_ends_the_run(
    random_model: str, folder: Path, device: str, monkeypatch: pytest.MonkeyPatch
):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    result = run("classify", "-m", random_model, folder, *LABELS, "--device", device)
    assert_one_error(result, "device here", "--device cpu")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ViT-B-23", ("no model 'ViT-B-23'", "ViT-B-32")),
        ("ViT-B-32/laion2b", ("has no weights tagged 'laion2b'", "laion2b_s34b_b79k")),
        ("local-dir:/no/such", ("/no/such is not a folder",)),
        ("ViT-B-32@/no/such.pt", ("no checkpoint at /no/such.pt",)),
        ("what is this?", ("not a model", "hf-hub:org/name")),
        (
            "openai/clip-patch32",
            ("no published weights are called 'openai/clip-patch32'", "write hf-hub:openai/clip-patch32;"),
        ),
    ],
)
def test_a_model_that_cannot_be_named_ends_the_run(folder: Path, name: str, words: tuple[str, ...]):
    assert_one_error(run("classify", "-m", name, folder, *LABELS), *words)


def test_details_are_said_with_v(random_model: str, folder: Path):
    result = classify(random_model, folder, "-v")
    told = [line for line in result.stderr.splitlines() if "ready in" in line]
    assert len(told) == 1
    assert f"{random_model} ({fingerprint(random_model)}) on cpu, fp32, openclip; ready in " in told[0]


def test_info_tells_what_the_config_and_the_weights_say(tmp_path: Path):
    spec = small_models.save("siglip", tmp_path)
    facts = {row["fact"]: row["value"] for row in run("models", "info", spec, "-f", "jsonl").rows}
    assert facts["model"] == spec
    assert facts["dim"] == 64
    assert facts["image"] == "64 × 64, squash, bicubic"
    assert facts["mean"] == facts["std"] == "0.5, 0.5, 0.5"
    assert facts["context"] == "64 tokens"
    assert str(facts["scoring"]).startswith("sigmoid, scale ")
    assert str(facts["scoring"]).endswith(", bias -10")
    assert np.isfinite(float(str(facts["scoring"]).split()[2].strip(",")))
