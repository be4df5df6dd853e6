"""Facts about a model without its weights: figures, names from elsewhere, and what a checkpoint leaves open."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import small_models
from run import Result, assert_one_error, run, run_script

from clipcli.engines import openclip_registry
from clipcli.engines.openclip_registry import check_name
from clipcli.errors import UnknownModelError
from clipcli.models import catalogue
from clipcli.models.spec import _OPENCLIP_NAMES, parse_model

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "docs" / "models.md"


def facts(result: Result) -> dict[str, object]:
    assert result.code == 0, result.stderr
    return {row["fact"]: row["value"] for row in result.rows}


def test_the_list_has_all_published_weights_with_all_that_needs_no_download():
    rows = {row["model"]: row for row in run("models", "list", "-f", "jsonl").rows}
    names = [f"{architecture}/{tag}" for architecture, tags in openclip_registry.tags().items() for tag in tags]
    assert set(names) <= set(rows)
    for name in names:
        row = rows[name]
        assert row["parameters_millions"] > 1, name
        assert row["image_size"] >= 224
        assert row["dim"] >= 384
        assert row["head"] == ("sigmoid" if re.search("SigLIP|siglip", name) else "softmax"), name
        assert row["licence"]
        assert row["download_megabytes"] == pytest.approx(4 * row["parameters_millions"], abs=1)


def test_an_accuracy_has_a_source_and_a_model_without_one_has_neither():
    for row in catalogue.published():
        assert bool(row.source) == (row.imagenet_top1 is not None), row.name
    text = MODELS.read_text(encoding="utf-8")
    blank = {row.name for row in catalogue.published() if row.imagenet_top1 is None}
    assert len(blank) == 5
    for name in blank:
        assert name.replace("bigG-14-worldwide-378", "bigG-14-worldwide") in text


def test_all_operations_are_counted():
    assert [row.name for row in catalogue.published() if row.gflops is None] == []


def test_tags_that_mean_the_same_weights_have_the_same_figures():
    """A tag that was trained with QuickGELU gets it however the architecture is spelt, and the accuracy measured so."""
    for row in catalogue.published():
        other = catalogue.figures(f"{row.architecture}-quickgelu", row.tag)
        if other is not None and openclip_registry.tags()[row.architecture][row.tag].get("quick_gelu"):
            assert other.imagenet_top1 == row.imagenet_top1, row.name


def test_a_list_in_a_pipe_has_a_header_and_aliases_are_found():
    lines = run("models", "list", "best").lines
    assert lines[0].split("\t") == [
        "model", "params_m", "image", "dim", "head", "imagenet", "mb", "licence", "on_disk", "alias",
    ]  # fmt: skip
    assert [line.split("\t")[0] for line in lines[1:]] == [catalogue.resolve_alias("best")]
    assert lines[1].split("\t")[-1] == "best"
    assert "has 'no-such-model' in its name or alias" in run("models", "list", "no-such-model").stderr


@pytest.mark.thorough
def test_info_of_a_tag_needs_no_weights_no_network_and_no_torch():
    script = """
import sys
from clipcli.cli import app
try:
    app(sys.argv[1:], prog_name="clipcli")
except SystemExit as stop:
    print(stop.code, sorted({"torch", "open_clip"} & set(sys.modules)))
"""
    result = run_script(script, "models", "info", "best", "--offline", "-f", "jsonl")
    *rows, last = result.lines
    assert last == "0 []", result.stderr
    found = {row["fact"]: row["value"] for row in map(json.loads, rows)}
    name = catalogue.resolve_alias("best")
    assert found["model"] == name
    assert found["scoring"] == "sigmoid"
    assert found["fingerprint"] == f"unknown until the weights are here: clipcli models pull {name}"
    assert found["image"] == "384 × 384, squash, bicubic"
    assert found["mean"] == "0.5, 0.5, 0.5"
    assert "published: " in found["imagenet top-1"]
    assert found["licence of the weights"] == "apache-2.0"


def test_info_of_a_misspelt_name():
    assert_one_error(run("models", "info", "VIT-B-23"), "no model 'VIT-B-23'", "ViT-B-32")


def test_the_table_of_aliases_says_what_the_catalogue_says():
    text = MODELS.read_text(encoding="utf-8")
    for alias in catalogue.ALIASES[1:]:
        figures = catalogue.figures(*alias.model.split("/"))
        assert figures is not None
        assert figures.imagenet_top1 is not None
        row = next(line for line in text.splitlines() if line.startswith(f"| `{alias.name}`"))
        for said in (alias.model, f"{figures.imagenet_top1:.1%}".replace("%", " %"), figures.licence):
            assert said in row, (alias.name, said)
        assert figures.gflops is not None
        assert f"| {figures.gflops:.0f} |" in row
        assert f"{figures.download_megabytes / 1000:.1f} GB" in row


@pytest.mark.parametrize("name", sorted(_OPENCLIP_NAMES))
def test_names_of_other_libraries_are_of_published_weights(name: str):
    spec = parse_model(name)
    check_name(spec)
    assert spec.kind == "tag"
    assert spec.name == _OPENCLIP_NAMES[name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai/clip-vit-base-patch32", "ViT-B-32/openai"),
        ("OpenAI/CLIP-ViT-Base-Patch32", "ViT-B-32/openai"),
        ("hf-hub:google/siglip2-base-patch16-224", "ViT-B-16-SigLIP2/webli"),
        ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "ViT-B-32/laion2b_s34b_b79k"),
        ("apple/DFN5B-CLIP-ViT-H-14-378", "ViT-H-14-378/dfn5b"),
        ("timm/PE-Core-B-16", "PE-Core-B-16/meta"),
        ("sentence-transformers/clip-ViT-B-32", "ViT-B-32/openai"),
        ("RN50/openai", "RN50/openai"),
        ("ViT-B/32", f"ViT-B-32/{catalogue.default_tag('ViT-B-32')}"),
        ("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("hf-hub:openai/clip-vit-base-patch32@v2", "hf-hub:openai/clip-vit-base-patch32@v2"),
    ],
)
def test_names_known_from_elsewhere(name: str, expected: str):
    assert parse_model(name).name == expected


@pytest.mark.parametrize(
    "name", ["google/siglip2-base-patch16-naflex", "hf-hub:jinaai/jina-clip-v2", "facebook/dinov2-base",
             "sentence-transformers/clip-ViT-B-32-multilingual-v1", "facebook/metaclip-2-worldwide-s16"],
)  # fmt: skip
def test_models_that_openclip_has_no_copy_of(name: str):
    with pytest.raises(UnknownModelError) as caught:
        parse_model(name)
    assert caught.value.message == f"OpenCLIP has no copy of the weights of {name.removeprefix('hf-hub:')}"
    assert caught.value.hint == "clipcli models list shows the models"


def test_an_unknown_repository_is_not_promised_to_work():
    with pytest.raises(UnknownModelError, match="no published weights are called 'some/repo'") as caught:
        check_name(parse_model("some/repo"))
    assert "with open_clip_config.json write hf-hub:some/repo" in str(caught.value.hint)


def test_a_folder_of_a_known_name_is_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openai" / "clip-vit-base-patch32").mkdir(parents=True)
    (tmp_path / "openai" / "clip-vit-base-patch32" / "manifest.json").touch()
    assert parse_model("openai/clip-vit-base-patch32").kind == "bundle"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"a": {}, "b": {}}, []),
        ({}, []),
        ({"a": {"quick_gelu": True}, "b": {"quick_gelu": True}}, []),
        ({"a": {"quick_gelu": True}, "b": {}}, ["with QuickGELU, others without; using plain GELU"]),
        (
            {"a": {"resize_mode": "squash"}, "b": {"resize_mode": "shortest"}},
            ["differ in preprocessing (resize_mode shortest or squash); using shortest, bicubic, mean 0.481"],
        ),
        (
            {"a": {"mean": (0.5, 0.5, 0.5), "quick_gelu": True}, "b": {}},
            ["differ in preprocessing (mean (0.48", "with QuickGELU, others without"],
        ),
    ],
)
def test_a_checkpoint_says_where_its_architectures_weights_disagree(
    tags: dict[str, dict[str, object]], said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
):
    small_models.save("clip", tmp_path)
    config = json.loads((tmp_path / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]
    (tmp_path / "Small-ViT.json").write_text(json.dumps(config), encoding="utf-8")
    small_models.register("Small-ViT", tmp_path / "Small-ViT.json", tags, monkeypatch)  # type: ignore[arg-type]
    name = f"Small-ViT@{tmp_path / 'open_clip_model.safetensors'}"
    result = run("classify", folder, "-l", "disc,square", "-m", name, "--engine", "openclip")
    assert result.code == 0, result.stderr
    warnings = [line for line in result.stderr.splitlines() if "weights of Small-ViT " in line]
    assert len(warnings) == len(said), result.stderr
    for warning, words in zip(warnings, said, strict=True):
        assert words in warning


def test_a_checkpoint_of_an_architecture_that_always_has_quick_gelu_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from clipcli.core.console import Console
    from clipcli.engines.checkpoint import resolve
    from clipcli.hub.client import Hub

    (tmp_path / "x.pt").touch()
    for architecture, expected in (("ViT-H-14-worldwide", True), ("ViT-B-32", False), ("ViT-B-16-plus-240", False)):
        spec = parse_model(f"{architecture}@{tmp_path / 'x.pt'}")
        monkeypatch.setattr("clipcli.engines.checkpoint._with_text_files", lambda source, _hub: source)
        assert resolve(spec, Hub(Console(quiet=True))).quick_gelu is expected
