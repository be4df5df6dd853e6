from __future__ import annotations

import numpy as np
import pytest
import torch

from training import text_tower
from training.text_tower import END, START, TextTower, config, encode_all, padded

TEXTS = [[START, 320, 1125, END], [START, 1929, END], [START, 320, 1125, 539, 320, 1929, 267, 518, 736, END]]


@pytest.fixture(scope="module")
def tower() -> TextTower:
    torch.manual_seed(0)
    made = TextTower().eval()
    made.tokens.weight.data.normal_()
    return made


@pytest.mark.thorough
def test_it_gives_what_openclip_gives_with_its_weights(tower):
    import open_clip

    described = config(32, [0.5] * 3, [0.5] * 3)["model_cfg"]
    model = open_clip.CLIP(
        described["embed_dim"], {"layers": 1, "width": 64, "patch_size": 32, "image_size": 32}, described["text_cfg"]
    ).eval()
    state = tower.openclip_state()
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.startswith("visual.") or name == "logit_scale" for name in missing)
    tokens = torch.zeros(len(TEXTS), text_tower.CONTEXT, dtype=torch.long)
    for row, text in enumerate(TEXTS):
        tokens[row, : len(text)] = torch.tensor(text)
    with torch.inference_mode():
        assert torch.allclose(tower(*padded(TEXTS)), model.encode_text(tokens, normalize=True), atol=1e-5)


def test_padding_and_order_change_nothing(tower):
    together = encode_all(tower, TEXTS, batch=2)
    for text, vector in zip(TEXTS, together, strict=True):
        assert torch.allclose(encode_all(tower, [text])[0], vector, atol=1e-5)


@pytest.mark.thorough
def test_words_that_no_text_used_or_that_say_little_all_mean_the_same():
    made = TextTower()
    made.tokens.weight.data.normal_()
    used = torch.zeros(text_tower.VOCABULARY, dtype=torch.bool)
    used[[1125, 1929, START, END]] = True
    made.tokens.weight.data[START] = made.tokens.weight.data[[1125, 1929, END]].mean(0)
    before = made.tokens.weight.data.clone()
    made.share_rows(used, rows=3)
    table = made.tokens.weight.data
    assert len(torch.unique(table, dim=0)) == 4
    assert torch.equal(table[0], table[START])
    assert torch.equal(table[1125], before[1125])


def test_it_starts_with_texts_near_the_mean_of_their_words():
    torch.manual_seed(1)
    words = torch.nn.functional.normalize(torch.randn(6, text_tower.WIDTH), dim=1)
    ids = [[1000 + a, 1000 + b] for a in range(6) for b in range(6) if a != b] + [[1000 + a] for a in range(6)]
    wanted = torch.stack([words[[token - 1000 for token in text]].mean(0) for text in ids])
    made = TextTower()
    made.start_from_words(ids, wanted, np.ones(len(ids)))
    table = made.widen(made.tokens.weight[1000:1006]).detach()
    centred = words - wanted.mean(0)
    assert (torch.nn.functional.cosine_similarity(table, centred) > 0.95).all()
