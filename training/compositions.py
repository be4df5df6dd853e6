"""Phrases of more than one meaning: "red car", "two dogs", "old car", "dog and ball", "cat on a sofa".

People type these although no set of pictures has them as names. Each is the thing itself, with something of what was
added: the thing must stay by far the nearest, so that "a red car" is first of all a car.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from training.phrases import Phrase, article
from training.words import plural

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from training.concepts import Concepts

SHARE = 0.2  # of the phrases about things are said in combination
COLOUR_WEIGHT = 0.35
COUNT_WEIGHT = 0.3
PLACE_WEIGHT = 0.5
LONGEST = 3  # words; longer names are not combined
QUALITIES = ["big", "large", "small", "little", "old", "new", "young", "beautiful", "nice", "pretty", "cute", "ugly"]
QUALITIES += ["happy", "sad", "real", "toy", "wild", "single", "wooden", "plastic", "colourful", "colorful", "simple"]
QUALITIES += ["tall", "long", "round", "broken", "clean", "dirty", "wet", "sleeping", "running", "standing", "sitting"]
PREPOSITIONS = ["on", "in", "with", "near", "next to", "in front of", "behind", "under", "beside"]


class Compositions:
    """Says some phrases together with a quality, a colour, a number or another thing."""

    def __init__(self, phrases: Iterable[Phrase], concepts: Concepts, rng: random.Random) -> None:
        known = list(phrases)
        self.taken = {phrase.text for phrase in known}  # "black bear" is a name: no bear that happens to be black
        self.things = [phrase for phrase in known if self._fits(phrase)]
        self.shares = [phrase.share for phrase in self.things]
        self.colours, self.counts = concepts.family("colour"), concepts.family("count")
        self.rng = rng
        self.ways: list[Callable[[Phrase], Phrase]] = [
            self._coloured,
            self._coloured,
            self._qualified,
            self._counted,
            self._beside,
        ]

    def __call__(self, phrase: Phrase) -> Phrase:
        """The phrase, or now and then a combination with it."""
        if self.rng.random() >= SHARE or not self._fits(phrase):
            return phrase
        made = self.rng.choice(self.ways)(phrase)
        return phrase if made.text in self.taken else made

    @staticmethod
    def _fits(phrase: Phrase) -> bool:
        words = phrase.text.split()
        return phrase.wordings and len(words) <= LONGEST and not re.search(r"\d|^(?:a|an|the|flag|of)$", words[0])

    def _coloured(self, phrase: Phrase) -> Phrase:
        """The thing in a colour, unless it has one."""
        if set(phrase.text.split()) & set(self.colours):
            return phrase
        colour = self.rng.choice(list(self.colours))
        return Phrase(f"{colour} {phrase.text}", _with(phrase, {self.colours[colour]: 1.0}, COLOUR_WEIGHT))

    def _qualified(self, phrase: Phrase) -> Phrase:
        """The thing with a quality that no picture was labelled with: it means the thing."""
        return Phrase(f"{self.rng.choice(QUALITIES)} {phrase.text}", phrase.mix)

    def _counted(self, phrase: Phrase) -> Phrase:
        """Several of the thing."""
        count = self.rng.choice(list(self.counts)[1:])
        mix = _with(phrase, {self.counts[count]: 1.0}, COUNT_WEIGHT)
        return Phrase(f"{count} {plural(phrase.text)}", mix, wordings=False)

    def _beside(self, phrase: Phrase) -> Phrase:
        """Two things that are named together, or one at another."""
        (other,) = self.rng.choices(self.things, self.shares)
        if self.rng.random() < 1 / 2:
            text = f"{article(phrase.text)} and {article(other.text)}"
            return Phrase(text, _with(phrase, other.mix, 1.0), wordings=False)
        text = f"{phrase.text} {self.rng.choice(PREPOSITIONS)} {article(other.text)}"
        return Phrase(text, _with(phrase, other.mix, PLACE_WEIGHT))


def _with(phrase: Phrase, other: dict[int, float], weight: float) -> dict[int, float]:
    """The mix of a phrase, with `weight` times as much of another."""
    own, added = sum(phrase.mix.values()), sum(other.values())
    mix = {index: share / own for index, share in phrase.mix.items()}
    for index, share in other.items():
        mix[index] = mix.get(index, 0.0) + weight * share / added
    return mix
