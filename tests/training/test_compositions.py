from __future__ import annotations

import random

import pytest

from training.compositions import Compositions
from training.concepts import Concepts
from training.phrases import Phrase

CAR, DOG, BEAR = 60, 61, 62


@pytest.fixture
def said() -> list[Phrase]:
    names = {"car": CAR, "dog": DOG, "bear": BEAR, "black bear": 63, "black cat": 64}
    phrases = [Phrase(text, {index: 2.0}) for text, index in names.items()]
    combined = Compositions(phrases, Concepts(), random.Random(0))  # noqa: S311 - the order of phrases is no secret
    return [combined(phrase) for phrase in phrases * 2000]


def of(said: list[Phrase], text: str) -> Phrase:
    (found,) = {phrase.text: phrase for phrase in said if phrase.text == text}.values()
    return found


def test_most_phrases_stay_as_they_are(said):
    names = {"car", "dog", "bear", "black bear", "black cat"}
    assert 0.75 < sum(phrase.text in names for phrase in said) / len(said) < 0.9


def test_a_red_car_is_a_car_with_some_red(said):
    red = Concepts().index["colour:red"]
    mix = of(said, "red car").mix
    assert set(mix) == {CAR, red}
    assert mix[CAR] == pytest.approx(1)
    assert 0 < mix[red] < 0.5


def test_several_of_a_thing(said):
    two = Concepts().index["count:two"]
    phrase = of(said, "two dogs")
    assert set(phrase.mix) == {DOG, two}
    assert not phrase.wordings


def test_qualities_mean_the_thing(said):
    assert of(said, "old car").mix == {CAR: 2.0}


def test_two_things(said):
    assert of(said, "a car and a dog").mix == pytest.approx({CAR: 1, DOG: 1})
    placed = [phrase for phrase in said if phrase.text.startswith("dog ") and phrase.text.endswith(" a car")]
    assert placed
    assert all(phrase.mix[DOG] > phrase.mix[CAR] > 0 for phrase in placed)


def test_names_keep_their_meaning(said):
    assert of(said, "black bear").mix == {63: 2.0}
    assert not any(phrase.text.endswith(("red black bear", "white black cat")) for phrase in said)
