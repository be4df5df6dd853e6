"""OpenCLIP models of every kind with random weights, a few hundred kilobytes each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

_VIT = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
_SIGLIP_STYLE = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "squash"}

CONFIGS: dict[str, dict[str, Any]] = {
    "clip": {"embed_dim": 48, "vision_cfg": _VIT, "text_cfg": _TEXT},
    "quickgelu": {"embed_dim": 48, "quick_gelu": True, "vision_cfg": _VIT, "text_cfg": _TEXT},
    "timm": {
        "embed_dim": 48,
        "vision_cfg": {"timm_model_name": "resnet10t", "timm_pool": "avg", "timm_proj": "linear", "image_size": 64},
        "text_cfg": _TEXT,
    },
    "siglip": {
        "embed_dim": 64,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 64,
            "timm_model_name": "test_vit",
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {
            **_TEXT,
            "context_length": 64,
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6},
        },
    },
    "coca": {
        "embed_dim": 48,
        "vision_cfg": {**_VIT, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": {**_TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {
            "context_length": 76,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 1,
            "attn_pooler_heads": 2,
        },
        "custom_text": True,
    },
}
PREPROCESSING = {"siglip": _SIGLIP_STYLE}


def register(name: str, config: Path, tags: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an architecture known, with its tags, as open_clip's own are; `config` is JSON as in its `model_configs`."""
    import open_clip.factory
    import open_clip.pretrained

    from clipcli.engines import openclip_registry

    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, json.loads(config.read_text(encoding="utf-8")))
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, tags)
    monkeypatch.setitem(openclip_registry.configs(), name, config)  # type: ignore[arg-type]
    monkeypatch.setitem(openclip_registry.tags(), name, tags)  # type: ignore[arg-type]


def save(kind: str, folder: Path, seed: int = 0) -> str:
    """Write a model of one kind as an OpenCLIP folder; its spec."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    from clipcli.engines.openclip import quiet_open_clip

    config = {"model_cfg": CONFIGS[kind], "preprocess_cfg": PREPROCESSING.get(kind, {})}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.manual_seed(seed)
    with quiet_open_clip():
        model = open_clip.create_model(f"local-dir:{folder}", pretrained_text=False)
    with torch.no_grad():
        # Random towers give nearly equal vectors; larger weights spread them, as training does.
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.add_(torch.randn_like(parameter) * 0.02)
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    return f"local-dir:{folder}"
