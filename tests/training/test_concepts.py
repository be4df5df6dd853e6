from __future__ import annotations

import numpy as np
import pytest

from training.concepts import COLUMNS, Concepts, labels_of, related, rivals, split_style
from training.sources import Emoji, Picture


def picture(source, label):
    return Picture(source, f"{label}/1.jpg", label, held_out=False)


@pytest.fixture
def concepts():
    made = Concepts()
    rows = [("cifar10", "dog"), ("cifar10", "truck"), ("tiny_imagenet", "Chihuahua dog"), ("tiny_imagenet", "banana")]
    labels_of(made, [picture(*row) for row in rows])
    return made


def may_compete(concepts, first, second):
    return bool(rivals(concepts)[concepts.index[first], concepts.index[second]])


def test_styles_are_split_from_objects():
    assert split_style("sketch of an elephant") == ("elephant", "sketch")
    assert split_style("black silhouette of a dog") == ("dog", "silhouette")
    assert split_style("dog") == ("dog", None)


def test_synonyms_of_two_sets_become_one_concept():
    made = Concepts()
    named = [("cifar10", "automobile"), ("other", "car"), ("pacs", "cartoon of a dog")]
    rows = labels_of(made, [picture(*row) for row in named])
    assert rows[0, 0] == rows[1, 0]
    assert rows.shape == (3, COLUMNS)
    assert made.names[rows[2, 1]] == "style:cartoon"
    assert rows[1, 1] == -1


def test_names_of_one_set_compete_even_if_they_share_a_word(concepts):
    labels_of(concepts, [picture("tiny_imagenet", "poodle dog")])
    assert may_compete(concepts, "poodle dog", "chihuahua dog")


def test_related_names_of_two_sets_do_not_compete(concepts):
    assert not may_compete(concepts, "dog", "chihuahua dog")
    assert not may_compete(concepts, "chihuahua dog", "dog")


def test_unrelated_names_of_two_sets_compete(concepts):
    assert may_compete(concepts, "truck", "banana")


def test_families_never_mix(concepts):
    assert may_compete(concepts, "colour:red", "colour:blue")
    assert not may_compete(concepts, "colour:red", "shape:star")
    assert not may_compete(concepts, "dog", "style:photo")


def test_every_concept_is_its_own_rival_and_the_relation_is_mutual(concepts):
    table = rivals(concepts)
    assert table.diagonal().all()
    assert np.array_equal(related(concepts), related(concepts).T)


def test_coarse_names_stand_above_fine_ones():
    made = Concepts()
    labels_of(made, [picture("grocery", "apple/royal gala"), picture("grocery", "leek/leek")])
    assert made.coarse == {"apple": {"royal gala"}}
    assert "royal gala" in made.kinds["apple"]


def test_a_pictogram_joins_the_object_of_its_name(concepts):
    dog = concepts.of_emoji(Emoji("emoji_1.png", "dog", ()))
    assert dog == concepts.index["dog"]
    again = concepts.of_emoji(Emoji("emoji_2.png", "dog", ()))
    assert again != dog
    flag = concepts.add("flag of peru", "flags")
    assert concepts.of_emoji(Emoji("emoji_3.png", "flag peru", ())) == flag
