"""`calibrate` and `classify --thresholds`: what is found, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pictures
import pytest
from run import run


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve discs and twelve squares in folders of their names, and three pictures of neither."""
    root = tmp_path_factory.mktemp("labelled")
    for name, draw in (("disc", pictures.disc), ("square", pictures.square)):
        (root / name).mkdir()
        for number in range(12):
            draw(list(pictures.COLOURS)[number % 4], (80 + 2 * number, 80)).save(root / name / f"{number}.png")
    (root / "neither").mkdir()
    for number in range(3):
        pictures.Image.new("RGB", (64, 64), (60 * number, 90, 120)).save(root / "neither" / f"{number}.png")
    return root


@pytest.fixture
def calibrate(random_model: str, labelled: Path, tmp_path: Path):
    """Run calibrate with the small random model; the result, and the file."""

    def call(*arguments: str | Path, images: Path = labelled):
        target = tmp_path / "thresholds.json"
        result = run("calibrate", images, "-o", target, "-m", random_model, "--engine", "openclip", *arguments)
        return result, json.loads(target.read_text(encoding="utf-8")) if target.exists() else None

    return call


@pytest.fixture(scope="module")
def made(random_model: str, labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What calibrate writes for discs and squares."""
    target = tmp_path_factory.mktemp("made") / "thresholds.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPCLI_CACHE_DIR", str(target.parent / "cache"))
        patch.setenv("CLIPCLI_AUTO_EXPORT", "0")
        patch.setenv("HF_HUB_OFFLINE", "1")
        run("calibrate", labelled, "-l", "disc,square", "-o", target, "-m", random_model, "--engine", "openclip")
    return target.read_text(encoding="utf-8")


@pytest.fixture
def thresholds(made: str, tmp_path: Path):
    """The file where classify looks for it; the values in it."""
    (tmp_path / "thresholds.json").write_text(made, encoding="utf-8")
    return json.loads(made)


@pytest.fixture
def classify(random_model: str, labelled: Path, tmp_path: Path):
    def call(*arguments: str | Path):
        thresholds = ("--thresholds", tmp_path / "thresholds.json")
        return run("classify", labelled, "-m", random_model, "--engine", "openclip", *thresholds, *arguments)

    return call


def test_the_page_draws_a_curve_for_each_label(calibrate, tmp_path: Path):
    result, file = calibrate("--report", tmp_path / "curves.html")
    assert result.code == 0
    page = (tmp_path / "curves.html").read_text(encoding="utf-8")
    assert 'aria-label="Reliability: share right by score"' in page
    assert f"calibrated: calibration error {file['calibration_error'][1]:.3f}" in page
    for entry in file["labels"]:
        assert f"threshold {entry['threshold']:.4f}" in page


@pytest.mark.parametrize("name", ["curves.xml", "curves.png"])
def test_other_reports_of_curves_are_refused(calibrate, tmp_path: Path, name: str):
    result, file = calibrate("--report", tmp_path / name)
    assert (result.code, file) == (2, None)
    assert name in result.stderr
    assert not (tmp_path / name).exists()


def test_folders_are_labels_and_every_label_gets_a_threshold(calibrate, labelled: Path):
    result, file = calibrate("--format", "jsonl")
    assert result.code == 0
    assert [(row["label"], row["images"]) for row in result.rows] == [("disc", 12), ("neither", 3), ("square", 12)]
    assert "fewer than 10 images of neither (3)" in result.stderr
    assert file["images"] == 27
    assert file["temperature"] > 0
    assert file["labels"][1]["own"] is False
    for row in result.rows:
        assert list(row) == ["label", "threshold", "images", "precision", "recall", "own"]
        for share in filter(None, (row["precision"], row["recall"])):
            assert 0 <= share["low"] <= share["value"] <= share["high"] <= 1


def test_classify_goes_by_the_file(thresholds, classify):
    limits = {entry["label"]: entry["threshold"] for entry in thresholds["labels"]}
    for row in classify("-l", "square,disc", "--format", "jsonl").rows:
        best = row["labels"][0]
        assert row["label"] == (best["label"] if row["score"] >= limits[best["label"]] else None)
        assert best["score"] == row["score"]


def test_without_labels_classify_takes_those_of_the_file(thresholds, classify):
    rows = classify("--format", "jsonl", "-k", "0").rows
    assert [entry["label"] for entry in thresholds["labels"]] == ["disc", "square"]
    assert {entry["label"] for row in rows for entry in row["labels"]} == {"disc", "square"}
    assert rows == classify("-l", "disc,square", "--format", "jsonl", "-k", "0").rows
    checked = classify("--expect-from", "parent")
    assert "expected neither (none of the labels)" in checked.stderr


@pytest.mark.thorough
def test_folders_whose_names_are_not_what_is_said(calibrate, classify, labelled: Path, tmp_path: Path):
    for folder in ("a_disc", "a_square"):
        (tmp_path / "spoken" / folder).mkdir(parents=True)
        for number in range(3):
            picture = (labelled / folder.removeprefix("a_") / f"{number}.png").read_bytes()
            (tmp_path / "spoken" / folder / f"{number}.png").write_bytes(picture)
    _, file = calibrate(images=tmp_path / "spoken")
    assert [entry["phrases"] for entry in file["labels"]] == [["a disc"], ["a square"]]
    assert classify().code == 0
    assert classify("-l", "a_disc,a_square").code == 0  # the same names make the same texts
    refused = classify("-l", "a-disc,a_square")
    assert refused.code == 4


def test_hyphens_stay_and_other_texts_are_named(calibrate, classify, labelled: Path, tmp_path: Path):
    for folder, source in (("t-disc", "disc"), ("square", "square")):
        (tmp_path / "spoken" / folder).mkdir(parents=True)
        for number in range(3):
            picture = (labelled / source / f"{number}.png").read_bytes()
            (tmp_path / "spoken" / folder / f"{number}.png").write_bytes(picture)
    _, file = calibrate(images=tmp_path / "spoken")
    assert [entry["phrases"] for entry in file["labels"]] == [["square"], ["t-disc"]]
    assert classify("-l", "t-disc,square").code == 0
    (tmp_path / "labels.txt").write_text("t-disc: t disc\nsquare\n")
    refused = classify("--labels-file", tmp_path / "labels.txt")
    assert refused.code == 4
    assert "other texts for 't-disc': 't-disc' there, 't disc' here" in refused.stderr


def test_given_labels_make_the_others_none_of_these(calibrate):
    result, file = calibrate("-l", "disc,square")
    assert "3 images of no label count as none of these (neither)" in result.stderr
    assert [entry["label"] for entry in file["labels"]] == ["disc", "square"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("-l", "disc,circle"), 4, "made for other labels: no threshold for circle; without square"),
        (("-l", "disc,square", "-p", "plain"), 4, "made with the prompts photo, not with plain"),
        (("-l", "disc,square", "--multi-label"), 2, "made without --multi-label"),
        (("-l", "disc,square", "--threshold", "0.5"), 2, "--thresholds does not go together with"),
        (("-l", "disc,square", "--similarity"), 2, "--thresholds does not go together with"),
    ],
)
def test_other_labels_prompts_and_answers_are_refused(thresholds, classify, arguments, code, message):
    result = classify(*arguments)
    assert result.code == code
    assert message in result.stderr
    assert result.stdout == ""


def test_another_model_is_refused(thresholds, classify, tmp_path: Path):
    foreign = json.dumps({**thresholds, "fingerprint": "0" * 12})
    (tmp_path / "thresholds.json").write_text(foreign, encoding="utf-8")
    result = classify("-l", "disc,square")
    assert result.code == 5
    assert "(000000000000), not for" in result.stderr


def test_synonyms_are_prompts_too(thresholds, classify, tmp_path: Path):
    labels = tmp_path / "labels.txt"
    labels.write_text("disc: circle\nsquare\n", encoding="utf-8")
    assert "made with other texts for" in classify("--labels-file", labels).stderr


def _set(data: dict, path: str, value: object) -> None:
    *above, last = path.split(".")
    for key in above:
        data = data[int(key) if key.isdigit() else key]
    data[int(last) if last.isdigit() else last] = value


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "change",
    [("temperature", NAN, "temperature"), ("temperature", INF, "temperature"), ("temperature", 0, "temperature is 0"),
     ("temperature", -1.5, "temperature is -1.5"), ("temperature", 1e-300, "temperature is 1e-300"),
     ("labels.0.threshold", NAN, "threshold"), ("labels.1.threshold", -INF, "threshold"),
     ("labels.0.threshold", 1.5, "threshold of label 'disc' is 1.5, not from 0 to 1"),
     ("labels.1.threshold", -0.01, "threshold of label 'square' is -0.01"), ("labels.0.threshold", True, "threshold"),
     ("labels.0.threshold", "0.5", "threshold"), ("labels.0.threshold", 10**400, "threshold"),
     ("labels.1.label", "disc", "label 'disc' stands 2 times"), ("labels", [], "it has no labels"),
     ("labels.0.images", -1, "images of label 'disc' is -1"), ("labels.0.recall", [0.5, 0.2, 7], "recall of label"),
     ("accuracy", NAN, "accuracy"), ("accuracy", 1.01, "accuracy"), ("calibration_error", [0.1, INF], "calibration"),
     ("target_precision", 2, "target_precision"), ("images", -3, "images is -3"), ("multi_label", "no", "multi_label")],
)  # fmt: skip
def test_numbers_that_mean_nothing_are_refused(thresholds, classify, tmp_path: Path, change: tuple[str, object, str]):
    path, value, says = change
    _set(thresholds, path, value)
    (tmp_path / "thresholds.json").write_text(json.dumps(thresholds), encoding="utf-8")
    result = classify("-l", "disc,square")
    assert (result.code, result.stdout, says in result.stderr) == (4, "", True), result.stderr
    assert "thresholds.json: " in result.stderr


def test_a_value_that_stands_twice_is_refused(made: str, classify, tmp_path: Path):
    twice = made.replace('"temperature":', '"temperature": 2.0, "temperature":')
    (tmp_path / "thresholds.json").write_text(twice, encoding="utf-8")
    result = classify("-l", "disc,square")
    assert (result.code, "'temperature' occurs twice" in result.stderr) == (4, True), result.stderr


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 9}', '{"format": 1, "labels": 3}'])
def test_a_file_that_is_none_is_refused(classify, tmp_path: Path, text: str):
    (tmp_path / "thresholds.json").write_text(text, encoding="utf-8")
    result = classify("-l", "disc,square")
    assert result.code == 4
    assert "thresholds.json: " in result.stderr


def test_multi_label_thresholds(calibrate, classify):
    result, file = calibrate("-l", "disc,square", "--multi-label")
    assert result.code == 0
    assert file["multi_label"] is True
    assert classify("-l", "disc,square", "--multi-label").code == 0
    assert classify("-l", "disc,square").code == 2


def test_a_precision_that_cannot_be_had_is_said(calibrate, tmp_path: Path):
    for name in ("disc", "square"):
        (tmp_path / "same" / name).mkdir(parents=True)
        pictures.disc("red").save(tmp_path / "same" / name / "one picture, two labels.png")
    result, file = calibrate("--target-precision", "1.0", images=tmp_path / "same")
    assert file["target_precision"] == 1.0
    assert "warning: precision 1 is not reached for disc, square" in result.stderr
    assert result.code == 0
    assert "not reached" not in calibrate("--target-precision", "0.0")[0].stderr


def test_bad_images_are_named_and_the_rest_counts(calibrate, labelled: Path, tmp_path: Path):
    broken = tmp_path / "disc" / "broken.jpg"
    broken.parent.mkdir()
    broken.write_bytes(b"no picture")
    result, file = calibrate(broken)
    assert result.code == 3
    assert "broken.jpg" in result.stderr
    assert file["images"] == 27


def test_one_label_alone_is_nothing_to_calibrate(calibrate):
    result, file = calibrate("-l", "disc")
    assert (result.code, file) == (4, None)
    assert "disc alone always scores 1" in result.stderr
    assert calibrate("-l", "disc", "--multi-label")[0].code == 0


def test_where_thresholds_cannot_go_is_known_first(random_model: str, labelled: Path, tmp_path: Path, monkeypatch):
    from clipcli.runs.calibrate.run import CalibrateRun

    monkeypatch.setattr(CalibrateRun, "calibrate", lambda *_: pytest.fail("images were looked at"))
    bad = {str(tmp_path / "gone" / "t.json"): (6, "its folder does not exist"), str(tmp_path): (6, "is a directory")}
    for target, (code, words) in {**bad, "-": (2, "need a file")}.items():
        result = run("calibrate", labelled, "-o", target, "-m", random_model, "--engine", "openclip")
        assert result.code == code
        assert words in result.stderr


def test_one_image_is_too_few(calibrate, labelled: Path):
    result, file = calibrate("-l", "disc,square", images=labelled / "disc" / "0.png")
    assert result.code == 4
    assert "too few labelled images" in result.stderr
    assert file is None
