"""Every way to name a model, device, precision and engine, parsed without loading a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipcli.core.encoder import ModelSpec
from clipcli.engines.openclip_registry import check_name, configs, first_tag, tags
from clipcli.errors import UnknownModelError, UsageError
from clipcli.models.catalogue import ALIAS_NAMES, ALIASES, DEFAULT_MODEL, default_tag
from clipcli.models.spec import TINY_FOLDER, Choice, parse_choice, parse_model


def parsed(name: str) -> tuple[str, str, str, str]:
    spec = parse_model(name)
    return spec.kind, spec.name, spec.where, spec.version


@pytest.mark.parametrize(
    ("name", "architecture", "tag"),
    [
        ("ViT-B-32/laion2b_s34b_b79k", "ViT-B-32", "laion2b_s34b_b79k"),
        ("ViT-B/32/laion2b_s34b_b79k", "ViT-B-32", "laion2b_s34b_b79k"),
        ("  RN50/openai  ", "RN50", "openai"),
        ("ViT-B-16-SigLIP/webli", "ViT-B-16-SigLIP", "webli"),
        ("ViT-B/16-SigLIP/webli", "ViT-B-16-SigLIP", "webli"),
        ("ViT-B-32/no_such_tag", "ViT-B-32", "no_such_tag"),
        ("no_such_model/tag", "no_such_model", "tag"),
    ],
)
def test_architecture_and_tag(name: str, architecture: str, tag: str):
    assert parsed(name) == ("tag", f"{architecture}/{tag}", architecture, tag)


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B/32", "ViT-L/14", "ViT-B-16-SigLIP", "ViT-B/16-SigLIP"])
def test_a_bare_architecture_means_its_most_accurate_tag(name: str):
    architecture = name.replace("/", "-")
    assert parsed(name) == (
        "tag",
        f"{architecture}/{default_tag(architecture)}",
        architecture,
        default_tag(architecture),
    )


def test_a_bare_architecture_without_figures_means_its_first_tag():
    architecture = next(name for name in tags() if default_tag(name) is None)
    assert first_tag(architecture) in tags()[architecture]
    assert parsed(architecture)[3] == first_tag(architecture)


@pytest.mark.parametrize(
    ("name", "repo", "revision"),
    [
        ("hf-hub:org/name", "org/name", ""),
        ("hf-hub:org/name@v1.0", "org/name", "v1.0"),
        ("hf-hub:org/name@refs/pr/1", "org/name", "refs/pr/1"),
        ("hf-hub:name", "name", ""),
        ("hf-hub:my.org/a_b-c.d", "my.org/a_b-c.d", ""),
    ],
)
def test_a_repository(name: str, repo: str, revision: str):
    assert parsed(name) == ("hub", name, repo, revision)


def test_aliases():
    for alias in ALIASES:
        spec = parse_model(alias.name)
        assert spec.name == alias.model
    assert parse_model("fast").name == DEFAULT_MODEL
    assert parse_model("tiny") == ModelSpec("bundle", "tiny", str(TINY_FOLDER))


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my model"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text("{}")
    return folder


def test_a_folder_is_the_same_from_anywhere(model_folder: Path, monkeypatch: pytest.MonkeyPatch):
    absolute = parse_model(f"local-dir:{model_folder}")
    assert absolute == ModelSpec("folder", f"local-dir:{model_folder}", str(model_folder))
    monkeypatch.chdir(model_folder.parent)
    assert parse_model("local-dir:my model") == absolute
    monkeypatch.setenv("HOME", str(model_folder.parent))
    monkeypatch.setenv("USERPROFILE", str(model_folder.parent))
    monkeypatch.chdir("/")
    assert parse_model("local-dir:~/my model") == absolute


def test_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "epoch@12.pt"
    path.touch()
    expected = ModelSpec("checkpoint", f"ViT-B-32@{path}", "ViT-B-32", str(path))
    assert parse_model(f"ViT-B-32@{path}") == expected
    assert parse_model(f"ViT-B/32@{path}") == expected
    monkeypatch.chdir(tmp_path)
    assert parse_model("ViT-B-32@epoch@12.pt") == expected


def test_a_path_without_its_form_is_told_the_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "open_clip_config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "weights.pt").write_bytes(b"")
    (tmp_path / "ViT-B-32").mkdir()
    for name, message, hint in (
        ("./plain", "./plain is a folder without a model", "manifest.json"),
        ("model", "model is an OpenCLIP model's folder", "write local-dir:model"),
        ("weights.pt", "weights.pt is a file", "ARCH@weights.pt"),
    ):
        with pytest.raises(UnknownModelError) as caught:
            parse_model(name)
        assert caught.value.message.startswith(message)
        assert hint in (caught.value.hint or "")
    assert parse_model("ViT-B-32").kind == "tag"


def test_a_bundles_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "fast").mkdir()
    (tmp_path / "fast" / "manifest.json").touch()
    expected = ModelSpec("bundle", str(tmp_path / "fast"), str(tmp_path / "fast"))
    assert parse_model(str(tmp_path / "fast")) == expected
    monkeypatch.chdir(tmp_path)
    assert parse_model("./fast") == expected
    assert parse_model("fast").kind == "tag", "an alias is not shadowed by a folder"


@pytest.mark.parametrize("name", ["ViT-B-32", "hf-hub:org/name@v1", "fast", "RN50/openai"])
def test_the_canonical_name_gives_the_spec_again(name: str):
    spec = parse_model(name)
    assert parse_model(spec.name) == spec


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("", "not a model: ''", "ARCH/TAG"),
        ("a b", "not a model: 'a b'", "ARCH/TAG"),
        ("a/b/c/d", "not a model: 'a/b/c/d'", "hf-hub:org/name"),
        ("a/b/c", "not a model: 'a/b/c'", "tiny|fast|balanced|best"),
        ("~nobody-of-this-name/model", "not a model: '~nobody", "a bundle's folder"),
        ("x" * 5000, "no model", "models list"),
        ("hf-hub:", "not the name of a repository", "hf-hub:org/name@revision"),
        ("hf-hub:a/b/c", "not the name of a repository", "hf-hub:org/name@revision"),
        ("hf-hub:org/na me", "not the name of a repository", "hf-hub:org/name@revision"),
        ("local-dir:/no/such", "/no/such is not a folder", "open_clip_config.json and weights"),
        (f"local-dir:{Path(__file__).parent}", "has no open_clip_config.json", "open_clip_config.json and weights"),
        ("ViT-B-32@/no/such.pt", "no checkpoint at /no/such.pt", "ARCH@path/to/checkpoint.safetensors"),
        ("ViT-B-32@", "no checkpoint at ", "ARCH@path/to/checkpoint.safetensors"),
    ],
)
def test_names_that_mean_nothing(name: str, message: str, hint: str):
    with pytest.raises(UnknownModelError) as caught:
        check_name(parse_model(name))
    assert message in caught.value.message
    assert caught.value.hint is not None
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "message", "nearest"),
    [
        ("VIT-B-23", "no model 'VIT-B-23'", "ViT-B-32"),
        ("vit-b-32/openai", "no model 'vit-b-32'", "did you mean 'ViT-B-32'"),
        ("ViT-B/33", "no model 'ViT-B-33'", "ViT-B-32"),
        ("tinny", "no model 'tinny'", "'tiny'"),
        ("balance", "no model 'balance'", "'balanced'"),
        ("ViT-B-32/laion2b_s34b_b97k", "ViT-B-32 has no weights tagged 'laion2b_s34b_b97k'", "laion2b_s34b_b79k"),
        ("ViT-B-32/OpenAI", "ViT-B-32 has no weights tagged 'OpenAI'", "did you mean 'openai'"),
    ],
)
def test_misspelt_names_get_the_nearest(name: str, message: str, nearest: str):
    with pytest.raises(UnknownModelError) as caught:
        check_name(parse_model(name), ALIAS_NAMES)
    assert caught.value.message == message
    assert caught.value.hint is not None
    assert nearest in caught.value.hint
    assert "clipcli models list shows all" in caught.value.hint


def test_an_architecture_without_weights_can_still_be_named_with_a_checkpoint():
    architecture = next(name for name in configs() if name not in tags())
    with pytest.raises(UnknownModelError, match=f"{architecture} has no published weights") as caught:
        check_name(parse_model(architecture))
    assert caught.value.hint == f"{architecture}@path/to/checkpoint.safetensors"


@pytest.mark.parametrize("device", ["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:12"])
def test_device_names(device: str):
    choice = parse_choice("m", device, "bf16", "onnx", offline=True, weights_dir="d")
    assert choice == Choice("m", device, "bf16", "onnx", offline=True, weights_dir="d")


@pytest.mark.parametrize(
    ("device", "precision", "engine", "message", "hint"),
    [
        ("gpu", "auto", "auto", "no device 'gpu'", "cuda:0"),
        ("cuda:", "auto", "auto", "no device 'cuda:'", "did you mean 'cuda:0' or 'cuda'?"),
        ("cuda:-1", "auto", "auto", "no device 'cuda:-1'", "cuda:0"),
        ("cpu\n", "auto", "auto", "no device 'cpu\\n'", "cpu"),
        ("CPU", "auto", "auto", "no device 'CPU'", "did you mean 'cpu'"),
        ("auto", "float16", "auto", "no precision 'float16'", "one of auto, fp32, fp16, bf16"),
        ("auto", "fb16", "auto", "no precision 'fb16'", "did you mean"),
        ("auto", "auto", "torch", "no engine 'torch'", "one of auto, onnx, openvino, openclip"),
        ("auto", "auto", "open_clip", "no engine 'open_clip'", "did you mean 'openclip'"),
    ],
)
def test_unknown_devices_precisions_and_engines(device: str, precision: str, engine: str, message: str, hint: str):
    with pytest.raises(UsageError) as caught:
        parse_choice("m", device, precision, engine, offline=False, weights_dir=None)
    assert caught.value.message == message
    assert caught.value.hint is not None
    assert hint in caught.value.hint
