"""`fit` and `classify --head`: what is learnt, what is declined, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pictures
import pytest
from run import assert_one_error, run
from safetensors.numpy import load_file, save_file

from clipcli.tasks.fit import METHODS


def draw(root: Path, count: int, names: tuple[str, str] = ("disc", "square")) -> Path:
    """So many red and blue pictures, in folders of these names."""
    for name, colour in zip(names, ("red", "blue"), strict=True):
        (root / name).mkdir(parents=True)
        for number in range(count):
            shape = pictures.disc if number % 2 else pictures.square
            shape(colour, (80 + 2 * number, 80)).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures of each label, whose names say nothing of what they show."""
    return draw(tmp_path_factory.mktemp("labelled"), 10, ("vorp", "quib"))


@pytest.fixture(scope="module")
def model(random_model: str) -> tuple[str, ...]:
    return ("-m", random_model, "--engine", "openclip")


@pytest.fixture(scope="module")
def made(model, labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The head of red and blue things."""
    target = tmp_path_factory.mktemp("made") / "colours.head"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPCLI_CACHE_DIR", str(target.parent / "cache"))
        patch.setenv("CLIPCLI_AUTO_EXPORT", "0")
        assert run("fit", labelled, "-o", target, *model).code == 0
    return target.read_bytes()


@pytest.fixture
def head(made: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "colours.head"
    path.write_bytes(made)
    return path


@pytest.mark.thorough
@pytest.mark.parametrize("method", ["prototypes", "linear", "ridge", "knn"])
def test_a_head_knows_what_no_text_says(model, labelled: Path, tmp_path: Path, method: str):
    target = tmp_path / "colours.head"
    result = run("fit", labelled, "-o", target, "--method", method, "--format", "jsonl", *model)
    assert result.code == 0, result.stderr
    assert [(row["label"], row["images"]) for row in result.rows] == [("quib", 10), ("vorp", 10), (None, 20)]
    together = result.rows[-1]
    assert together["held_out"]["value"] > together["zero_shot"]["value"]
    assert together["gain"]["low"] <= together["gain"]["value"] <= together["gain"]["high"]
    assert "on 20 held-out pictures" in result.stderr
    new = draw(tmp_path / "new", 4, ("vorp", "quib"))
    checked = run("classify", new, "--head", target, "--expect-from", "parent", "--format", "jsonl", *model)
    assert checked.code == 0, checked.stderr
    for row in checked.rows:
        assert list(row) == ["image", "label", "score", "labels", "expected", "ok"]
        assert 0.5 <= row["score"] <= 1.0


def test_the_file_holds_numbers_and_a_description(head: Path):
    tensors = load_file(head)
    assert {name: tensor.dtype.name for name, tensor in tensors.items()} == dict.fromkeys(
        ("weights", "bias", "examples", "votes", "middle", "centres"), "float32"
    )
    assert tensors["weights"].shape == (2, 48)


def test_a_head_that_does_not_help_is_declined(model, labelled: Path, tmp_path: Path):
    """Labels that stand for nothing: each folder has as many red things as blue ones."""
    mixed = tmp_path / "mixed"
    for name in ("vorp", "quib"):
        draw(mixed / name, 4, ("a", "b"))
    table = tmp_path / "table.csv"
    lines = [f"{path},{path.relative_to(mixed).parts[0]}" for path in sorted(mixed.rglob("*.png"))]
    table.write_text("path,label\n" + "\n".join(lines), encoding="utf-8")
    target = tmp_path / "colours.head"
    target.write_bytes(b"an older head")
    arguments = ("fit", mixed, "--expect-from", table, "-o", target, "--format", "jsonl", *model)
    result = run(*arguments)
    assert result.code == 1
    assert len(result.rows) == 3
    assert "no head written" in result.stderr
    assert target.read_bytes() == b"an older head"
    assert run(*arguments, "--force").code == 0
    assert load_file(target)


def test_one_picture_of_each_label_is_not_enough_to_measure(model, tmp_path: Path):
    few = draw(tmp_path / "few", 1)
    target = tmp_path / "few.head"
    result = run("fit", few, "-o", target, "--format", "jsonl", *model)
    assert (result.code, target.exists()) == (1, False)
    assert result.rows[-1]["held_out"] is None
    assert "nothing could be measured" in result.stderr
    assert run("fit", few, "-o", target, "--force", *model).code == 0
    assert run("classify", few, "--head", target, *model).code == 0
    assert_one_error(run("classify", few, "--head", target, "--none", "x", *model), "--none has no effect", code=2)


def test_images_of_other_folders_are_none_of_these(model, labelled: Path, tmp_path: Path):
    (tmp_path / "more").mkdir()
    for number in range(6):
        pictures.Image.new("RGB", (64, 64), (40 * number, 90, 120)).save(tmp_path / "more" / f"{number}.png")
    target = tmp_path / "colours.head"
    options = ("-l", "vorp,quib", "-o", target, *model)
    result = run("fit", labelled, tmp_path / "more", *options)
    assert result.code == 0, result.stderr
    assert "6 images of no label count as none of these (more)" in result.stderr
    rows = run("classify", tmp_path / "more", "--head", target, "--none", "neither", "--format", "jsonl", *model).rows
    assert [row["label"] for row in rows].count("neither") >= 5


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("-l", "disc"), "--labels"), (("--prompts", "plain"), "--prompts"), (("--multi-label",), "--multi-label"),
     (("--similarity",), "--similarity"), (("--thresholds", "t.json"), "--thresholds")],
)  # fmt: skip
def test_what_a_head_brings_itself_is_not_asked_for(head: Path, folder: Path, model, arguments, word: str):
    assert_one_error(run("classify", folder, "--head", head, *arguments, *model), f"--head and {word}", code=2)


def test_a_head_of_another_model_is_refused(head: Path, folder: Path):
    result = run("classify", folder, "--head", head, "-m", "tiny", "-q")
    assert_one_error(result, "this head was made for", "tiny", code=5)


def change(path: Path, *, tensors=None, **description: object) -> None:
    """Write the head with other numbers, or with another description."""
    import safetensors

    with safetensors.safe_open(path, framework="numpy") as file:
        record = json.loads(file.metadata()["clipcli"])
    save_file({**load_file(path), **(tensors or {})}, path, {"clipcli": json.dumps({**record, **description})})


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"format": 9}, "newer clipcli"), ({"labels": ["a"]}, "not a number for each label"),
     ({"labels": ["a", "a"]}, "repeated"), ({"sharpness": float("nan")}, "sharpness"), ({"limit": 4.0}, "limit is 4"),
     ({"kind": "other"}, "kind"), ({"held_out": [0.5, 0.2, 7.0]}, "accuracy"), ({"labels": 3}, "labels"),
     ({"tensors": {"bias": np.zeros(3, np.float32)}}, "bias has the shape"),
     ({"tensors": {"votes": np.zeros((1, 2), np.float32)}}, "votes has the shape"),
     ({"tensors": {"weights": np.full((2, 48), np.nan, np.float32)}}, "no finite number"),
     ({"tensors": {"weights": np.zeros((2, 48), np.int64)}}, "no finite number")],
)  # fmt: skip
def test_a_head_that_means_nothing_is_refused(head: Path, folder: Path, model, changes: dict, words: str):
    change(head, **changes)
    assert_one_error_of_labels(run("classify", folder, "--head", head, *model), words)


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff" * 64, b"\x02" + bytes(7) + b"[]", b"\x10" + bytes(7) + b"{"])
def test_a_file_that_is_no_head_is_refused(folder: Path, model, tmp_path: Path, data: bytes):
    (tmp_path / "x.head").write_bytes(data)
    assert_one_error_of_labels(run("classify", folder, "--head", tmp_path / "x.head", *model), "x.head")
    assert_one_error_of_labels(run("classify", folder, "--head", tmp_path, *model), "is a directory")


def assert_one_error_of_labels(result, *words: str) -> None:
    assert (result.code, result.stdout) == (4, ""), result.stderr
    assert result.stderr.startswith("clipcli: error: ")
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--method", "prototype"), "prototypes"), (("-l", "vorp"), "a single label"), (("-o", "-"), "needs a file")],
)
def test_what_is_asked_of_fit_is_checked_first(labelled: Path, model, tmp_path: Path, arguments, words: str):
    given = ("fit", labelled, "-o", tmp_path / "x.head", *arguments, *model)
    assert_one_error(run(*given), words, code=2)
    assert not (tmp_path / "x.head").exists()


def test_a_bad_image_is_named_and_the_rest_counts(labelled: Path, model, tmp_path: Path):
    (tmp_path / "vorp").mkdir()
    (tmp_path / "vorp" / "broken.jpg").write_bytes(b"no picture")
    result = run("fit", labelled, tmp_path / "vorp", "-o", tmp_path / "x.head", *model)
    assert result.code == 3
    assert "broken.jpg" in result.stderr
    assert (tmp_path / "x.head").exists()


def test_stored_vectors_give_the_head_of_their_images(model, made: bytes, labelled: Path, tmp_path: Path):
    """Labels are the folders of the vectors' names, and the model is that of the vectors."""
    vectors, target = tmp_path / "v.npz", tmp_path / "stored.head"
    assert run("embed", labelled, *model, "-o", vectors).code == 0
    result = run("fit", vectors, "-o", target, "--engine", "openclip")
    assert result.code == 0, result.stderr
    (tmp_path / "images.head").write_bytes(made)
    stored, images = (
        run("classify", labelled, *model, "--head", tmp_path / name, "--format", "jsonl", "-k", "0").rows
        for name in ("stored.head", "images.head")
    )
    assert [row["label"] for row in stored] == [row["label"] for row in images] == ["quib"] * 10 + ["vorp"] * 10
    # The folds that the scores are calibrated on are drawn by vectors, whose last bits differ.
    np.testing.assert_allclose([row["score"] for row in stored], [row["score"] for row in images], atol=0.02)


@pytest.mark.parametrize("name", METHODS)
def test_help_has_the_words_of_each_method(name: str):
    words = " ".join(run("fit", "--help").stdout.split())
    assert f"{name} ({METHODS[name].about})" in words
