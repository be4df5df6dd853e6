from __future__ import annotations

import pytest
import torch

from training import features
from training.tail import Tail

timm = pytest.importorskip("timm")


@pytest.fixture(scope="module")
def tower():
    torch.manual_seed(0)
    made = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    for name, values in made.named_buffers():
        if name.endswith("running_mean"):
            values.normal_(0, 0.1)
    return made


@pytest.mark.thorough
def test_it_computes_what_the_tower_does_and_gives_back_what_it_learnt(tower):
    maps = torch.rand(2, 112, 15, 15)
    tail = Tail(tower)
    with torch.inference_mode():
        before = features.tail_of(tower)(maps)
        assert torch.allclose(tail(maps), before, atol=1e-4)
    for value in tail.parameters():
        value.data += 0.01 * torch.randn_like(value)
    tail.write_into(tower)
    with torch.inference_mode():
        after = features.tail_of(tower)(maps)
        assert torch.allclose(tail(maps), after, atol=1e-4)
    assert not torch.allclose(before, after, atol=1e-2)


@pytest.mark.thorough
def test_only_depthwise_kernels_stay(tower):
    fixed = [name for name, value in Tail(tower).named_parameters() if not value.requires_grad]
    assert fixed
    assert all(name.endswith("around.weight") for name in fixed)
