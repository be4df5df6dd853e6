from __future__ import annotations

import numpy as np
import pytest
import torch

from training import material as pictures
from training import space
from training.material import Material
from training.rows import Row
from training.space import Space, discriminant
from training.vocabulary import Vocabulary

NUMBERS = 520


@pytest.fixture(scope="module")
def material() -> Material:
    """Two sets of three classes in 520 numbers: class 0 of the first set is also class 7 of the classifier."""
    torch.manual_seed(0)
    words = Vocabulary([f"class {number}" for number in range(1000)])
    words.meanings = {name: [number] for number, name in enumerate(words.concepts)}
    names = ["class 7", "apple", "pear", "oak", "beech", "elm"]
    numbers = [words.number(name) for name in names]
    centres = torch.rand(6, NUMBERS) * 2
    rows, labels, values = [], [], []
    for at in range(120):
        kind = at % 6
        rows.append(Row("a.zip", f"{at}.jpg", "fruit" if kind < 3 else "trees", (names[kind],), held_out=at % 10 == 9))
        labels.append([numbers[kind]])
        values.append((centres[kind] + torch.randn(NUMBERS) * 0.5).clamp(0, 6))
    classifier = torch.randn(1000, NUMBERS) * 0.05
    return Material(rows, torch.stack(values)[None].half(), labels, classifier, torch.zeros(1000), words)


def test_the_closed_form_parts_the_classes_of_kept_out_pictures(material):
    made = Space(*discriminant(material))
    with torch.inference_mode():
        cosines = made.vectors(material.features) @ made.concepts.T
    cosines = cosines.masked_fill(~material.fine_choices[material.set_of], -1)
    kept_out = ~material.training
    assert (cosines.argmax(1) == material.fine)[kept_out].all()
    assert made.concepts[: space.IMAGENET].norm(dim=1).min() > 0.99


def test_pictures_that_are_kept_out_are_never_drawn(material):
    weights = material.weights()
    assert weights[~material.training.numpy()].sum() == 0
    assert weights.sum() == pytest.approx(1)


@pytest.mark.thorough
def test_names_that_may_mean_the_same_never_compete(material):
    number = material.words.meanings["apple"][0]
    words = Vocabulary([*material.words.concepts, "apple pie", "fruit"])
    words.meanings = {name: [at] for at, name in enumerate(words.concepts)}
    words.kinds = {"fruit": [number]}
    related, alike = pictures.related(words), pictures.alike(words)
    assert related[number, words.meanings["apple pie"][0]]
    assert related[number, words.meanings["fruit"][0]]
    assert not related[number, material.words.meanings["oak"][0]]
    assert (related == related.T).all()
    assert alike[number, words.meanings["fruit"][0]]
    assert not alike[number, words.meanings["apple pie"][0]]


def test_moved_features_are_taken_for_the_drawn_class_and_polishing_runs(material, monkeypatch):
    monkeypatch.setattr(space, "MOVED", 64)
    monkeypatch.setattr(space, "MOVED_BATCH", 8)
    values, opinion = space.moved(material, np.random.default_rng(0))
    assert values.min() >= 0
    assert values.max() <= 6
    assert (opinion.argmax(1) == torch.arange(64)).float().mean() > 0.9
    made = Space(*discriminant(material))
    before = made.concepts.detach().clone()
    space.polish(made, material, 3, seed=0)
    assert torch.isfinite(made.concepts).all()
    assert not torch.equal(made.concepts, before)
