"""open_clip's own lists, read without importing torch."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

import pytest
from run import run_script

from clipcli.core.encoder import ModelSpec
from clipcli.engines import openclip_registry
from clipcli.errors import ModelError


def test_the_lists_are_open_clips_own():
    import open_clip

    assert [
        (name, tag) for name, tags in openclip_registry.tags().items() for tag in tags
    ] == open_clip.list_pretrained()
    assert set(openclip_registry.configs()) == set(open_clip.list_models())
    for name, tags in openclip_registry.tags().items():
        for tag in tags:
            assert dict(tags[tag]) == open_clip.get_pretrained_cfg(name, tag)


def test_every_tag_is_on_the_hub():
    assert all(known.get("hf_hub") for tags in openclip_registry.tags().values() for known in tags.values())


def test_reading_them_imports_nothing_heavy():
    script = """
import sys
from clipcli.engines import openclip_registry
openclip_registry.tags(), openclip_registry.configs(), openclip_registry.image_size("ViT-B-32")
print(sorted({"torch", "open_clip", "numpy", "safetensors.torch"} & set(sys.modules)))
"""
    assert run_script(script).lines[0] == "[]"


def test_optional_imports_come_back():
    openclip_registry.tags.cache_clear()
    openclip_registry.tags()
    assert sys.modules.get("safetensors.torch", True) is not None


@pytest.mark.parametrize(
    ("architecture", "size"),
    [("ViT-B-32", 224), ("ViT-B-32-256", 256), ("RN50x4", 288), ("ViT-SO400M-14-SigLIP-384", 384), ("none", None)],
)
def test_image_size(architecture: str, size: int | None):
    assert openclip_registry.image_size(architecture) == size


def test_the_definition_of_a_model_is_files_that_are_there():
    assert [path.name for path in openclip_registry.definition("ViT-B-32")] == ["ViT-B-32.json", "pretrained.py"]
    assert all(path.is_file() for path in openclip_registry.definition("ViT-B-32"))


def test_only_names_of_open_clip_are_checked():
    for kind in ("hub", "folder", "bundle"):
        openclip_registry.check_name(ModelSpec(kind, "anything", "anywhere"))  # type: ignore[arg-type]


def test_without_open_clip_the_lists_are_those_that_were_kept(monkeypatch: pytest.MonkeyPatch):
    named, sizes = (
        set(openclip_registry.architectures()),
        {name: openclip_registry.image_size(name) for name in openclip_registry.architectures()},
    )
    tags = {
        (name, tag): openclip_registry.repository(name, tag)
        for name, known in openclip_registry.tags().items()
        for tag in known
    }
    for function in (openclip_registry.tags, openclip_registry.architecture):
        function.cache_clear()
    monkeypatch.setattr(openclip_registry, "_installed", lambda: None)
    try:
        kept = {
            (name, tag): openclip_registry.repository(name, tag)
            for name, known in openclip_registry.tags().items()
            for tag in known
        }
        assert set(openclip_registry.architectures()) <= named, "make them anew: python docs/model_figures.py --zoo"
        assert {
            name: openclip_registry.image_size(name) for name in openclip_registry.architectures()
        }.items() <= sizes.items()
        assert kept.items() <= tags.items()
        if json.loads(openclip_registry.ZOO.read_text(encoding="utf-8"))["version"] == version("open_clip_torch"):
            assert (set(openclip_registry.architectures()), kept) == (named, tags)
    finally:
        for function in (openclip_registry.tags, openclip_registry.architecture):
            function.cache_clear()


def test_an_open_clip_that_keeps_its_list_elsewhere(monkeypatch: pytest.MonkeyPatch):
    openclip_registry.tags.cache_clear()
    monkeypatch.setattr(openclip_registry.importlib, "import_module", lambda _name: object())
    with pytest.raises(ModelError, match="keeps its list of weights elsewhere"):
        openclip_registry.tags()


@pytest.mark.parametrize(
    ("name", "tag", "expected"),
    [
        ("ViT-B-32", "laion2b_s34b_b79k", ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "")),
        ("ViTamin-S", "datacomp1b", ("jienengchen/ViTamin-S", "pytorch_model.bin")),
    ],
)
def test_where_weights_are(name: str, tag: str, expected: tuple[str, str]):
    assert openclip_registry.repository(name, tag) == expected


def test_weights_that_are_not_on_the_hub(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(openclip_registry.tags(), "Some-ViT", {"old": {"url": "https://example.org/weights.pt"}})  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="the weights of Some-ViT/old are not on the hub") as caught:
        openclip_registry.repository("Some-ViT", "old")
    assert caught.value.hint == "download them yourself, then Some-ViT@path/to/checkpoint"
