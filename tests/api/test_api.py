"""The Python interface gives what the commands give, for whatever Python code calls a picture."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run import ROOT, run

import clipcli
from clipcli.errors import InputsError, LabelsError, UnknownModelError, UsageError, VectorsError

LABELS = ["car", "cat", "dog"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in LABELS:
        Image.open(ROOT / "examples" / f"{name}.png").convert("RGB").save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPCLI_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        with clipcli.open_session("tiny", offline=True) as opened:
            yield opened


def test_importing_costs_nothing():
    script = "import sys, clipcli; print(sorted({'numpy', 'typer', 'torch', 'PIL', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_every_public_name_is_there_and_the_stub_says_the_same():
    stub = (ROOT / "clipcli" / "__init__.pyi").read_text(encoding="utf-8")
    named = {line.split(" as ")[1] for line in stub.splitlines() if " as " in line}
    assert named | {"__version__"} == set(clipcli.__all__) == set(dir(clipcli))
    for name in clipcli.__all__:
        assert getattr(clipcli, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'clasify'"):
        clipcli.clasify  # noqa: B018


@pytest.mark.thorough
def test_classify_is_the_command(folder: Path, session):
    rows = run("classify", folder, "-l", ",".join(LABELS), "-m", "tiny", "-k", "3", "-f", "jsonl").rows
    results = session.classify(folder, LABELS, top_k=3)
    assert [result.image for result in results] == [row["image"] for row in rows]
    assert [result.label for result in results] == LABELS
    for result, row in zip(results, rows, strict=True):
        assert [entry.label for entry in result.labels] == [entry["label"] for entry in row["labels"]]
        assert result.score == pytest.approx(row["score"], abs=1e-6)


KINDS = ("str", "Path", "folder", "PIL", "arrays", "one array", "generator", "mixed", "RGBA", "CMYK")


def kinds(folder: Path):
    paths = sorted(folder.glob("*.png"))
    pixels = [np.asarray(Image.open(path)) for path in paths]
    return {
        "str": [str(path) for path in paths],
        "Path": tuple(paths),
        "folder": folder,
        "PIL": [Image.open(path) for path in paths],
        "arrays": pixels,
        "one array": np.stack([np.asarray(Image.open(path).resize((64, 64))) for path in paths]),
        "generator": (Image.open(path) for path in paths),
        "mixed": [paths[0], Image.open(paths[1]), pixels[2]],
        "RGBA": [Image.open(path).convert("RGBA") for path in paths],
        "CMYK": [Image.open(path).convert("CMYK") for path in paths],
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture(kind: str, folder: Path, session):
    results = session.classify(kinds(folder)[kind], LABELS)
    assert [result.label for result in results] == LABELS
    assert not results.errors


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "I;16", "F"])
def test_every_mode_of_an_image_goes_the_way_of_a_file(mode: str, session):
    grey = Image.linear_gradient("L")
    image = Image.fromarray(np.asarray(grey, np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    embedded = session.embed(image)
    assert embedded.vectors.shape == (1, session.dim)
    assert embedded.names == ("images[0]",)


def test_an_image_is_turned_as_its_file_would_be(tmp_path: Path, session):
    image = Image.open(ROOT / "examples" / "car.png").convert("RGB").rotate(90)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    both = session.embed([tmp_path / "turned.png", Image.open(tmp_path / "turned.png")])
    assert both.vectors[0] == pytest.approx(both.vectors[1], abs=1e-6)
    assert session.classify(Image.open(tmp_path / "turned.png"), LABELS)[0].label == "car"


def test_one_picture_is_a_list_of_one(folder: Path, session):
    for picture in (
        str(folder / "cat.png"),
        Image.open(folder / "cat.png"),
        np.asarray(Image.open(folder / "cat.png")),
    ):
        assert [result.label for result in session.classify(picture, LABELS)] == ["cat"]


def test_a_bad_picture_is_a_result(folder: Path, session):
    (folder / "bad.png").write_bytes(b"no image")
    results = session.classify([folder / "bad.png", folder / "cat.png", folder / "gone.png"], LABELS)
    assert [result.label for result in results] == [None, "cat", None]
    assert results[0].error.startswith("decode: ")
    assert [name for name, _ in results.errors] == [str(folder / "bad.png"), str(folder / "gone.png")]
    half = (folder / "cat.png").read_bytes()
    (folder / "half.png").write_bytes(half[: len(half) // 2])
    assert session.classify(Image.open(folder / "half.png"), LABELS)[0].error.startswith("decode: ")
    assert session.embed([folder / "bad.png", folder / "cat.png"]).names == (str(folder / "cat.png"),)


def test_labels_with_phrases_and_the_options_of_the_command(folder: Path, session):
    phrases = {"pet": ["a cat", "a dog"], "vehicle": "a car"}
    assert [one.label for one in session.classify(folder, phrases)] == ["vehicle", "pet", "pet"]
    assert [one.label for one in session.classify(folder, LABELS, threshold=1.0)] != LABELS
    assert session.classify(folder / "cat.png", ["car"], none="other")[0].label == "other"
    several = session.classify(folder / "cat.png", LABELS, multi_label=True)[0]
    assert "cat" in {entry.label for entry in several.labels}
    by_template = session.classify(folder, LABELS, prompts=["a drawing of a {}", "icon"])
    assert [one.label for one in by_template] == LABELS


def test_texts_become_vectors(session):
    plain = session.embed(texts=["a dog", "a car"])
    assert plain.vectors.shape == (2, session.dim)
    assert np.linalg.norm(plain.vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert session.embed(texts=["dog"], prompts="photo").vectors[0] != pytest.approx(plain.vectors[0], abs=1e-3)


@pytest.mark.thorough
def test_rank_by_words_by_example_and_over_vectors(folder: Path, session, tmp_path: Path):
    vectors = session.embed(folder)
    file = tmp_path / "v.npz"
    assert run("embed", folder, "-m", "tiny", "-o", file).code == 0
    for corpus in (folder, vectors, vectors.vectors, file, [Image.open(folder / f"{name}.png") for name in LABELS]):
        best = session.rank("a dog", corpus, top_k=1)
        assert [(hit.rank, hit.row, hit.query) for hit in best] == [(1, 2, "a dog")]
    by_image = session.rank(Image.open(folder / "cat.png"), vectors, top_k=1)[0]
    assert (by_image.query, by_image.image) == ("query[0]", str(folder / "cat.png"))
    assert by_image.score == pytest.approx(1, abs=1e-4)
    both = session.rank(["a dog", folder / "car.png"], vectors, top_k=1)
    assert [hit.row for hit in both] == [2, 0]
    rows = run("rank", "a dog", folder, "-m", "tiny", "-f", "jsonl").rows
    assert [hit.image for hit in session.rank("a dog", folder)] == [row["image"] for row in rows]
    assert len(session.rank("a dog", vectors, min_score=0.99)) == 0


def test_vectors_of_another_model_are_refused(session):
    other = clipcli.Embeddings(("a",), np.ones((1, session.dim), np.float32), "other", "0" * 12)
    with pytest.raises(VectorsError, match="are of other, not of tiny"):
        session.rank("a dog", other)
    with pytest.raises(VectorsError, match="vectors of 3 numbers"):
        session.rank("a dog", np.ones((2, 3), np.float32))
    with pytest.raises(VectorsError, match="cannot be searched"):
        session.rank("a dog", np.full((2, session.dim), np.nan, np.float32))


def test_dedupe_finds_copies_in_files_and_in_memory(folder: Path, session):
    found = session.dedupe([folder, Image.open(folder / "car.png"), np.asarray(Image.open(folder / "cat.png"))])
    groups = {row.group: {one.image for one in found if one.group == row.group} for row in found}
    assert sorted(groups.values(), key=sorted) == [
        {str(folder / "car.png"), "images[1]"},
        {str(folder / "cat.png"), "images[2]"},
    ]
    assert [row.keep for row in found].count(True) == 2
    assert len(session.dedupe(folder)) == 0


def test_results_turn_into_tables(folder: Path, session):
    results = session.classify(folder, LABELS, top_k=2)
    assert results.records()[0]["labels"][0]["label"] == "car"
    json.dumps(results.records())
    assert len(results[:2]) == 2
    frame = pytest.importorskip("pandas") and results.to_pandas()
    assert list(frame["label"]) == LABELS
    table = pytest.importorskip("pyarrow") and results.to_arrow()
    assert table.column("label").to_pylist() == LABELS
    embedded = session.embed(folder)
    assert embedded.to_arrow().column("name").to_pylist() == list(embedded.names)
    assert len(embedded.to_pandas()) == 3


def test_generators_stream_and_read_no_further_than_needed(folder: Path, session):
    taken = threading.Semaphore(0)

    def endless():
        while True:
            taken.release()
            yield folder / "cat.png"

    results = session.iter_classify(endless(), LABELS)
    assert next(results).label == "cat"
    results.close()
    embedded = session.iter_embed(endless())
    assert next(embedded).vector.shape == (session.dim,)
    embedded.close()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda s: s.classify("a.png", "cat,dog"), TypeError, r"labels takes a list of texts, not one: \['cat,dog'\]"),
        (lambda s: s.embed(texts="a dog"), TypeError, "texts takes a list"),
        (lambda s: s.session.embed_texts("a dog"), TypeError, "embed_texts takes a list"),
        (lambda s: s.embed(), TypeError, "either images or texts"),
        (lambda s: s.embed("a.png", texts=["a"]), TypeError, "either images or texts"),
        (lambda s: s.embed(texts=[3]), TypeError, "texts: texts, not int"),
        (lambda s: s.classify(3, LABELS), TypeError, "not int"),
        (lambda s: s.classify([None], LABELS), TypeError, r"images\[0\]: a path, a PIL image or a uint8 array"),
        (lambda s: s.classify(np.zeros((4, 4, 3)), LABELS), TypeError, r"float64 \(4, 4, 3\)"),
        (lambda s: s.classify(np.zeros((4, 4, 9), np.uint8), LABELS), TypeError, r"\(4, 4, 9\)"),
        (lambda s: s.classify([], LABELS), UsageError, "no images"),
        (lambda s: s.classify("a.png", []), LabelsError, "no labels"),
        (lambda s: s.classify("a.png", ["cat", " "]), LabelsError, "empty label"),
        (lambda s: s.dedupe(ROOT / "examples", level="odd"), UsageError, "odd"),
        (lambda s: s.rank(np.zeros((0, 3), np.uint8), ROOT / "examples"), TypeError, r"query\[0\]"),
        (lambda s: s.rank([], ROOT / "examples"), InputsError, "nothing to look for"),
    ],
)
def test_wrong_arguments_are_named(call, error, words, session):
    with pytest.raises(error, match=words):
        call(session)


def test_an_unknown_model_is_an_error_with_a_hint():
    with pytest.raises(UnknownModelError) as caught:
        clipcli.embed("a.png", model="ViT-B-23")
    assert "ViT-B-32" in caught.value.hint
    assert isinstance(caught.value, clipcli.ClipcliError)


@pytest.mark.thorough
def test_nothing_is_printed(folder: Path, capfd: pytest.CaptureFixture[str]):
    clipcli.classify([folder / "gone.png", folder / "cat.png"], LABELS, model="tiny")
    clipcli.dedupe(folder, model="tiny", cache=False)
    assert capfd.readouterr() == ("", "")


def test_warnings_are_logged_as_warnings(folder: Path, session, caplog: pytest.LogCaptureFixture):
    session.classify(folder / "cat.png", ["cat"])
    (record,) = [record for record in caplog.records if record.name == "clipcli" and record.levelname == "WARNING"]
    assert record.message.startswith("one label alone always scores 1")


def test_a_file_called_minus_is_no_list(folder: Path, session, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    Path("cat.png").rename("-")
    assert session.classify("-", LABELS)[0].label == "cat"


def test_the_environment_names_the_model(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLIPCLI_MODEL", "tiny")
    with clipcli.open_session() as opened:
        assert opened.model == "tiny"
    assert os.environ["CLIPCLI_MODEL"] == "tiny"
