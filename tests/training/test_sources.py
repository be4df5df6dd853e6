from __future__ import annotations

import json
import zipfile

import pytest

from training.sources import Archive, Picture, emoji_pairs, pictures

GROCERY_TABLE = "Class Name (str),Class ID (int),Coarse Class Name (str)\nRoyal-Gala,4,Apple\nLeek,5,Leek\n"


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return Archive(path)


def test_a_zip_and_a_folder_give_the_same_pictures(tmp_path):
    files = {f"red car/{i}.jpg": b"x" for i in range(3)} | {"red car/notes.txt": b"x"}
    zipped_set = zipped(tmp_path / "cars.zip", files)
    folder = tmp_path / "cars"
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    assert pictures(zipped_set) == pictures(Archive(folder))
    assert [picture.label for picture in pictures(zipped_set)] == ["red car"] * 3
    assert zipped_set.read("red car/0.jpg") == Archive(folder).read("red car/0.jpg")


def test_a_zip_of_sets_names_each_set(tmp_path):
    found = pictures(zipped(tmp_path / "many.zip", {"pets/cat/1.jpg": b"", "flags/flag of Peru/1.png": b""}))
    assert {(p.source, p.label) for p in found} == {("many/pets", "cat"), ("many/flags", "flag of Peru")}


def test_grocery_names_are_coarse_and_fine(tmp_path):
    files = {"classes.csv": GROCERY_TABLE, "train/Fruit/Apple/Royal-Gala/1.jpg": b"", "val/Vegetables/Leek/1.jpg": b""}
    labels = [picture.label for picture in pictures(zipped(tmp_path / "grocery.zip", files))]
    assert labels == ["apple/royal gala", "leek/leek"]


def test_a_tenth_is_held_out_whatever_the_order(tmp_path):
    files = {f"dog/{i}.jpg": b"" for i in range(2000)}
    found = pictures(zipped(tmp_path / "dogs.zip", files))
    share = sum(picture.held_out for picture in found) / len(found)
    assert 0.07 < share < 0.13
    files = dict(reversed(files.items()))
    (tmp_path / "again").mkdir()
    assert pictures(zipped(tmp_path / "again" / "dogs.zip", files)) == found


@pytest.mark.parametrize("count", [1, 4])
def test_small_classes_are_trained_on_whole(tmp_path, count):
    found = pictures(zipped(tmp_path / "few.zip", {f"emu/{i}.jpg": b"" for i in range(count)}))
    assert not any(picture.held_out for picture in found)


def test_pictures_outside_of_folders_have_no_name(tmp_path):
    assert pictures(zipped(tmp_path / "loose.zip", {"loose.jpg": b""})) == []


def test_emoji_come_with_their_words(tmp_path):
    rows = [{"file": "a.png", "emoji": "x", "name": "crab", "keywords": ["animal", "zodiac"]}]
    (emoji,) = emoji_pairs(zipped(tmp_path / "emoji.zip", {"pairs.json": json.dumps(rows)}))
    assert (emoji.file, emoji.name, emoji.keywords) == ("a.png", "crab", ("animal", "zodiac"))


def test_a_picture_is_a_value():
    assert Picture("a", "b", "c", held_out=False) == Picture("a", "b", "c", held_out=False)


def test_an_archive_is_listed_once(tmp_path, monkeypatch):
    archive = zipped(tmp_path / "cars.zip", {"car/1.jpg": b"x", "pairs.json": b"[]"})
    monkeypatch.setattr(zipfile.ZipFile, "namelist", lambda _self: pytest.fail("listed again"))
    assert "pairs.json" in archive
    assert "car" not in archive
    assert archive.names() == ["car/1.jpg", "pairs.json"]
