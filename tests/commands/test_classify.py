"""`classify` as a user runs it: labels, formats, checks, failures."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pictures
import pytest
from run import run

LABELS = ("-l", "disc,square")


@pytest.fixture
def classify(random_model: str):
    """Run classify with the small random model."""

    def call(*arguments: str | Path, stdin: bytes = b""):
        return run("classify", "-m", random_model, "--engine", "openclip", *arguments, stdin=stdin)

    return call


def test_each_image_gets_a_row_in_order(classify, folder: Path):
    result = classify(folder, *LABELS)
    assert result.code == 0
    assert result.stderr == ""
    cells = [line.split("\t") for line in result.lines]
    assert [row[0] for row in cells] == sorted(str(path) for path in folder.rglob("*.png"))
    assert {row[1] for row in cells} <= {"disc", "square"}
    assert all(0.5 <= float(row[2]) <= 1 for row in cells)


def test_jsonl_rows_have_the_documented_keys(classify, folder: Path):
    rows = classify(folder, *LABELS, "--format", "jsonl", "-k", "2").rows
    for row in rows:
        assert list(row) == ["image", "label", "score", "labels"]
        assert [list(entry) for entry in row["labels"]] == [["label", "score", "similarity"]] * 2
        assert row["label"] == row["labels"][0]["label"]
        assert sum(entry["score"] for entry in row["labels"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.thorough
def test_all_formats_hold_the_same_rows(classify, folder: Path, tmp_path: Path):
    jsonl = classify(folder, *LABELS, "--format", "jsonl").rows
    assert json.loads(classify(folder, *LABELS, "--format", "json").stdout) == jsonl
    table = list(csv.DictReader(io.StringIO(classify(folder, *LABELS, "--format", "csv").stdout)))
    assert [(row["image"], row["label"]) for row in table] == [(row["image"], row["label"]) for row in jsonl]
    shown = classify(folder, *LABELS, "--format", "table").stdout
    assert all(Path(row["image"]).name in shown for row in jsonl)
    for suffix in ("jsonl", "csv", "tsv", "json"):
        target = tmp_path / f"out.{suffix}"
        direct = classify(folder, *LABELS, "--format", suffix).stdout
        assert classify(folder, *LABELS, "-o", target).stdout == ""
        assert target.read_text(encoding="utf-8") == direct


@pytest.mark.thorough
def test_batch_size_workers_and_cache_do_not_change_a_row(classify, folder: Path):
    first = classify(folder, *LABELS, "--format", "jsonl", "--no-cache").stdout
    for options in (["--batch-size", "1"], ["--batch-size", "3", "--workers", "4"], ["--refresh"], []):
        rows = classify(folder, *LABELS, "--format", "jsonl", *options).rows
        for ours, theirs in zip(rows, map(json.loads, first.splitlines()), strict=True):
            assert (ours["image"], ours["label"]) == (theirs["image"], theirs["label"])
            assert ours["score"] == pytest.approx(theirs["score"], abs=2e-6)


def test_one_bad_file_is_a_row_a_line_and_an_exit_code(classify, tmp_path: Path):
    pictures.disc("red").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"this is no picture")
    pictures.disc("blue").save(tmp_path / "c.png")
    result = classify(tmp_path, *LABELS, "--format", "jsonl")
    assert result.code == 3
    assert [row.get("label") is not None for row in result.rows] == [True, False, True]
    assert result.rows[1]["error"]["stage"] == "decode"
    assert result.rows[1]["image"] == str(tmp_path / "b.png")
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"clipcli: {tmp_path / 'b.png'}: ")
    assert lines[1] == "clipcli: 1 of 3 images could not be used"


def test_nothing_usable_ends_in_4(classify, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"")
    assert classify(tmp_path / "a.png", tmp_path / "gone.png", *LABELS).code == 4


def test_top_k_lists_a_line_a_label(classify, folder: Path):
    image = folder / "disc" / "red.png"
    lines = classify(image, "-l", "a,b,c", "-k", "2").lines
    assert [line.split("\t")[0] for line in lines] == [str(image)] * 2
    assert len(classify(image, "-l", "a,b,c", "-k", "0").lines) == 3


def test_threshold_leaves_the_label_empty(classify, folder: Path):
    image = folder / "disc" / "red.png"
    assert classify(image, *LABELS, "--threshold", "1").lines[0].split("\t")[1] == ""
    row = classify(image, *LABELS, "--threshold", "1", "--format", "jsonl").rows[0]
    assert row["label"] is None
    assert row["score"] > 0
    assert classify(image, *LABELS, "--threshold", "1", "--none", "neither").lines[0].split("\t")[1] == "neither"


def test_none_is_one_more_answer(classify, folder: Path):
    rows = classify(folder, *LABELS, "--none", "neither", "-k", "0", "--format", "jsonl").rows
    assert {entry["label"] for entry in rows[0]["labels"]} == {"disc", "square", "neither"}


def test_multi_label_says_what_the_scores_mean(classify, folder: Path):
    result = classify(folder, *LABELS, "--multi-label", "--threshold", "0", "--format", "jsonl")
    assert "each label against the background prompts" in result.stderr
    assert all(len(row["labels"]) == 2 for row in result.rows)
    none = classify(folder, *LABELS, "--multi-label", "--threshold", "1", "--format", "jsonl").rows
    assert all(row["label"] is None and row["labels"] == [] for row in none)


def test_similarity_gives_cosines(classify, folder: Path):
    for row in classify(folder, *LABELS, "--similarity", "--format", "jsonl").rows:
        assert row["score"] == row["labels"][0]["similarity"]
        assert -1 <= row["score"] <= 1


def test_groups_add_up(classify, folder: Path, tmp_path: Path):
    groups = tmp_path / "groups.txt"
    groups.write_text("round: disc; ball\n", encoding="utf-8")
    image = folder / "disc" / "red.png"
    single = {
        e["label"]: e["score"]
        for e in classify(image, "-l", "disc,ball,square", "-k", "0", "--format", "jsonl").rows[0]["labels"]
    }
    grouped = classify(image, "-l", "disc,ball,square", "-k", "0", "--groups", groups, "--format", "jsonl").rows[0][
        "labels"
    ]
    by_name = {entry["label"]: entry["score"] for entry in grouped}
    assert set(by_name) == {"round", "square"}
    assert by_name["round"] == pytest.approx(single["disc"] + single["ball"], abs=1e-5)


def test_paths_are_bare_and_nul_separated(classify, folder: Path):
    result = classify(folder, *LABELS, "--paths", "-0")
    names = result.stdout.split("\0")
    assert names[-1] == ""
    assert all(Path(name).is_file() for name in names[:-1])


def test_one_label_alone_is_warned_of(classify, folder: Path):
    result = classify(folder / "disc" / "red.png", "-l", "disc")
    assert result.code == 0
    assert "one label alone always scores 1" in result.stderr


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_very_many_labels(classify, folder: Path, tmp_path: Path, count: int):
    names = tmp_path / "labels.txt"
    names.write_text("\n".join(f"thing {n}" for n in range(count)), encoding="utf-8")
    result = classify(
        folder / "disc" / "red.png", "--labels-file", names, "-p", "plain", "--format", "jsonl", "-k", "0"
    )
    assert result.code == 0
    assert len(result.rows[0]["labels"]) == count


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "no labels given"),
        (["-l", "a,,b"], 4, "empty"),
        (["-l", "a,b", "--format", "xml"], 2, "no format 'xml'"),
        (["-l", "a,b", "-o", "out.xyz"], 2, "cannot tell the format"),
        (["-l", "a,b", "-o", "missing/out.csv"], 6, "its folder does not exist"),
        (["-l", "a,b", "--device", "cuda:9"], 5, "no CUDA device"),
        (["-l", "a,b", "--device", "gpu"], 2, "no device 'gpu'"),
        (["-l", "a,b", "--precision", "int8"], 2, "no precision"),
        (["-l", "a,b", "--engine", "onxx"], 2, "did you mean 'onnx'"),
        (["-l", "a,b", "--prompts", "phtoo"], 4, "did you mean 'photo'"),
        (["-l", "a,b", "--labels-file", "nowhere.txt"], 4, "nowhere.txt"),
        (["-l", "a,b", "--multi-label", "--similarity"], 2, "do not go together"),
        (["-l", "a,b", "--background", "fog"], 2, "--none"),
        (["-l", "a,b", "--none", "b"], 2, "--none 'b' is one of the labels"),
        (["-l", "a,b", "--none", ""], 2, "--none without a name"),
        (["-l", "a,b", "-o", "."], 2, ". is a folder"),
        (["-l", "a,b", "--threshold", "nan"], 2, "--threshold"),
        (["-l", "a,b", "--threshold", "70"], 2, "less than or equal to 1"),
        (["-l", "a,b", "--min-accuracy", "0.5"], 2, "--expect"),
        (["-l", "a,b", "--expect", "c"], 2, "not one of the labels"),
        (["-l", "a,b", "--expect", "a", "--expect-from", "parent"], 2, "do not go together"),
        (["-l", "a,b", "--paths", "--format", "csv"], 2, "do not go together"),
    ],
)
def test_bad_arguments_are_one_line_and_a_hint(classify, folder: Path, arguments, code, words):
    result = classify(folder, *arguments)
    assert result.code == code
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) <= 4


class TestChecks:
    def test_folder_names_are_the_labels(self, classify, folder: Path):
        result = classify(folder, "--expect-from", "parent", "--min-accuracy", "0", "--format", "jsonl")
        assert result.code == 0
        assert {row["expected"] for row in result.rows} == {"disc", "square"}
        assert all(row["ok"] == (row["label"] == row["expected"]) for row in result.rows)
        assert "check holds" in result.stderr

    def test_a_failing_check_names_image_expectation_and_scores(self, classify, folder: Path):
        rows = classify(folder, *LABELS, "--format", "jsonl").rows
        other = "square" if rows[0]["label"] == "disc" else "disc"
        result = classify(rows[0]["image"], *LABELS, "--expect", other)
        assert result.code == 1
        first, outcome, confusion = result.stderr.splitlines()
        assert first.startswith(f"clipcli: {rows[0]['image']}: expected {other} (0.")
        assert f"found {rows[0]['label']} ({rows[0]['score']:.4f})" in first
        assert outcome == "clipcli: check fails: 0 of 1 images right, top-1 0.0%, top-5 100.0%, needed 100.0%"
        assert confusion == f"clipcli:   1 × {other} taken for {rows[0]['label']}"

    def test_a_table_names_the_images_too(self, classify, folder: Path):
        rows = classify(folder, *LABELS, "--format", "jsonl").rows
        table = folder.parent / "expected.csv"
        table.write_text("path,label\n" + "".join(f"{row['image']},{row['label']}\n" for row in rows), encoding="utf-8")
        result = classify("--expect-from", table)
        assert result.code == 0, result.stderr
        assert "check holds: 8 of 8" in result.stderr

    def test_an_unreadable_image_fails_its_check(self, classify, tmp_path: Path):
        (tmp_path / "disc").mkdir()
        (tmp_path / "disc" / "bad.png").write_bytes(b"no")
        result = classify(tmp_path, "-l", "disc,square", "--expect-from", "parent", "--min-accuracy", "0.5")
        assert result.code == 1
        assert "0 of 1 images right" in result.stderr

    def test_an_unknown_folder_fails(self, classify, tmp_path: Path):
        (tmp_path / "misc").mkdir()
        pictures.disc("red").save(tmp_path / "misc" / "a.png")
        result = classify(tmp_path, *LABELS, "--expect-from", "parent")
        assert result.code == 1
        assert "expected misc (none of the labels)" in result.stderr

    def test_a_label_that_is_not_reached_is_a_label_all_the_same(self, classify, folder: Path):
        result = classify(folder / "disc", *LABELS, "--expect-from", "parent", "--multi-label", "--threshold", "1")
        assert result.code == 1
        assert "expected disc (below the threshold), found no label" in result.stderr

    def test_folder_names_in_decomposed_unicode_match(self, classify, tmp_path: Path):
        (tmp_path / "cafe\u0301").mkdir()
        pictures.disc("red").save(tmp_path / "cafe\u0301" / "a.png")
        row = classify(tmp_path, "-l", "caf\u00e9,bar", "--expect-from", "parent", "--format", "jsonl").rows[0]
        assert row["expected"] == "caf\u00e9"

    def test_folder_names_match_labels_with_spaces(self, classify, tmp_path: Path):
        (tmp_path / "Red_car").mkdir()
        pictures.disc("red").save(tmp_path / "Red_car" / "a.png")
        row = classify(tmp_path, "-l", "red car,bike", "--expect-from", "parent", "--format", "jsonl").rows[0]
        assert row["expected"] == "red car"


class TestInputs:
    def test_a_list_on_stdin(self, classify, folder: Path):
        names = [str(folder / "disc" / "red.png"), str(folder / "square" / "blue.png")]
        result = classify("-", *LABELS, stdin="\n".join(["", *names, "", ""]).encode())
        assert [line.split("\t")[0] for line in result.lines] == names

    def test_awkward_names_survive_with_nul(self, classify, tmp_path: Path):
        names = [b"new\nline.png", b"sp ace.png", "ümläut.png".encode(), b"tab\t.png", b"not-utf8-\xff.png"]
        for name in names:
            pictures.disc("red").save(os.fsdecode(bytes(tmp_path) + b"/" + name), "PNG")
        listed = b"\0".join(bytes(tmp_path) + b"/" + name for name in names)
        result = classify("-", "-0", *LABELS, "--paths", stdin=listed)
        assert result.code == 0, result.stderr
        assert result.stdout.encode("utf-8", "surrogateescape").split(b"\0")[:-1] == listed.split(b"\0")
        tsv = classify("-", "-0", *LABELS, stdin=listed)
        assert len(tsv.lines) == len(names)
        assert "new\\nline.png" in tsv.lines[0]

    @pytest.mark.thorough
    def test_labels_and_images_cannot_both_be_stdin(self, classify):
        assert classify("-", "--labels-file", "-").code == 2
        result = classify("-", "-l", "a,b", "--prompts", "-")
        assert result.code == 2
        assert "one of images, labels and prompts" in result.stderr

    def test_an_image_named_outright_is_tried_whatever_its_suffix(self, classify, folder: Path, tmp_path: Path):
        target = tmp_path / "picture.data"
        target.write_bytes((folder / "disc" / "red.png").read_bytes())
        assert classify(target, *LABELS).code == 0
        assert classify(tmp_path, *LABELS).code == 4

    def test_a_folder_without_images_is_named_even_with_q(self, classify, folder: Path, tmp_path: Path):
        result = classify(folder / "disc", tmp_path, *LABELS, "-q")
        assert result.code == 0
        assert result.stderr == f"clipcli: warning: no images in {tmp_path}\n"

    def test_names_of_nothing_are_quoted(self, classify):
        result = classify("", " ", *LABELS, "-q")
        assert result.code == 4
        first, second, _ = result.stderr.splitlines()
        assert first == "clipcli: an empty name (a variable that is not set?) (read)"
        assert second == "clipcli: ' ': no such file (read)"

    def test_a_file_that_vanishes_is_named(self, classify, folder: Path, tmp_path: Path):
        result = classify(folder / "disc" / "red.png", tmp_path / "gone.png", *LABELS)
        assert result.code == 3
        assert "gone.png" in result.stderr


class TestReports:
    def test_a_failing_check_is_in_every_report(self, classify, folder: Path, tmp_path: Path):
        rows = classify(folder, *LABELS, "--format", "jsonl").rows
        label = rows[0]["label"]
        wrong = [row["image"] for row in rows if row["label"] != label]
        reports = [tmp_path / f"report{suffix}" for suffix in (".xml", ".sarif", ".html", ".md")]
        options = [part for report in reports for part in ("--report", report)]
        result = classify(folder, *LABELS, "--expect", label, *options)
        assert result.code == (1 if wrong else 0)
        xml, sarif, page, summary = (report.read_text(encoding="utf-8") for report in reports)
        assert xml.count("<testcase") == 8
        assert xml.count("<failure") == len(wrong)
        assert len(json.loads(sarif)["runs"][0]["results"]) == len(wrong)
        assert page.count("data:image/jpeg") == 8
        assert all(f"`{name}`" in summary for name in wrong)

    def test_without_a_check_an_image_has_to_be_readable(self, classify, tmp_path: Path):
        pictures.disc("red").save(tmp_path / "a.png")
        (tmp_path / "b.png").write_bytes(b"no")
        result = classify(tmp_path, *LABELS, "--report", tmp_path / "r.xml", "--annotate", "github")
        assert result.code == 3
        xml = (tmp_path / "r.xml").read_text(encoding="utf-8")
        assert (xml.count("<testcase"), xml.count("<error"), xml.count("<failure")) == (2, 1, 0)
        assert [line for line in result.stderr.splitlines() if line.startswith("::")] == [
            line for line in result.stderr.splitlines() if "b.png" in line and line.startswith("::error file=")
        ]

    def test_forbidden_labels(self, classify, folder: Path):
        row = classify(folder / "disc" / "red.png", *LABELS, "--format", "jsonl").rows[0]
        other = "square" if row["label"] == "disc" else "disc"
        assert classify(row["image"], *LABELS, "--forbid", other).code == 0
        result = classify(row["image"], *LABELS, "--forbid", row["label"])
        assert result.code == 1
        assert f"{row['image']}: expected not {row['label']}, found {row['label']} (" in result.stderr
        assert classify(row["image"], *LABELS, "--forbid", "squre").code == 2

    def test_a_name_cannot_start_a_line_of_its_own(self, classify, tmp_path: Path):
        (tmp_path / "a\n::stop-commands::x.png").write_bytes(b"no")
        result = classify(tmp_path, *LABELS, "--expect", "disc")
        assert result.code == 1
        assert all(line.startswith("clipcli: ") for line in result.stderr.splitlines())

    @pytest.mark.parametrize(
        ("options", "code", "words"),
        [
            (["--report", "r.pdf"], 2, "what kind of report"),
            (["--report", "missing/r.xml"], 6, "its folder does not exist"),
            (["--annotate", "gitlab"], 2, "no annotations called 'gitlab'"),
            (["--expect", "disc", "--forbid", "disc"], 2, "do not go together"),
        ],
    )
    def test_bad_options_are_known_before_any_work(self, classify, folder: Path, options, code, words):
        result = classify(folder, *LABELS, *options)
        assert result.code == code
        assert words in result.stderr
        assert result.stdout == ""
