"""Configs and weights that are damaged, foreign or malicious: one clear line each, and nothing is run."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import small_models
from run import assert_one_error, run

from clipcli.core.console import Console
from clipcli.errors import ClipcliError, ModelError
from clipcli.models.model import Model
from clipcli.models.spec import Choice

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


@pytest.fixture
def model(random_model: str, tmp_path: Path) -> Path:
    """The folder of a model of one's own."""
    return Path(shutil.copytree(random_model.removeprefix("local-dir:"), tmp_path / "model"))


@pytest.fixture
def small_arch(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same architecture as open_clip would know it by name."""
    path = tmp_path / "Small-ViT.json"
    path.write_text(json.dumps(json.loads((model / CONFIG).read_text())["model_cfg"]))
    small_models.register("Small-ViT", path, {}, monkeypatch)
    return "Small-ViT"


def refused(spec: str | Path, *words: str) -> ClipcliError:
    """The error that a model ends in."""
    name = f"local-dir:{spec}" if isinstance(spec, Path) else spec
    with pytest.raises(ModelError) as caught:
        Model(Choice(name, "cpu", "fp32", "openclip"), Console()).encoder  # noqa: B018 - loading is what is tested
    for word in words:
        assert word in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 600
    return caught.value


def state(model: Path) -> dict[str, object]:
    from safetensors.torch import load_file

    return dict(load_file(model / WEIGHTS))


def save(value: object, path: Path, *, old: bool = False) -> Path:
    import torch

    torch.save(value, path, _use_new_zipfile_serialization=not old)
    return path


@pytest.mark.parametrize("keep", [0, 5, 4000, 3_000_000, -1])
def test_half_written_weights(model: Path, keep: int, folder: Path):
    data = (model / WEIGHTS).read_bytes()
    (model / WEIGHTS).write_bytes(data[:keep])
    error = refused(model, str(model / WEIGHTS), "is damaged or not a safetensors file")
    assert error.hint is not None
    assert "clipcli models verify" in error.hint
    if keep == 4000:
        result = run("classify", "-m", f"local-dir:{model}", folder, "-l", "a,b")
        assert_one_error(result, str(model / WEIGHTS), "is damaged")


@pytest.mark.parametrize("keep", [0, 5, 3_000_000])
def test_half_written_checkpoints(model: Path, keep: int):
    path = save(state(model), model / "open_clip_pytorch_model.bin")
    (model / WEIGHTS).unlink()
    path.write_bytes(path.read_bytes()[:keep])
    error = refused(model, str(path))
    assert error.hint == "clipcli models verify checks whether the file is complete"
    assert "more than tensors" not in error.message


@pytest.mark.parametrize("data", [b"not a model", b"<!DOCTYPE html>" * 100, b"\x00" * 1000, b"version https://git-lfs"])
@pytest.mark.parametrize("suffix", [".pt", ".bin", ".safetensors", ".npz"])
def test_files_that_are_no_weights(small_arch: str, tmp_path: Path, data: bytes, suffix: str):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(data)
    refused(f"{small_arch}@{path}", str(path))


class Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("how", ["checkpoint", "old checkpoint", "state_dict", "pickle", "npz"])
def test_a_pickle_that_runs_code_is_refused(small_arch: str, model: Path, tmp_path: Path, folder: Path, how: str):
    import numpy as np

    target, path = tmp_path / "made-by-the-attack", tmp_path / "weights.pt"
    attack = Attack(target)
    if how == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": attack}))
    elif how == "npz":
        path = path.with_suffix(".npz")
        np.savez(path, params=np.array([attack], dtype=object))
    else:
        value = {**state(model), "logit_scale": attack}
        save(value if how == "state_dict" else {"state_dict": value}, path, old=how == "old checkpoint")
    result = run("classify", "-m", f"{small_arch}@{path}", folder, "-l", "a,b", "--engine", "openclip")
    assert_one_error(result, str(path))
    assert not target.exists()
    if how != "npz":
        assert "is a pickle with more than tensors; loading it would run its code" in result.stderr
        assert "convert it to safetensors" in result.stderr
        pickle.loads(pickle.dumps(attack))
        assert target.exists(), "the attack would have worked"


def test_an_attack_in_a_models_folder(model: Path, tmp_path: Path):
    (model / WEIGHTS).unlink()
    save({"logit_scale": Attack(tmp_path / "made")}, model / "open_clip_pytorch_model.bin")
    refused(model, "is a pickle with more than tensors")
    assert not (tmp_path / "made").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_torchscript_archive_is_not_run(small_arch: str, tmp_path: Path):
    import torch

    path = tmp_path / "model.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    refused(f"{small_arch}@{path}", str(path), "TorchScript")


@pytest.mark.parametrize("kind", ["siglip", "timm"])
def test_weights_of_another_architecture(model: Path, tmp_path: Path, kind: str):
    (model / CONFIG).write_text(json.dumps({"model_cfg": small_models.CONFIGS[kind]}))
    error = refused(model, f"cannot load local-dir:{model}", "state_dict")
    assert error.hint == "these weights belong to another architecture"


@pytest.mark.parametrize("what", ["empty", "none", "a tensor", "a list", "numbers", "one missing", "one too many"])
def test_checkpoints_that_hold_something_else(small_arch: str, model: Path, tmp_path: Path, what: str):
    import torch

    tensors = state(model)
    value: object = {
        "empty": {},
        "none": None,
        "a tensor": torch.zeros(3),
        "a list": [torch.zeros(3)],
        "numbers": dict.fromkeys(tensors, 3),
        "one missing": {key: value for key, value in tensors.items() if key != "logit_scale"},
        "one too many": {**tensors, "more": torch.zeros(3)},
    }[what]
    path = save(value, tmp_path / "weights.pt")
    refused(f"{small_arch}@{path}", str(path))


CLIP = small_models.CONFIGS["clip"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "JSONDecodeError"),
        ("{", "JSONDecodeError"),
        ("[]", "is not an OpenCLIP config"),
        ("null", "is not an OpenCLIP config"),
        ('"text"', "is not an OpenCLIP config"),
        ("\xff", "UnicodeDecodeError"),
        ("{}", "KeyError('model_cfg')"),
        ('{"model_cfg": {}}', "KeyError('embed_dim')"),
        ('{"model_cfg": []}', "is not an OpenCLIP config"),
        (
            json.dumps({"model_cfg": {**CLIP, "embed_dim": "48"}}),
            "embed_dim, vision_cfg, text_cfg have the wrong type",
        ),
        (json.dumps({"model_cfg": {"embed_dim": 48, "vision_cfg": {}}}), "KeyError('text_cfg')"),
        (json.dumps({"model_cfg": {**CLIP, "vision_cfg": {"image_size": "large"}}}), "ValueError"),
        (json.dumps({"model_cfg": CLIP, "preprocess_cfg": {"mean": [0.5]}}), "ValueError"),
        (json.dumps({"model_cfg": CLIP, "preprocess_cfg": {"mean": 0.5}}), "TypeError"),
        (
            json.dumps({"model_cfg": CLIP, "preprocess_cfg": {"interpolation": "lanczos"}}),
            "not one of bicubic, bilinear",
        ),
        (
            json.dumps({"model_cfg": CLIP, "preprocess_cfg": {"resize_mode": "crop"}}),
            "not one of shortest, longest, squash",
        ),
        (json.dumps({"model_cfg": CLIP, "preprocess_cfg": []}), "AttributeError"),
    ],
)
def test_configs_that_are_none(model: Path, text: str, reason: str):
    (model / CONFIG).write_bytes(text.encode("latin-1"))
    refused(model, f"local-dir:{model}: {CONFIG} is not an OpenCLIP config", reason)


@pytest.mark.parametrize(
    "config",
    [
        {**CLIP, "no_such_key": 1},
        {**CLIP, "vision_cfg": {**CLIP["vision_cfg"], "no_such_key": 1}},
        {**CLIP, "vision_cfg": {**CLIP["vision_cfg"], "width": 0}},
        {**CLIP, "vision_cfg": {**CLIP["vision_cfg"], "heads": "two", "head_width": "x"}},
        {**CLIP, "text_cfg": {**CLIP["text_cfg"], "heads": 7}},
        {**CLIP, "vision_cfg": {"timm_model_name": "no_such_model", "image_size": 32}},
    ],
)
def test_configs_that_no_model_can_be_built_from(model: Path, config: dict[str, object]):
    (model / CONFIG).write_text(json.dumps({"model_cfg": config}))
    refused(model, f"cannot load local-dir:{model}")


def test_a_folder_without_weights(model: Path):
    (model / WEIGHTS).unlink()
    error = refused(model, f"{model} has no weights")
    assert error.hint == f"name the one to use {WEIGHTS}"


def test_a_folder_with_several_weights(model: Path):
    (model / WEIGHTS).rename(model / "b.safetensors")
    shutil.copy(model / "b.safetensors", model / "a.pt")
    refused(model, f"{model} has several: a.pt, b.safetensors")


def test_a_config_that_vanishes(model: Path):
    named = Model(Choice(f"local-dir:{model}", engine="openclip"), Console())
    (model / CONFIG).unlink()
    with pytest.raises(ModelError, match="is not an OpenCLIP config: FileNotFoundError"):
        named.encoder  # noqa: B018 - loading is what is tested


def test_weights_that_may_not_be_read(model: Path, monkeypatch: pytest.MonkeyPatch):
    def deny(*_args: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("clipcli.engines.openclip.load_checkpoint", deny)
    refused(model, str(model / WEIGHTS), "Permission denied")
