from __future__ import annotations

import json

import pytest
import torch

from training import texts
from training.concepts import Concepts
from training.model import build, config, write
from training.texts import encode, mixed, said


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


def test_concepts_get_what_the_texts_say_and_families_stay(model, monkeypatch):
    import open_clip

    monkeypatch.setattr(texts, "WORDINGS", ["{}", "a photo of a {}."])

    concepts = Concepts()
    dog, twin = concepts.add("dog", "a set"), concepts.add("dog (emoji u1f415)", "emoji")
    kept = torch.nn.functional.normalize(torch.randn(len(concepts.names), 256), dim=-1)
    rows, names = said(model, concepts, kept)
    assert torch.equal(rows[:dog], kept[:dog])
    assert torch.allclose(rows[dog], rows[twin], atol=1e-6)
    tokens = open_clip.SimpleTokenizer()([text.replace("{}", "dog") for text in texts.WORDINGS])
    expected = torch.nn.functional.normalize(encode(model, tokens).mean(0), dim=-1)
    assert torch.allclose(rows[dog], expected, atol=1e-5)
    assert names.shape == (1000, 256)
