"""Weights that ship can be trained on: what is read back from the bundle is the model that was exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import open_clip
import pytest
import torch

from training.model import build
from training.reopen import image_tower, stored, text_weights

BUNDLE = Path(__file__).parent.parent.parent / "clipcli" / "bundled" / "tiny"
SIZE = json.loads((BUNDLE / "manifest.json").read_text(encoding="utf-8"))["info"]["preprocessing"]["image_size"][0]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build(SIZE).eval()


def run(file: Path, value: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: value.numpy()})[0]


def test_the_text_tower_says_what_the_bundle_says(model):
    model.load_state_dict(text_weights(stored(BUNDLE / "text.onnx"), model), strict=False)
    tokens = open_clip.SimpleTokenizer()(["a dog", "three red stars", "zyzzyva"])
    with torch.inference_mode():
        assert np.allclose(model.encode_text(tokens), run(BUNDLE / "text.onnx", tokens), atol=1e-4)


def test_norms_made_anew_change_nothing(model):
    image_tower(model.visual, stored(BUNDLE / "image.onnx"), torch.randn(64, 3, SIZE, SIZE))
    pixels = torch.randn(4, 3, SIZE, SIZE)
    with torch.inference_mode():
        assert np.allclose(model.encode_image(pixels), run(BUNDLE / "image.onnx", pixels), atol=1e-3)
    norms = [module for module in model.visual.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    assert all((norm.running_var != 1).any() for norm in norms)


def test_a_norm_in_training_keeps_what_its_statistics_say(model):
    """The same pictures through the norms' own statistics of them: training starts where the bundle ended."""
    pixels = torch.randn(64, 3, SIZE, SIZE)
    image_tower(model.visual, stored(BUNDLE / "image.onnx"), pixels)
    with torch.inference_mode():
        settled = model.encode_image(pixels, normalize=True)
        model.visual.train()
        trained = model.encode_image(pixels, normalize=True)
    model.visual.eval()
    assert (settled * trained).sum(-1).min() > 0.99
