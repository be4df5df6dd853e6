from __future__ import annotations

import json

import pytest
import torch

from training.model import build, config, write
from training.texts import encode, mixed


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build(64).eval()


def test_texts_cut_short_have_the_same_vectors(model):
    import open_clip

    tokens = open_clip.SimpleTokenizer()(["a dog", "three red stars on a table"])
    with torch.inference_mode():
        assert torch.allclose(encode(model, tokens), model.encode_text(tokens, normalize=True), atol=1e-5)


def test_a_written_model_is_an_ordinary_openclip_model(model, tmp_path):
    import open_clip

    folder = tmp_path / "latest"
    write(model.state_dict(), 64, folder)
    write(model.state_dict(), 64, folder)
    assert json.loads((folder / "open_clip_config.json").read_text()) == config(64)
    loaded, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded.eval().encode_image(pixels), model.encode_image(pixels))


def test_mixes_sum_to_one():
    table = mixed([{0: 2.0, 3: 2.0}, {1: 0.1}], 4)
    assert table.tolist() == [[0.5, 0, 0, 0.5], [0, 1, 0, 0]]
