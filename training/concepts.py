"""What pictures can show: the classes of all sets as one list, and which of them may serve as counter-examples.

A *concept* is what a picture is trained towards: an object ("dog"), a style ("sketch"), a shape, a colour, a count. A
picture has up to three. Pictures of one set compete with the names of that set and with every unrelated name of the
others; names that share a word or stand above or below each other never compete across sets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from training.words import clean, keywords, kinds, members, synonyms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from training.sources import Emoji, Picture

COLUMNS = 3  # concepts a picture may have
STYLES = ["photo", "sketch", "cartoon", "painting", "pictogram", "silhouette"]
STYLED = [
    (re.compile(r"^(?:outline drawing|sketch) of an? (.+)$"), "sketch"),
    (re.compile(r"^cartoon of an? (.+)$"), "cartoon"),
    (re.compile(r"^painting of an? (.+)$"), "painting"),
    (re.compile(r"^black silhouette of an? (.+)$"), "silhouette"),
]
PHOTO_SETS = {"cifar10", "tiny_imagenet", "clothing", "grocery", "pacs", "small_sets/cats_dogs"}
SHAPES = ["circle", "square", "triangle", "rectangle", "oval", "star", "heart", "pentagon", "hexagon", "diamond"]
SHAPES += ["cross", "ring", "arrow", "crescent"]
COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey", "turquoise"]
COUNTS = ["one", "two", "three", "four", "five", "six"]
FAMILIES = {"style": STYLES, "shape": SHAPES, "colour": COLOURS, "count": COUNTS}


def split_style(label: str) -> tuple[str, str | None]:
    """Split "sketch of a dog" into ("dog", "sketch"); a plain name has no style."""
    for pattern, style in STYLED:
        if match := pattern.match(label):
            return match[1], style
    return label, None


@dataclass
class Concepts:
    """The list of concepts; objects are keyed by name, the others by "family:name"."""

    names: list[str] = field(default_factory=list)
    index: dict[str, int] = field(default_factory=dict)
    sources: list[set[str]] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, list[str]] = field(default_factory=kinds)
    coarse: dict[str, set[str]] = field(default_factory=dict)  # the coarse names that a set itself gives

    def __post_init__(self) -> None:
        """Know every synonym, and the families that no picture set names."""
        self.aliases = {word: name for name, words in synonyms().items() for word in words}
        for family, names in FAMILIES.items():
            for name in names:
                self.add(f"{family}:{name}", family)

    def canonical(self, name: str) -> str:
        """A name's own spelling: clean, and the first of its synonyms."""
        name = clean(name)
        return self.aliases.get(name, name)

    def add(self, name: str, source: str) -> int:
        """The concept of this name, new or known."""
        if name not in self.index:
            self.index[name] = len(self.names)
            self.names.append(name)
            self.sources.append(set())
        self.sources[self.index[name]].add(source)
        return self.index[name]

    def family(self, name: str) -> dict[str, int]:
        """The members of a family ("style", "shape", "colour", "count") and their concepts."""
        return {member: self.index[f"{name}:{member}"] for member in FAMILIES[name]}

    def of_picture(self, picture: Picture) -> tuple[int, int]:
        """Object and style of a picture (-1: its style is not known)."""
        label, style = split_style(picture.label)
        coarse, slash, fine = label.partition("/")
        name = self.canonical(fine if slash else label)
        if slash and self.canonical(coarse) != name:
            self.coarse.setdefault(self.canonical(coarse), set()).add(name)
            below = self.kinds.setdefault(self.canonical(coarse), [])
            if name not in below:
                below.append(name)
        if style is None and picture.source in PHOTO_SETS:
            style = "photo"
        return self.add(name, picture.source), -1 if style is None else self.index[f"style:{style}"]

    def of_emoji(self, emoji: Emoji) -> int:
        """The concept of a pictogram: the object of the same name where there is one."""
        name = self.canonical(emoji.name)
        flag = f"flag of {name.removeprefix('flag ')}"
        if name.startswith("flag ") and flag in self.index:
            name = flag
        if name in self.index and "emoji" in self.sources[self.index[name]]:
            name = f"{name} ({clean(emoji.file.rpartition('.')[0])})"
        return self.add(name, "emoji")


def rivals(concepts: Concepts) -> NDArray[np.bool_]:
    """rivals[a, b]: whether b is a counter-example for a picture of a; every concept is its own rival."""
    sources = sorted(set().union(*concepts.sources))
    membership = np.array([[source in own for source in sources] for own in concepts.sources], dtype=np.float32)
    same_set = membership @ membership.T > 0
    families = [name.partition(":")[0] if ":" in name else "" for name in concepts.names]
    same_family = np.array(families)[:, None] == np.array(families)[None, :]
    return same_family & (same_set | ~related(concepts))


def related(concepts: Concepts) -> NDArray[np.bool_]:
    """related[a, b]: the names share a word, or one is of the other's kind."""
    words = _incidence([keywords(name) for name in concepts.names])
    table = concepts.kinds
    above = {kind: members(kind, table) for kind in table}
    lineage = np.zeros((len(concepts.names), len(concepts.names)), dtype=bool)
    for kind, below in above.items():
        parent = concepts.index.get(concepts.canonical(kind))
        children = [concepts.index[c] for c in map(concepts.canonical, below) if c in concepts.index]
        if parent is not None:
            lineage[parent, children] = True
    return (words @ words.T > 0) | lineage | lineage.T


def _incidence(sets: list[frozenset[str]]) -> NDArray[np.float32]:
    """A row a set, a column a word."""
    columns = {word: i for i, word in enumerate(sorted(set[str]().union(*sets)))}
    table = np.zeros((len(sets), len(columns)), dtype=np.float32)
    for row, words in enumerate(sets):
        table[row, [columns[word] for word in words]] = 1
    return table


def labels_of(concepts: Concepts, pictures: Iterable[Picture]) -> NDArray[np.int64]:
    """A row a picture: its concepts, -1 for none."""
    rows = [(*concepts.of_picture(picture), -1) for picture in pictures]
    return np.array(rows, dtype=np.int64)
