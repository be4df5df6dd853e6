"""A member of every architecture family of open_clip, published under its own name in a made-up hub cache.

Architecture, tag, preprocessing, tokenizer class and special tokens are open_clip's own. Towers are cut to two layers
and few channels, weights are random, and tokenizers know few words.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import stand_in_tokenizers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMIT = "2" * 40
_WIDTH = 64
_CONVOLUTIONS = {"depths": (1, 1, 1, 1), "dims": (16, 32, 64, 128)}
_TRANSFORMER = {"depth": 2, "embed_dim": _WIDTH, "num_heads": 2}


@dataclass(frozen=True)
class Member:
    """One family, and the published weights that stand for it."""

    family: str
    architecture: str
    tag: str
    """Of the published weights; nothing where none were published: then it is read from a checkpoint."""
    words: str = ""
    """Which stand-in tokenizer and text config it has; CLIP's own tokenizer without one."""
    trunk: dict[str, Any] = field(default_factory=dict)
    """Arguments that cut timm's model."""
    image: int = 64
    """Side of its images, in pixels."""
    is_variant: bool = False
    """Another form of a family that has a member already."""

    @property
    def name(self) -> str:
        return f"{self.architecture}/{self.tag}"


MEMBERS = (
    Member("ViT", "ViT-B-32", "laion2b_s34b_b79k"),
    Member("ViT QuickGELU", "ViT-B-16", "openai"),
    Member("ResNet", "RN50", "openai"),
    Member("ConvNeXt", "convnext_base_w", "laion2b_s13b_b82k", trunk=_CONVOLUTIONS),
    Member("ConvNeXt, MLP", "convnext_large_d", "laion2b_s26b_b102k_augreg", trunk=_CONVOLUTIONS, is_variant=True),
    Member("CoCa", "coca_ViT-B-32", "laion2b_s13b_b90k"),
    Member("EVA01", "EVA01-g-14", "laion400m_s11b_b41k", trunk=_TRANSFORMER, image=56, is_variant=True),
    Member("EVA02", "EVA02-B-16", "merged2b_s8b_b131k", trunk=_TRANSFORMER),
    Member("timm", "vit_medium_patch16_gap_256", "", trunk=_TRANSFORMER),
    Member("SigLIP", "ViT-B-16-SigLIP", "webli", "siglip", _TRANSFORMER),
    Member("SigLIP i18n", "ViT-B-16-SigLIP-i18n-256", "webli", "siglip", _TRANSFORMER, is_variant=True),
    Member("SigLIP i18n SO400M", "ViT-SO400M-16-SigLIP-i18n-256", "webli", "siglip", _TRANSFORMER, is_variant=True),
    Member("SigLIP 2", "ViT-B-16-SigLIP2", "webli", "siglip2", _TRANSFORMER),
    Member("CLIPA", "ViT-L-14-CLIPA", "datacomp1b", "bert", image=56),
    Member(
        "MobileCLIP", "MobileCLIP-S1", "datacompdr",
        trunk={"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 64, 128)},
    ),
    Member("MobileCLIP-B", "MobileCLIP-B", "datacompdr", trunk={"depth": 2}, is_variant=True),
    Member(
        "MobileCLIP 2", "MobileCLIP2-S4", "dfndr2b",
        trunk={"layers": (1, 1, 1, 1, 1), "embed_dims": (16, 32, 64, 64, 64)},
    ),
    Member("MobileCLIP2-L", "MobileCLIP2-L-14", "dfndr2b", trunk=_TRANSFORMER, image=56, is_variant=True),
    Member("PE-Core", "PE-Core-B-16", "meta", trunk=_TRANSFORMER),
    Member("ViTamin", "ViTamin-S", "datacomp1b", trunk={"depth": 2}),
    Member("nllb", "nllb-clip-base", "v1", "nllb"),
    Member("nllb SigLIP", "nllb-clip-base-siglip", "v1", "nllb", _TRANSFORMER, is_variant=True),
    Member("RoBERTa", "roberta-ViT-B-32", "laion2b_s12b_b32k", "roberta"),
    Member("XLM-RoBERTa", "xlm-roberta-base-ViT-B-32", "laion5b_s13b_b90k", "xlm-roberta"),
    Member("mT5", "mt5-base-ViT-B-32", "", "mt5"),
    Member("MetaCLIP 2", "ViT-H-14-worldwide", "metaclip2_worldwide", "xlm-roberta", image=56),
)  # fmt: skip


def text_tower(kind: str, words: int) -> dict[str, Any]:
    """Hugging Face's config.json of a text tower of two layers; `words` is its vocabulary."""
    both = {"vocab_size": words, "pad_token_id": 1}
    bert = {
        **both, "hidden_size": _WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96,
        "max_position_embeddings": 514, "type_vocab_size": 1, "bos_token_id": 0, "eos_token_id": 2,
    }  # fmt: skip
    sizes = {
        "roberta": {"model_type": "roberta", **bert},
        "xlm-roberta": {"model_type": "xlm-roberta", **bert},
        "nllb": {
            "model_type": "m2m_100", **both, "d_model": _WIDTH, "encoder_layers": 2, "decoder_layers": 1,
            "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96,
            "max_position_embeddings": 1024, "scale_embedding": True, "is_encoder_decoder": True,
            "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2,
        },
        "mt5": {
            "model_type": "mt5", **both, "pad_token_id": 0, "d_model": _WIDTH, "d_kv": 32, "d_ff": 96, "num_layers": 2,
            "num_decoder_layers": 1, "num_heads": 2, "feed_forward_proj": "gated-gelu", "is_encoder_decoder": True,
            "eos_token_id": 1, "decoder_start_token_id": 0,
        },
    }  # fmt: skip
    return sizes[kind]


@contextmanager
def published(member: Member, root: Path) -> Iterator[str]:
    """Until the block ends, the member is in the hub's cache below `root`; the name that `--model` takes."""
    with pytest.MonkeyPatch.context() as patch:
        cache = root / "hub"
        _use_cache(cache, patch)
        config = _cut(member, cache)
        _register(member, config, root, patch)
        _cut_trunks(member, patch)
        _share_tokenizers(patch)
        yield _save_weights(member, root, cache)


def _use_cache(cache: Path, patch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "HF_HUB_OFFLINE", True)
    patch.setenv("HF_HUB_OFFLINE", "1")


def _snapshot(repo: str, cache: Path) -> Path:
    """The folder of a repository's files, as huggingface_hub keeps them."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True, exist_ok=True)
    return snapshot


def _note_missing(snapshot: Path, filename: str) -> None:
    """huggingface_hub remembers which files a repository lacks."""
    path = snapshot.parent.parent / ".no_exist" / COMMIT / filename
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def _cut(member: Member, cache: Path) -> dict[str, Any]:
    """The architecture's own config with small towers; its tokenizer and text config are put into the cache."""
    from clipcli.engines.openclip_registry import configs

    config: dict[str, Any] = json.loads(configs()[member.architecture].read_text(encoding="utf-8"))
    vision, text = config["vision_cfg"], config["text_cfg"]
    vision["image_size"] = member.image
    if isinstance(vision.get("layers"), list):
        vision.update(layers=[1, 1, 1, 1], width=16)
    elif "layers" in vision:
        vision.update(layers=2, width=2 * vision.get("head_width", 64))
    if vision.get("timm_proj") == "none":
        config["embed_dim"] = _WIDTH
    if "hf_model_name" not in text:
        text.update(width=_WIDTH, heads=2, layers=2)
    if "multimodal_cfg" in config:
        config["multimodal_cfg"].update(width=_WIDTH, heads=2, layers=1)
    if member.words:
        folder = _snapshot(text["hf_tokenizer_name"], cache)
        words = stand_in_tokenizers.save(member.words, folder)
        if "hf_model_name" in text:
            (folder / "config.json").write_text(json.dumps(text_tower(member.words, words)), encoding="utf-8")
        else:
            text["vocab_size"] = words
            _note_missing(folder, "config.json")
    return config


def _register(member: Member, config: dict[str, Any], root: Path, patch: pytest.MonkeyPatch) -> None:
    import open_clip.factory

    from clipcli.engines import openclip_registry

    path = root / f"{member.architecture}.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    patch.setitem(open_clip.factory._MODEL_CONFIGS, member.architecture, config)
    patch.setitem(openclip_registry.configs(), member.architecture, path)  # type: ignore[arg-type]


def _cut_trunks(member: Member, patch: pytest.MonkeyPatch) -> None:
    """Have timm make its models small: their sizes are no part of open_clip's config."""
    import timm

    make = timm.create_model
    sides = {} if "layers" in member.trunk or "dims" in member.trunk else {"img_size": member.image}

    def small(name: str, **options: Any) -> Any:
        return make(name, **{**options, **member.trunk, **sides})

    patch.setattr(timm, "create_model", small)


@cache
def _clips_tokenizer(*arguments: Any, **options: Any) -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(*arguments, **options)


def _share_tokenizers(patch: pytest.MonkeyPatch) -> None:
    """CLIP's own holds nothing of its model, and reads 49,408 words each time it is made."""
    import open_clip.factory

    patch.setattr(open_clip.factory, "SimpleTokenizer", _clips_tokenizer)


def _save_weights(member: Member, root: Path, cache: Path) -> str:
    import torch
    from safetensors.torch import save_file

    from clipcli.engines import openclip_registry

    weights = {name: value.contiguous().clone() for name, value in _random(member).state_dict().items()}
    if not member.tag:
        path = root / "checkpoint.safetensors"
        save_file(weights, path)
        return f"{member.architecture}@{path}"
    repo, filename = openclip_registry.repository(member.architecture, member.tag)
    folder = _snapshot(repo, cache)
    if filename:
        torch.save(weights, folder / filename)
    else:
        save_file(weights, folder / "open_clip_model.safetensors")
    return member.name


def _random(member: Member) -> Any:
    """The small model, its weights spread as training does: as initialised, it gives nearly equal vectors."""
    import open_clip
    import torch

    from clipcli.engines.openclip import quiet_open_clip

    torch.manual_seed(5)
    with quiet_open_clip():
        model = open_clip.create_model(member.architecture, load_weights=False, pretrained_text=False)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.copy_(1 + torch.rand_like(value))
            elif name == "logit_scale":
                value.fill_(4.6)
            elif value.is_floating_point() and value.ndim:
                value.add_(torch.randn_like(value) * (0.05 if value.ndim > 1 else 0.1))
    return model
