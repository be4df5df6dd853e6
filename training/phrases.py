"""What people write, and which concepts it stands for: names, plurals, synonyms, kinds, keywords, in many wordings."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.concepts import COLOURS, COUNTS, SHAPES, split_style
from training.words import clean, members, plural, synonyms

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

    from training.concepts import Concepts
    from training.sources import Emoji

Mix = dict[int, float]  # concept → weight
MOST_SHOWN = 60  # keywords that more pictograms carry than this say too little
COLOUR_WORDS = {"grey": "gray", "turquoise": "cyan", "purple": "violet"}
SHAPE_WORDS = {"oval": "ellipse", "cross": "plus sign", "ring": "hoop", "crescent": "crescent moon shape"}
STYLE_WORDINGS = {
    "sketch": [
        "a sketch of {}",
        "a pencil drawing of {}",
        "a line drawing of {}",
        "an outline drawing of {}",
        "a drawing of {}",
    ],
    "cartoon": ["a cartoon of {}", "a cartoon {}", "clip art of {}", "an illustration of {}", "a comic of {}"],
    "painting": ["a painting of {}", "an oil painting of {}", "a watercolour of {}", "art of {}"],
    "pictogram": ["a pictogram of {}", "an icon of {}", "an emoji of {}", "the {} emoji", "a {} icon", "a {} symbol"],
    "silhouette": ["a black silhouette of {}", "a silhouette of {}", "the shadow shape of {}"],
}
STYLE_WEIGHT = 0.35
OWN_CLASS = 3.0  # how much a kind's own class weighs against all of its members together
PLAIN = [
    "{}",
    "{}",
    "{}",
    "a {}",
    "an image of {}",
    "a photo of {}",
    "a photo of a {}",
    "a picture of {}",
    "the {}",
    "one {}",
]
PLAIN += [
    "a close-up of {}",
    "a blurry photo of {}",
    "a good photo of {}",
    "a small {}",
    "this is {}",
    "there is {} here",
]


@dataclass(frozen=True)
class Phrase:
    """A name as written, what it stands for, and whether it may be counted ("a dog", "dogs")."""

    text: str
    mix: Mix
    share: float = 1.0  # how often it is drawn
    wordings: bool = True  # whether templates fit it


def article(text: str) -> str:
    """A name with its article."""
    return ("an " if re.match(r"[aeiou]", text) else "a ") + text


def object_phrases(concepts: Concepts) -> list[Phrase]:
    """Every class by its own name and by its synonyms."""
    others = synonyms()
    found = []
    for name, index in concepts.index.items():
        if ":" in name:
            continue
        plain = re.sub(r" \(emoji.*\)$", "", name)
        spellings = {plain, *others.get(plain, [])}
        found += [Phrase(text, {index: 1.0}, 3.0 if text == plain else 1.0) for text in sorted(spellings)]
    return found


def kind_phrases(concepts: Concepts, counts: Sequence[int]) -> list[Phrase]:
    """Kinds: what is below them, with the class of the same name if there is one.

    A kind from the word list leans on its own class; a coarse name from a set weighs its pictures as they are.
    """
    found = []
    for kind in sorted(concepts.kinds):
        below = {concepts.canonical(name) for name in members(kind, concepts.kinds)}
        known = sorted(concepts.index[name] for name in below if name in concepts.index)
        own = concepts.index.get(concepts.canonical(kind))
        if not known:
            continue
        mix = dict.fromkeys(known, 1.0 / len(known))
        if own is not None:
            mix[own] = OWN_CLASS
        if kind in concepts.coarse:
            every = {concepts.index[name] for name in concepts.coarse[kind]} | set(mix)
            mix = {index: counts[index] / 25 for index in every}
        texts = {kind, *(synonyms().get(kind, []))}
        found += [Phrase(text, mix, 3.0) for text in sorted(texts)]
    return found


def keyword_phrases(concepts: Concepts, pictograms: Iterable[Emoji], labels: Iterable[int]) -> list[Phrase]:
    """Keywords of the pictograms: the mean of all that carry them."""
    carriers: dict[str, Counter[int]] = {}
    for emoji, index in zip(pictograms, labels, strict=True):
        for word in {clean(word) for word in emoji.keywords} - {clean(emoji.name), ""}:
            carriers.setdefault(word, Counter())[index] += 1
    taken = set(concepts.index) | set(concepts.aliases) | set(concepts.kinds)
    found = []
    for word, counts in sorted(carriers.items()):
        if word not in taken and len(counts) <= MOST_SHOWN:
            found.append(Phrase(word, {index: 1.0 / len(counts) for index in counts}, 0.4))
    return found


def shape_phrases(concepts: Concepts) -> list[Phrase]:
    """Phrases such as "red circle", "three blue stars", "the colour red", "five shapes"."""
    index = concepts.index
    found = []
    for shape in SHAPES:
        for name in filter(None, (shape, SHAPE_WORDS.get(shape))):
            base = {index[f"shape:{shape}"]: 1.0}
            if name not in index:
                found.append(Phrase(name, base, 2.0))
            for colour in COLOURS:
                mix = base | {index[f"colour:{colour}"]: 1.0}
                own = index.get(f"{colour} {shape}")
                mix |= {} if own is None else {own: 1.5}
                found += [
                    Phrase(f"{word} {name}", mix, 0.5) for word in filter(None, (colour, COLOUR_WORDS.get(colour)))
                ]
                counted = [(n, mix | {index[f"count:{n}"]: 1.0}) for n in COUNTS[1:]]
                found += [Phrase(f"{n} {colour} {plural(name)}", m, 0.06, wordings=False) for n, m in counted]
            for n in COUNTS[1:]:
                found.append(Phrase(f"{n} {plural(name)}", base | {index[f"count:{n}"]: 1.0}, 0.3, wordings=False))
    for colour in COLOURS:
        mix = {index[f"colour:{colour}"]: 1.0}
        found += [
            Phrase(t, mix, 1.0, wordings=False)
            for t in (f"the colour {colour}", f"the color {colour}", f"{colour} colour")
        ]
        found += [Phrase(f"something {colour}", mix, 1.0, wordings=False)]
        if colour not in index:
            found.append(Phrase(colour, mix, 2.0))
    for n in COUNTS:
        found += [
            Phrase(f"{n} {t}", {index[f"count:{n}"]: 1.0}, 1.0, wordings=False) for t in ("shapes", "things", "objects")
        ]
    return found


def style_phrases(concepts: Concepts) -> list[Phrase]:
    """The styles on their own."""
    names = {
        "photo": ["photo", "photograph", "real photo"],
        "sketch": ["sketch", "drawing", "pencil drawing", "line drawing"],
        "cartoon": ["cartoon", "comic", "clip art"],
        "painting": ["painting", "art", "artwork", "oil painting"],
        "pictogram": ["pictogram", "icon", "emoji"],
        "silhouette": ["silhouette"],
    }
    mixes = {style: {concepts.index[f"style:{style}"]: 1.0} for style in names}
    return [
        Phrase(text, mixes[style], 1.5)
        for style, texts in names.items()
        for text in texts
        if text not in concepts.index
    ]


def all_phrases(
    concepts: Concepts, counts: Sequence[int], pictograms: Iterable[Emoji], labels: Iterable[int]
) -> list[Phrase]:
    """Every phrase, one entry a text: texts with several meanings stand for the mean of them.

    `counts` says how many pictures each concept has.
    """
    found = [*object_phrases(concepts), *kind_phrases(concepts, counts)]
    found += [*shape_phrases(concepts), *style_phrases(concepts)]
    merged: dict[str, Phrase] = {}
    for phrase in [*found, *keyword_phrases(concepts, pictograms, labels)]:
        known = merged.get(phrase.text)
        mix = phrase.mix if known is None else combined(known.mix, phrase.mix)
        share = phrase.share if known is None else max(known.share, phrase.share)
        merged[phrase.text] = Phrase(phrase.text, mix, share, phrase.wordings)
    return list(merged.values())


def combined(first: Mix, second: Mix) -> Mix:
    """Both meanings, the first as strong as the second."""
    return {index: first.get(index, 0.0) + second.get(index, 0.0) for index in first | second}


class Wording:
    """Says a phrase in one of many ways."""

    def __init__(self, templates: Iterable[str], rng: random.Random) -> None:
        self.templates = [*templates, *PLAIN * 4]
        self.rng = rng

    def __call__(self, phrase: Phrase, styles: dict[str, int]) -> tuple[str, Mix]:
        """A text and the mix it stands for; a style's wording adds the style."""
        if not phrase.wordings or self.rng.random() < 0.2:
            return phrase.text, phrase.mix
        styled, _ = split_style(phrase.text)
        if styled == phrase.text and self.rng.random() < 0.15:
            style = self.rng.choice(list(STYLE_WORDINGS))
            text = self.rng.choice(STYLE_WORDINGS[style]).replace("{}", self._name(phrase.text))
            return text, phrase.mix | {styles[style]: STYLE_WEIGHT * sum(phrase.mix.values())}
        template = self.rng.choice(self.templates)
        one = re.search(r"\b(a|an|one|this) \{\}", template)
        name = phrase.text if one else self._name(phrase.text)
        text = template.replace("{}", name)
        return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text), phrase.mix

    def _name(self, text: str) -> str:
        """The name alone, with its article, or in the plural."""
        return self.rng.choice([text, text, article(text), plural(text)])
