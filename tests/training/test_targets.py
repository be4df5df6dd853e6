from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from training import targets
from training.targets import KINDS, NAMES, OTHER_NAMES, OTHERS, PLURALS, Meanings
from training.vocabulary import Vocabulary


def sentences(texts, _work):
    """Words as directions; "puppy" lies beside "dog", "qwerty" beside nothing."""
    torch.manual_seed(0)
    axes = dict(zip(["cat", "dog", "car", "animal", "qwerty"], torch.eye(384), strict=False))
    table = {"puppy": normalize(axes["dog"] + 0.2 * axes["animal"], dim=0), "kitty": axes["cat"]}
    return torch.stack([table.get(text, axes.get(text.rstrip("s"), axes["qwerty"])) for text in texts])


def test_every_text_gets_the_vector_of_what_it_means(tmp_path, monkeypatch):
    monkeypatch.setattr(targets, "sentence_vectors", sentences)
    words = Vocabulary(["cat", "dog", "car"])
    words.meanings = {"cat": [0], "dog": [1], "car": [2], "kitty": [0]}
    words.kinds = {"animal": [0, 1]}
    words.others = ["puppy", "qwerty"]
    concepts = torch.eye(512)[:3]
    made = targets.build(words, concepts, set(), tmp_path)
    of = dict(zip(made.texts, made.vectors @ concepts.T, strict=True))
    group = dict(zip(made.texts, made.groups.tolist(), strict=True))
    assert of["cat"][0] > 0.999
    assert torch.equal(of["kitty"], of["cat"])
    assert torch.equal(of["dogs"], of["dog"])
    assert of["animal"][:2].min() > of["animal"][2] + 0.3
    assert of["puppy"].argmax() == 1
    assert of["qwerty"].max() < of["puppy"].max()
    assert [group[text] for text in ("cat", "kitty", "animal", "dogs", "puppy")] == [
        NAMES, OTHER_NAMES, KINDS, PLURALS, OTHERS,
    ]  # fmt: skip


def test_the_map_gives_back_what_it_learnt():
    known = normalize(torch.randn(20, 384, generator=torch.Generator().manual_seed(1)), dim=1)
    concepts = normalize(torch.randn(20, 512, generator=torch.Generator().manual_seed(2)), dim=1)
    assert ((Meanings(known, concepts)(known) @ concepts.T).argmax(1) == torch.arange(20)).all()


def test_sentence_vectors_are_kept_for_the_next_run(tmp_path, monkeypatch):
    monkeypatch.setattr(targets, "_Encoder", lambda _folder: lambda texts: np.eye(384, dtype=np.float16)[: len(texts)])
    made = targets.sentence_vectors(["cat", "dog"], tmp_path)
    monkeypatch.setattr(targets, "_Encoder", lambda _folder: pytest.fail("encoded again"))
    assert torch.equal(targets.sentence_vectors(["dog", "cat"], tmp_path), made.flip(0))
