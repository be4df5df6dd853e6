"""A plain install has no torch: what it runs, and what it says about the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import light
import pytest
from run import ROOT, Result

from clipcli.core.optional_packages import EXTRAS
from clipcli.models.catalogue import DEFAULT_MODEL

HEAVY = {"torch", "torchvision", "open_clip", "timm", "transformers", "onnx", "onnxscript", "scipy", "pyarrow"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("light")
    for name in ("car", "cat", "dog"):
        target = folder / "shop" / name / f"{name}.png"
        target.parent.mkdir(parents=True)
        shutil.copy(ROOT / "examples" / f"{name}.png", target)
    shutil.copy(ROOT / "examples" / "car.png", folder / "shop" / "car" / "copy.png")
    return folder


@pytest.fixture(scope="module")
def answers(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Everything that is asked of the light Python, in one process."""
    patch = pytest.MonkeyPatch()
    patch.setenv("CLIPCLI_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
    patch.delenv("CLIPCLI_MODEL", raising=False)
    labels = ["-l", "car,cat,dog"]
    commands = {
        "classify": ["classify", "shop", *labels],
        "quiet": ["classify", "shop", *labels, "-q"],
        "named": ["classify", "shop", *labels, "-m", "tiny", "-f", "jsonl"],
        "embed": ["embed", "shop", "-o", "shop.npz", "-q"],
        "rank": ["rank", "a red car", "shop.npz", "-q", "-k", "1", "--paths"],
        "dedupe": ["dedupe", "shop", "-q"],
        "calibrate": ["calibrate", "shop", *labels, "--expect-from", "parent", "-o", "t.json", "-q"],
        "doctor": ["doctor"],
        "list": ["models", "list", "--format", "jsonl"],
        "prompts": ["prompts", "list", "--format", "jsonl"],
        "tokens": ["prompts", "tokens", "a photo of a dog"],
        "info": ["models", "info", "ViT-B-32/openai"],
        "published": ["classify", "shop", *labels, "-m", "ViT-B-32/openai"],
        "cuda": ["classify", "shop", *labels, "--device", "cuda"],
        "engine": ["classify", "shop", *labels, "--engine", "openclip"],
        "gpu-decode": ["classify", "shop", *labels, "--gpu-decode"],
        "pull": ["models", "pull", "best"],
        "export": ["models", "export", "fast", "-o", "bundle"],
        "checkpoint": ["classify", "shop", *labels, "-m", "ViT-B-32@shop/car/car.png"],
        "misspelt": ["classify", "shop", *labels, "-m", "ViT-B-23"],
        "parquet": ["embed", "shop", "-o", "shop.parquet"],
        "url": ["embed", "https://example.org/picture.jpg", "-q", "-o", "x.npz"],
        "imagenet": ["classify", "shop", "-l", "@imagenet", "-q"],
        "templates": ["classify", "shop", *labels, "-p", "imagenet"],
    }
    try:
        return dict(zip(commands, light.run_light(*commands.values(), cwd=pictures), strict=True))
    finally:
        patch.undo()


@pytest.mark.thorough
def test_nothing_heavy_comes_with_a_plain_install():
    assert set(light.forbidden()) >= HEAVY - {"onnxscript"}


@pytest.mark.parametrize(
    "name",
    ["classify", "named", "embed", "rank", "dedupe", "calibrate", "doctor", "list", "info", "imagenet", "tokens"],
)
def test_what_needs_no_torch_runs(name: str, answers: dict[str, Result]):
    assert answers[name].code == 0, answers[name].stderr


def test_the_embedded_model_answers(answers: dict[str, Result]):
    assert {row["label"] for row in answers["named"].rows} == {"car", "cat", "dog"}
    assert answers["rank"].lines == ["shop/car/car.png"]
    assert "exact" in answers["dedupe"].stdout


def test_the_default_model_is_tiny_with_one_note(answers: dict[str, Result]):
    assert answers["classify"].stderr.count("the model is tiny, since torch is not installed") == 1
    assert len(answers["classify"].stderr.splitlines()) == 1
    assert answers["quiet"].stderr == ""
    assert answers["quiet"].stdout == answers["classify"].stdout
    assert "torch" not in answers["named"].stderr


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("published", "ViT-B-32/openai"),
        ("cuda", DEFAULT_MODEL),
        ("engine", DEFAULT_MODEL),
        ("gpu-decode", "--gpu-decode"),
        ("pull", "ViT-gopt-16-SigLIP2-384/webli"),
        ("export", DEFAULT_MODEL),
        ("checkpoint", "ViT-B-32@"),
    ],
)
def test_what_needs_torch_says_how_to_get_it(name: str, model: str, answers: dict[str, Result]):
    assert answers[name].code == 5
    error, *hints = [line for line in answers[name].stderr.splitlines() if "exporting" not in line]
    assert error.startswith(f"clipcli: error: {model}")
    assert error.endswith("runs through torch, which is not installed")
    assert "[torch]" in hints[0]
    assert "--model tiny" in hints[-1]


def test_models_are_known_without_open_clip(answers: dict[str, Result]):
    rows = {row["model"]: row for row in answers["list"].rows}
    assert rows[DEFAULT_MODEL]["image_size"] == 256
    assert len(rows) > 190
    assert "unknown without torch" in answers["info"].stdout
    assert "ViT-B-32" in answers["misspelt"].stderr
    assert answers["misspelt"].code == 5


@pytest.mark.parametrize(
    ("name", "extra", "package"),
    [("parquet", "parquet", "pyarrow"), ("url", "remote", "aiohttp")],
)
def test_optional_packages_are_asked_for_before_the_work(
    name: str, extra: str, package: str, answers: dict[str, Result]
):
    error, hint = answers[name].stderr.splitlines()[-2:]
    assert package in error
    assert f"[{extra}]" in hint
    assert answers[name].code == 4
    assert "images in" not in answers[name].stderr


def test_doctor_says_what_this_installation_runs(answers: dict[str, Result]):
    lines = dict(line.split("\t")[1:3] for line in answers["doctor"].lines)
    assert lines["models"].startswith("tiny and bundles; for all others: ")
    assert "[torch]" in answers["templates"].stderr


def test_the_extras_are_those_of_the_project():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    names = {line.partition(" = [")[0] for line in section.splitlines() if " = [" in line}
    assert set(EXTRAS) == names - {"all"}


def test_the_prompts_that_are_there_are_listed(answers: dict[str, Result]):
    found = answers["prompts"]
    assert found.code == 0
    assert {row["name"] for row in found.rows} == {path.stem for path in (ROOT / "prompts").glob("*.txt")}
    assert "imagenet is left out: " in found.stderr
