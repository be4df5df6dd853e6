from __future__ import annotations

import random

import pytest

from training.concepts import Concepts, labels_of
from training.phrases import Phrase, Wording, all_phrases, article
from training.sources import Emoji, Picture


@pytest.fixture
def world():
    concepts = Concepts()
    names = ["dog", "Chihuahua dog", "banana"]
    labels_of(concepts, [Picture("tiny_imagenet", "a", name, held_out=False) for name in names])
    emoji = [Emoji("1.png", "crab", ("zodiac", "animal")), Emoji("2.png", "bull", ("zodiac",))]
    labels = [concepts.of_emoji(row) for row in emoji]
    counts = [10] * len(concepts.names)
    return concepts, {phrase.text: phrase for phrase in all_phrases(concepts, counts, emoji, labels)}


def test_synonyms_stand_for_the_same_as_the_name(world):
    concepts, phrases = world
    dog = phrases["dog"].mix
    assert max(dog, key=dog.get) == concepts.index["dog"]
    assert phrases["hound"].mix == phrases["puppy"].mix
    assert concepts.index["dog"] in phrases["puppy"].mix


def test_kinds_stand_for_their_members(world):
    concepts, phrases = world
    assert concepts.index["banana"] in phrases["fruit"].mix
    assert concepts.index["chihuahua dog"] in phrases["animal"].mix
    assert concepts.index["dog"] in phrases["mammal"].mix


def test_keywords_stand_for_all_that_carry_them(world):
    concepts, phrases = world
    assert phrases["zodiac"].mix == {concepts.index["crab"]: 0.5, concepts.index["ox"]: 0.5}


def test_drawn_shapes_have_count_colour_and_shape(world):
    concepts, phrases = world
    wanted = {"shape:star", "colour:red", "count:three"}
    assert {concepts.names[i] for i in phrases["three red stars"].mix} == wanted
    assert "gray star" in phrases


def test_every_mix_is_positive(world):
    _, phrases = world
    assert all(phrase.mix and min(phrase.mix.values()) > 0 for phrase in phrases.values())


def test_wordings_are_many_and_repeatable(world):
    concepts, phrases = world
    styles = {"sketch": 0, "cartoon": 1, "painting": 2, "pictogram": 3, "silhouette": 4}

    def texts(seed):
        wording = Wording(["a photo of a {}."], random.Random(seed))  # noqa: S311 - the order of wordings is no secret
        return [wording(phrases["dog"], styles)[0] for _ in range(300)]

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)
    assert {"dog", "a photo of a dog."} <= set(texts(1))
    assert all("dog" in text for text in texts(1))
    assert concepts.index["dog"] not in styles.values()


def test_a_style_is_added_to_the_object():
    wording = Wording([], random.Random(0))  # noqa: S311 - the order of wordings is no secret
    phrase = Phrase("owl", {50: 1.0})
    styles = dict.fromkeys(["sketch", "cartoon", "painting", "pictogram", "silhouette"], 7)
    mixes = dict(wording(phrase, styles) for _ in range(400))
    sketches = [mix for text, mix in mixes.items() if text.startswith("a sketch of")]
    assert sketches
    assert all(set(mix) == {50, 7} and mix[7] < mix[50] for mix in sketches)


def test_articles():
    assert article("owl") == "an owl"
    assert article("dog") == "a dog"
