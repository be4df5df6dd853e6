"""Random models of every kind of architecture that a bundle must cover, small enough to export in seconds."""

from __future__ import annotations

from typing import Any

import torch
from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.tokenizer import SimpleTokenizer

from clipcli.core.encoder import ModelInfo, Preprocessing, Scoring
from clipcli.engines.openclip import OpenClipEncoder
from clipcli.engines.openclip_towers import causal_tower
from clipcli.engines.torch_devices import Streams

DIM = 64
_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
_VIT = {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 1}


def _plain() -> Any:
    return CLIP(DIM, _VIT, _TEXT)


def _quickgelu() -> Any:
    return CLIP(DIM, _VIT, _TEXT, quick_gelu=True)


def _timm() -> Any:
    vision = {"timm_model_name": "mobilenetv2_050", "timm_proj": "linear", "image_size": 64}
    return CLIP(DIM, vision, _TEXT)


def _siglip() -> Any:
    vision = {"timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": "none", "image_size": 160}
    text = {
        **_TEXT, "context_length": 64, "no_causal_mask": True, "pool_type": "last", "proj_bias": True,
        "norm_kwargs": {"eps": 1e-6},
    }  # fmt: skip
    return CustomTextCLIP(DIM, vision, text, init_logit_bias=-10.0)


def _coca() -> Any:
    vision = {**_VIT, "attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 8, "output_tokens": True}
    text = {**_TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True}
    decoder = {"context_length": 76, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    return CoCa(DIM, decoder, text, vision)


def _resnet() -> Any:
    return CLIP(DIM, {"image_size": 64, "layers": (1, 1, 1, 1), "width": 16, "head_width": 64}, _TEXT)


ARCHITECTURES = {
    "plain": _plain,
    "quickgelu": _quickgelu,
    "timm": _timm,
    "siglip": _siglip,
    "coca": _coca,
    "resnet": _resnet,
}


def build(kind: str) -> OpenClipEncoder:
    """A random model, the same one every time, as the open_clip engine would hold it."""
    torch.manual_seed(7)
    model = ARCHITECTURES[kind]().eval()
    with torch.no_grad():
        # As initialised, these two are so small that nothing behind them would be tested.
        for name, weight in model.named_parameters():
            if "positional_embedding" in name or "cls_emb" in name:
                weight.normal_(std=0.5)
        if kind == "plain":
            # As in a model that was trained from scratch on few words: what it never met has one vector.
            model.token_embedding.weight[10_000:40_000] = model.token_embedding.weight[0]
    tower = getattr(model, "text", model)
    return OpenClipEncoder(
        model=model,
        tokenizer=SimpleTokenizer(context_length=tower.context_length),
        info=ModelInfo(
            name=f"random-{kind}",
            fingerprint="0123456789ab",
            dim=DIM,
            preprocessing=Preprocessing(_size(model), (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)),
            context_length=tower.context_length,
            causal_text=causal_tower(model),
        ),
        scoring=Scoring(14.3, -10.0, "sigmoid") if kind == "siglip" else Scoring(14.3),
        device="cpu",
        precision="fp32",
        streams=Streams("cpu"),
    )


def _size(model: Any) -> tuple[int, int]:
    size = model.visual.image_size
    return (size, size) if isinstance(size, int) else (size[0], size[1])
