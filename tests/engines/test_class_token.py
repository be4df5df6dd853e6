"""The image tower that leaves out what cannot reach the embedding, beside open_clip's own."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import torch
from open_clip.model import CLIP

from clipcli.engines.openclip_towers import ClassTokenTower, WholeTower, image_tower

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "patch_size": 8, "width": 64, "head_width": 16, "layers": 3}
OTHERS = sorted(set(tiny_models.ARCHITECTURES) - {"plain", "quickgelu"})


def features(tower: torch.nn.Module, count: int = 5) -> np.ndarray:
    pixels = torch.from_numpy(np.random.default_rng(4).standard_normal((count, 3, 32, 32)).astype(np.float32))
    with torch.inference_mode():
        return tower(pixels).numpy()


@pytest.mark.parametrize(
    "changes",
    [{}, {"layers": 1}, {"no_ln_pre": True}, {"final_ln_after_pool": True}, {"ls_init_value": 0.1}],
    ids=lambda changes: ", ".join(changes) or "plain",
)
@pytest.mark.parametrize("quick_gelu", [False, True])
def test_the_class_token_has_the_same_embedding(changes: dict[str, object], quick_gelu: bool):
    torch.manual_seed(1)
    model = CLIP(24, {**VISION, **changes}, TEXT, quick_gelu=quick_gelu).eval()
    ours = image_tower(model)
    assert isinstance(ours, ClassTokenTower)
    whole = features(WholeTower(model))
    assert np.abs(whole).max() > 0.1
    np.testing.assert_allclose(features(ours), whole, atol=2e-6 * np.abs(whole).max())


@pytest.mark.parametrize(
    "changes",
    [{"pool_type": "avg"}, {"attentional_pool": True, "attn_pooler_heads": 2}, {"output_tokens": True}],
    ids=", ".join,
)
def test_other_ends_are_run_whole(changes: dict[str, object]):
    model = CLIP(24, {**VISION, **changes}, TEXT).eval()
    assert isinstance(image_tower(model), WholeTower)
    assert features(image_tower(model)).shape == (5, 24)


@pytest.mark.parametrize("kind", OTHERS)
def test_other_architectures_are_run_whole(kind: str):
    assert isinstance(image_tower(tiny_models.build(kind).model), WholeTower)
