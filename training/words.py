"""Names as plain words: clean spelling, plurals, and the word lists (kinds.txt, synonyms.txt, equal_names.txt)."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
SMALL_WORDS = {
    "a",
    "an",
    "and",
    "the",
    "of",
    "in",
    "on",
    "with",
    "from",
    "for",
    "to",
    "seen",
    "face",
    "head",
    "cartoon",
}
IRREGULAR = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "goose": "geese",
    "mouse": "mice",
    "knife": "knives",
    "leaf": "leaves",
    "wolf": "wolves",
    "ox": "oxen",
    "foot": "feet",
    "tooth": "teeth",
    "fish": "fish",
    "sheep": "sheep",
    "deer": "deer",
    "bison": "bison",
    "aircraft": "aircraft",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "mango": "mangoes",
    "snowman": "snowmen",
}
UNCOUNTED = {
    "clothes",
    "shorts",
    "pants",
    "jeans",
    "shoes",
    "scissors",
    "binoculars",
    "sunglasses",
    "people",
    "trousers",
}


def clean(name: str) -> str:
    """Lower case, single spaces, no underscores, no stray punctuation at the ends."""
    name = name.replace("_", " ").replace("\u00a0", " ").replace("\u2019", "'").lower()
    return re.sub(r"\s+", " ", name).strip(" .,:;!\"'\u201c\u201d")


def plural(name: str) -> str:
    """The plural of a name, of its last word or of the word before "of"."""
    head, separator, tail = name.partition(" of ")
    first, space, word = head.rpartition(" ")
    return first + space + _plural_word(word) + separator + tail


def _plural_word(word: str) -> str:
    """One word's plural."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word in UNCOUNTED:
        return word
    if re.search(r"(s|x|z|ch|sh)$", word):
        return word if word.endswith("s") and not word.endswith("ss") else word + "es"
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + "s"


def keywords(name: str) -> frozenset[str]:
    """The words that carry a name's meaning: two names that share one may mean the same thing."""
    return frozenset(re.findall(r"[^\W_]+", clean(name))) - SMALL_WORDS


def read_list(path: Path) -> dict[str, list[str]]:
    """A word list: "name: word, word" a line, # for comments."""
    lists: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, separator, rest = line.partition(":")
        if separator and not name.startswith("#"):
            lists.setdefault(clean(name), []).extend(clean(word) for word in rest.split(","))
    return lists


def kinds() -> dict[str, list[str]]:
    """Kind → members."""
    return read_list(HERE / "kinds.txt")


def synonyms() -> dict[str, list[str]]:
    """Class name → other ways to say it."""
    return read_list(HERE / "synonyms.txt")


def equal_names() -> list[list[str]]:
    """Names of one thing, each list in the order of the file."""
    lines = (HERE / "equal_names.txt").read_text(encoding="utf-8").splitlines()
    return [[clean(name) for name in line.split("=")] for line in lines if line and not line.startswith("#")]


def members(kind: str, table: dict[str, list[str]]) -> set[str]:
    """Every name below a kind, all the way down."""
    found: set[str] = set()
    todo = [kind]
    while todo:
        for name in table.get(todo.pop(), []):
            if name not in found:
                found.add(name)
                todo.append(name)
    return found
