"""What can be said: the names with pictures, the 1,000 ImageNet classes, their other names and kinds, and more nouns.

The words come from the labels, from each set's JSON (synonyms and kind), from WordNet (fetched by `packages`), from
timm's table of ImageNet synsets and from the names and keywords of emoji.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.prompts.labels import imagenet_class_names
from training import packages
from training.sources import Archive, emoji_pairs
from training.words import clean, equal_names, kinds, members, synonyms

if TYPE_CHECKING:
    from collections.abc import Iterable

IMAGENET = 1000
LONGEST = 60
MOST_WORDS = 4
LEXICOGRAPHERS = (
    "tops act animal artifact attribute body cognition communication event feeling food group location motive object "
    "person phenomenon plant possession process quantity relation shape state substance time"
)
"""WordNet's files, in the order of their numbers, the first of which is 3."""
SEEN = {
    "animal",
    "artifact",
    "body",
    "food",
    "object",
    "person",
    "phenomenon",
    "plant",
    "substance",
    "location",
    "event",
}
"""Kinds of nouns that a picture can show."""


@dataclass
class Synset:
    """One meaning in WordNet."""

    kind: str
    words: list[str]
    gloss: str
    above: list[str]


@dataclass
class Vocabulary:
    """All texts of the recipe, and which concepts each of them names."""

    concepts: list[str]
    """The name of every concept; the first 1,000 are the ImageNet classes."""
    meanings: dict[str, list[int]] = field(default_factory=dict)
    """Text → the concepts that it stands for."""
    kinds: dict[str, list[int]] = field(default_factory=dict)
    """Text → the concepts below it, for "animal", "vehicle", "fruit"."""
    emoji_keywords: dict[str, list[int]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    """Nouns without a picture."""

    def number(self, name: str) -> int:
        """The concept of a name, a new one where it is new."""
        name = clean(name)
        if name not in self.meanings:
            self.meanings[name] = [len(self.concepts)]
            self.concepts.append(name)
        return self.meanings[name][0]

    @property
    def texts(self) -> list[str]:
        """Every text once."""
        return list(dict.fromkeys([*self.concepts, *self.meanings, *self.kinds, *self.emoji_keywords, *self.others]))


def build(labels: Iterable[str], archives: list[Archive], work: Path) -> Vocabulary:
    """Everything that can be said about these labels."""
    words = Vocabulary([clean(name) for name in imagenet_class_names()])
    for number, name in enumerate(words.concepts):
        words.meanings.setdefault(name, []).append(number)
    for label in labels:
        words.number(label)
    known = set(words.meanings)
    wordnet = Wordnet.read(packages.folder(work) / "wordnet" / "dict")
    lemmas = imagenet_lemmas()
    for number, names in enumerate(lemmas):
        _say(words, known, names, [number])
    for archive in archives:
        _add_set(words, known, archive)
    for name, others in synonyms().items():
        named = [text for text in (name, *others) if text in known]
        _say(words, known, [name, *others], words.meanings[named[0]] if named else [])
    _join_equal(words)
    _add_kinds(words, wordnet, lemmas)
    taken = {*words.meanings, *words.kinds}
    words.others = [noun for noun in dict.fromkeys([*wordnet.common_nouns(), *all_lemmas()]) if noun not in taken]
    return words


def _say(words: Vocabulary, known: set[str], texts: Iterable[str], concepts: list[int]) -> None:
    """More texts for concepts; what is a concept's own name keeps its meaning."""
    for text in map(clean, texts):
        if concepts and text not in known and len(text) <= LONGEST:
            meanings = words.meanings.setdefault(text, [])
            meanings += [concept for concept in concepts if concept not in meanings]


def _add_set(words: Vocabulary, known: set[str], archive: Archive) -> None:
    """Synonyms and kinds from the JSON beside an archive, keywords from the table inside one of emoji."""
    described = archive.path.with_suffix(".json")
    table = json.loads(described.read_text(encoding="utf-8")) if described.is_file() else {}
    for name, facts in table.items():
        concepts = words.meanings.get(clean(name), [])
        _say(words, known, facts["synonyms"], concepts)
        words.kinds.setdefault(clean(facts["kind"]), []).extend(concepts)
    for emoji in emoji_pairs(archive) if "pairs.json" in archive else ():
        for keyword in emoji.keywords:
            if len(keyword) > 2 and clean(keyword) not in known:
                words.emoji_keywords.setdefault(clean(keyword), []).extend(words.meanings.get(clean(emoji.name), []))


def _join_equal(words: Vocabulary) -> None:
    """Let every name of a thing stand for all concepts called by its names; a concept's own number stays the first.

    Two ImageNet classes are never joined: each keeps its own row of the classifier.
    """
    number = {name: at for at, name in reversed(list(enumerate(words.concepts)))}
    for names in equal_names():
        concepts = [number[name] for name in names if name in number]
        concepts = concepts or [at for name in names for at in words.meanings.get(name, [])][:1]
        apart = [at for at in concepts if at < IMAGENET][1:]
        joined = [at for at in concepts if at not in apart]
        for name in names if joined else ():
            if number.get(name) not in apart:
                words.meanings[name] = sorted(joined, key=lambda at: at != number.get(name))


def _add_kinds(words: Vocabulary, wordnet: Wordnet, lemmas: list[list[str]]) -> None:
    """What our own list says, and what stands above the ImageNet classes in WordNet."""
    table = kinds()
    for kind in table:
        below_it = [number for name in members(kind, table) for number in words.meanings.get(name, [])]
        words.kinds.setdefault(kind, []).extend(below_it)
    below: dict[str, set[int]] = defaultdict(set)
    for number, names in enumerate(lemmas):
        for synset in wordnet.above(wordnet.find(names)):
            below[synset].add(number)
    for synset, numbers in below.items():
        for word in wordnet.synsets[synset].words:
            text = clean(word)
            if synset in wordnet.senses.get(word.lower(), [])[:2] and text not in words.meanings:
                words.kinds.setdefault(text, []).extend(sorted(numbers))
    words.kinds = {text: sorted(set(found)) for text, found in words.kinds.items() if text not in words.meanings}


def _timm_table(name: str) -> list[str]:
    import timm

    file = Path(timm.__file__).parent / "data" / "_info" / name
    return file.read_text(encoding="utf-8").splitlines()


def imagenet_lemmas() -> list[list[str]]:
    """The WordNet lemmas of each of the 1,000 classes."""
    table = dict(line.split("\t", 1) for line in _timm_table("imagenet_synset_to_lemma.txt"))
    return [[clean(name) for name in table[synset].split(", ")] for synset in _timm_table("imagenet_synsets.txt")]


def all_lemmas() -> list[str]:
    """The lemmas of all 21,841 synsets of the whole ImageNet: nouns that can be seen."""
    found = (
        clean(name) for line in _timm_table("imagenet_synset_to_lemma.txt") for name in line.split("\t")[1].split(", ")
    )
    return [name for name in found if len(name.split()) <= MOST_WORDS and len(name) <= LONGEST]


@dataclass
class Wordnet:
    """The nouns of WordNet 3.1."""

    synsets: dict[str, Synset]
    senses: dict[str, list[str]]
    """Word → its synsets, the most frequent meaning first."""
    uses: Counter[tuple[str, str]]
    """How often a word was met with a meaning."""

    @classmethod
    def read(cls, folder: Path) -> Wordnet:
        """Read data.noun, index.noun and index.sense."""
        synsets = dict(_synset(line) for line in _lines(folder / "data.noun"))
        senses = {}
        for line in _lines(folder / "index.noun"):
            parts = line.split()
            senses[parts[0]] = parts[-int(parts[2]) :]
        uses: Counter[tuple[str, str]] = Counter()
        for line in _lines(folder / "index.sense"):
            key, synset, _, count = line.split()
            if "%1:" in key:
                uses[key.split("%")[0], synset] += int(count)
        return cls(synsets, senses, uses)

    def find(self, names: list[str]) -> str | None:
        """The synset that has most of these names."""
        candidates = Counter(synset for name in names for synset in self.senses.get(name.replace(" ", "_"), ()))
        return candidates.most_common(1)[0][0] if candidates else None

    def above(self, synset: str | None) -> set[str]:
        """A synset and everything that it is a kind of."""
        found: set[str] = set()
        todo = [synset] if synset else []
        while todo:
            current = todo.pop()
            if current not in found:
                found.add(current)
                todo += self.synsets[current].above
        return found

    def common_nouns(self) -> list[str]:
        """Words of at most three parts that were met in WordNet's texts, and whose usual meaning can be seen."""
        found = []
        for word, senses in self.senses.items():
            text = clean(word)
            met = any(self.uses[word, synset] for synset in senses)
            seen = any(self.synsets[synset].kind in SEEN for synset in senses[:2])
            if met and seen and len(text.split()) < MOST_WORDS and not re.search(r"[\d.]", text):
                found.append(text)
        return found


def _lines(path: Path) -> list[str]:
    """The lines after the licence."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("  ")]


def _synset(line: str) -> tuple[str, Synset]:
    facts, _, gloss = line.partition(" | ")
    parts = facts.split()
    count = int(parts[3], 16)
    words = parts[4 : 4 + 2 * count : 2]
    links = parts[5 + 2 * count :]
    above = [links[at + 1] for at in range(0, len(links) - 1, 4) if links[at] in {"@", "@i"}]
    return parts[0], Synset(LEXICOGRAPHERS.split()[int(parts[1]) - 3], words, gloss.split(";")[0].strip(), above)
