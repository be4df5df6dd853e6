from __future__ import annotations

import json
import zipfile

from training import vocabulary
from training.sources import Archive
from training.vocabulary import Wordnet

NOUNS = """  1 a licence
00001 05 n 01 animal 0 001 ~ 00002 n 0000 | a living thing; "an animal"
00002 05 n 02 dog 0 hound 0 001 @ 00001 n 0000 | a pet
00003 06 n 01 train 0 001 @ 00001 n 0000 | it runs on rails
00004 09 n 01 thought 0 000 | not to be seen
"""
INDEX = """  1 a licence
animal n 1 1 ~ 1 1 00001
dog n 1 1 @ 1 1 00002
hound n 1 1 @ 1 0 00002
train n 1 1 @ 1 1 00003
thought n 1 0 1 1 00004
"""
USES = """animal%1:05:00:: 00001 1 9
dog%1:05:00:: 00002 1 42
train%1:06:00:: 00003 1 7
thought%1:09:00:: 00004 1 80
"""


def test_wordnet_as_it_is_published(tmp_path):
    for name, text in {"data.noun": NOUNS, "index.noun": INDEX, "index.sense": USES}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    nouns = Wordnet.read(tmp_path)
    assert nouns.find(["hound", "dog"]) == "00002"
    assert nouns.find(["no such word"]) is None
    assert nouns.above("00002") == {"00001", "00002"}
    assert nouns.synsets["00002"].gloss == "a pet"
    assert nouns.common_nouns() == ["animal", "dog", "train"]


def test_names_synonyms_kinds_and_keywords(tmp_path, monkeypatch):
    monkeypatch.setattr(vocabulary.Wordnet, "read", lambda _folder: Wordnet({}, {}, vocabulary.Counter()))
    for name, files in {"set.zip": {}, "emoji.zip": {"pairs.json": json.dumps(
        [{"file": "a.png", "name": "Red apple", "keywords": ["red_apple", "orchard"]}])}}.items():  # fmt: skip
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for file, data in files.items():
                archive.writestr(file, data)
    facts = {"sports car": {"synonyms": ["coupe", "goldfish"], "kind": "vehicle of set"}}
    (tmp_path / "set.json").write_text(json.dumps(facts), encoding="utf-8")
    archives = [Archive(tmp_path / "set.zip"), Archive(tmp_path / "emoji.zip")]
    words = vocabulary.build(["sports car", "red apple"], archives, tmp_path)
    assert len(words.concepts) >= vocabulary.IMAGENET
    car = words.number("sports car")
    assert car in words.meanings["coupe"]
    assert words.meanings["goldfish"] == [1]  # a class of ImageNet, which a synonym does not move
    assert words.kinds["vehicle of set"] == [car]
    assert words.emoji_keywords["orchard"] == [words.number("red apple")]
    assert len(words.texts) == len(set(words.texts))


def test_equal_names_share_their_concepts_but_two_imagenet_classes_stay_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(vocabulary.Wordnet, "read", lambda _folder: Wordnet({}, {}, vocabulary.Counter()))
    equal = [
        ["car", "automobile", "motor car"],
        ["axe", "hatchet"],
        ["laptop computer", "notebook computer", "my laptop"],
    ]
    equal.append(["nothing known", "nor this"])
    monkeypatch.setattr(vocabulary, "equal_names", lambda: equal)
    words = vocabulary.build(["automobile", "car", "axe"], [], tmp_path)
    car, automobile = words.concepts.index("car"), words.concepts.index("automobile")
    assert words.meanings["car"] == [car, automobile]
    assert words.meanings["automobile"] == [automobile, car]
    assert set(words.meanings["motor car"]) == {car, automobile}
    assert words.number("car") == car
    hatchet = words.concepts.index("hatchet")
    assert words.meanings["hatchet"] == [hatchet, words.concepts.index("axe")]
    laptop, notebook = (words.concepts.index(name) for name in ("laptop computer", "notebook computer"))
    assert words.meanings["notebook computer"] == [notebook]
    assert words.meanings["my laptop"] == [laptop]
    assert "nothing known" not in words.meanings
