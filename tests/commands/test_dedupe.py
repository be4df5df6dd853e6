"""`dedupe` as users meet it: levels, rows, sets, checks, and what it must never call a duplicate."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import raw_files
from dedupe_pictures import CHANGES, EDITS, family
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from plan.trees import snapshot
from run import assert_one_error, run

from clipcli.cache import EmbeddingCache
from clipcli.runs.dedupe.signatures import SignatureReader
from clipcli.tasks.dedupe.pairs import Pairs
from clipcli.tasks.dedupe.sketch_join import candidate_pairs


def draw(seed: int, size: tuple[int, int] = (180, 140)) -> Image.Image:
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (7, 9, 3), dtype=np.uint8)).resize(size, Image.BICUBIC)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Two pictures: one four times, one twice; and one alone."""
    root = tmp_path / "library"
    (root / "sub").mkdir(parents=True)
    draw(1).save(root / "one.png")
    (root / "sub" / "same bytes.png").write_bytes((root / "one.png").read_bytes())
    draw(1).save(root / "same pixels.bmp")
    draw(1).resize((90, 70)).save(root / "small.jpg", quality=70)
    draw(2).save(root / "two.png")
    draw(2).convert("L").save(root / "two grey.jpg", quality=60)
    draw(3).save(root / "alone.png")
    return root


def levels(result) -> dict[str, tuple[int, str, bool]]:
    return {os.path.basename(r["image"]): (r["group"], r["level"], r["keep"]) for r in result.rows}


@pytest.mark.thorough
def test_bins_are_passed_over_and_globs_choose(library):
    (library / "#recycle").mkdir()
    draw(3).save(library / "#recycle" / "alone.png")
    exact = ("--level", "exact", "-f", "jsonl")
    assert "alone.png" not in levels(run("dedupe", library, *exact))
    assert set(levels(run("dedupe", library, *exact, "--exclude", "sub"))) == {"one.png", "same pixels.bmp"}
    assert set(levels(run("dedupe", library, *exact, "--include", "*.png"))) == {"one.png", "same bytes.png"}
    both = run("dedupe", library, library / "#recycle", *exact)
    assert "alone.png" in levels(both)
    against = run("dedupe", library / "#recycle", "--against", library, *exact, "--exclude", "alone.png")
    assert against.code == 4


@pytest.mark.thorough
def test_three_levels_in_one_pass(library, random_model):
    result = run("dedupe", library, "-m", random_model, "--min-similarity", "1", "-f", "jsonl")
    assert result.code == 0
    assert levels(result) == {
        "same pixels.bmp": (1, "near", True),
        "one.png": (1, "exact", False),
        "same bytes.png": (1, "exact", False),
        "small.jpg": (1, "near", False),
        "two.png": (2, "near", True),
        "two grey.jpg": (2, "near", False),
    }
    kept = result.rows[0]
    assert kept["reason"] == "most bytes"
    assert kept["similarity"] == 1
    assert all(-1 <= row["min_similarity"] <= row["similarity"] <= 1 for row in result.rows)
    assert {row["keeper"] for row in result.rows[:4]} == {kept["path"]}
    assert "2 groups; 4 files could go" in result.stderr


@pytest.mark.thorough
def test_similar_files_are_shown_and_never_offered_for_removal(library, random_model):
    result = run("dedupe", library, "-m", random_model, "--min-similarity", "0", "-f", "jsonl")
    alone = next(row for row in result.rows if row["image"].endswith("alone.png"))
    assert alone["level"] == "similar"
    assert alone["keep"] is True
    paths = run("dedupe", library, "-m", random_model, "--min-similarity", "0", "--paths").stdout
    assert "alone.png" not in paths
    loose = run("dedupe", library, "-m", random_model, "--min-similarity", "0", "--remove", "similar", "--paths").stdout
    assert len(loose.splitlines()) == 6


@pytest.mark.thorough
def test_copies_of_a_look_alike_are_copies(library, random_model, tmp_path):
    """All are similar here; those that are copies of each other are offered all the same, and counted in a check."""
    (library / "two again.png").write_bytes((library / "two.png").read_bytes())
    command = ("dedupe", library, "-m", random_model, "--min-similarity", "0", "-f", "jsonl")
    rows = {os.path.basename(row["image"]): row for row in run(*command).rows}
    assert {row["group"] for row in rows.values()} == {1}
    two = next(rows[name] for name in ("two.png", "two again.png") if rows[name]["keep"])
    assert (two["level"], Path(two["keeper"]).name) == ("similar", "same pixels.bmp")
    copies = {name: row["level"] for name, row in rows.items() if row["keeper"] == two["path"]}
    assert sorted(copies.values()) == ["exact", "near"]
    assert not any(rows[name]["keep"] for name in copies)
    assert (rows["alone.png"]["keep"], rows["alone.png"]["level"]) == (True, "similar")
    assert run(*command, "--remove", "similar").stdout.count('"keep": true') == 1
    only = {os.path.basename(row["image"]): row for row in run(*command, "--remove", "exact").rows}
    assert (only["two grey.jpg"]["keep"], only["small.jpg"]["keep"]) == (True, True)
    assert sum(not row["keep"] for row in only.values()) == 3
    run(*command[:-2], "--report", tmp_path / "page.html", "-o", tmp_path / "plan.jsonl")
    assert f"same bytes as {two['image']}" in (tmp_path / "page.html").read_text(encoding="utf-8")
    delete = ("apply", tmp_path / "plan.jsonl", "--action", "delete", "--yes", "--irreversible")
    assert run(*delete).code == 2
    assert run(*delete, "--unreviewed").code == 0
    assert sorted(path.name for path in library.rglob("*.*")) == sorted(name for name in rows if rows[name]["keep"])


@pytest.mark.thorough
@pytest.mark.parametrize("level", ["exact", "near"])
def test_a_check_finds_copies_of_a_near_copy(tmp_path, random_model, level):
    draw(1, (400, 300)).save(tmp_path / "large.png")
    for name in ("a.jpg", "b.jpg"):
        draw(1, (400, 300)).resize((200, 150)).save(tmp_path / name)
    result = run("dedupe", tmp_path, "-m", random_model, "--fail-on", level, "-f", "jsonl")
    assert result.code == 1
    assert [row["level"] for row in result.rows] == ["near", "near", "near"]
    assert [Path(row["keeper"]).name for row in result.rows] == ["large.png"] * 3


def test_exact_copies_need_no_model(library):
    result = run("dedupe", library, "--level", "exact", "-m", "no/such-model", "-f", "jsonl")
    assert levels(result) == {
        "same pixels.bmp": (1, "exact", True),
        "one.png": (1, "exact", False),
        "same bytes.png": (1, "exact", False),
    }


def test_near_and_edited_copies_need_no_model(library):
    near = run("dedupe", library, "--level", "near", "-m", "no/such-model", "-f", "jsonl")
    edited = run("dedupe", library, "--level", "edited", "-m", "no/such-model", "-f", "jsonl")
    assert "near" in {level for _, level, _ in levels(near).values()}
    assert levels(near).items() <= levels(edited).items()
    assert {row["similarity"] for row in near.rows if not row["keep"]} == {None}
    assert run("dedupe", library, "--level", "similar", "-m", "no/such-model").code == 5


def test_an_unchanged_file_is_not_read_again(library, monkeypatch):
    monkeypatch.setattr("clipcli.cache.store._RACY_SECONDS", -3600)
    first = run("dedupe", library, "--level", "near", "-f", "jsonl")
    monkeypatch.setattr("clipcli.images.read_ref", lambda ref: pytest.fail(f"{ref.path} was read"))
    monkeypatch.setattr("clipcli.images.read", lambda path: pytest.fail(f"{path} was read"))
    assert run("dedupe", library, "--level", "near", "-f", "jsonl").rows == first.rows


def test_groups_as_fdupes_writes_them(library):
    (library / "two copy.png").write_bytes((library / "two.png").read_bytes())
    result = run("dedupe", library, "--level", "exact", "-f", "groups", "--keep", "shortest-path")
    names = [os.path.basename(line) for line in result.lines]
    assert names == ["one.png", "same pixels.bmp", "same bytes.png", "", "two.png", "two copy.png"]


@pytest.mark.thorough
def test_who_deletes_all_but_the_first_of_a_group_loses_no_look_alike(library, random_model):
    command = ("dedupe", library, "-m", random_model, "--min-similarity", "0", "-f", "groups")
    groups = [[os.path.basename(n) for n in part.split("\n") if n] for part in run(*command).stdout.split("\n\n")]
    assert [len(names) for names in groups] == [4, 2]
    assert {groups[1][0], groups[1][1]} == {"two.png", "two grey.jpg"}
    assert not any("alone.png" in names for names in groups)
    protected = run(*command, "--protect", library / "sub").lines
    assert os.path.basename(protected[0]) == "same bytes.png"
    assert not any(name.endswith("same bytes.png") for name in protected[1:])


@pytest.mark.thorough
@pytest.mark.parametrize("format_", ["tsv", "csv", "json", "table"])
def test_every_format_has_the_documented_columns(library, format_):
    out = run("dedupe", library, "--level", "exact", "-f", format_).stdout
    assert "one.png" in out
    assert out.count("exact") == 3
    if format_ == "csv":
        assert out.splitlines()[0] == "group,image,level,keep,similarity,min_similarity,error"


@pytest.mark.thorough
def test_colour_is_kept_before_bytes(tmp_path, random_model):
    draw(2).save(tmp_path / "colour.jpg", quality=60)
    Image.open(tmp_path / "colour.jpg").convert("L").save(tmp_path / "grey.png")
    assert (tmp_path / "grey.png").stat().st_size > (tmp_path / "colour.jpg").stat().st_size
    result = run("dedupe", tmp_path, "-m", random_model, "-f", "jsonl")
    assert [(Path(r["image"]).name, r["reason"]) for r in result.rows if r["keep"]] == [("colour.jpg", "in colour")]


def test_a_preferred_folder_may_be_reached_by_a_link_and_must_exist(library, tmp_path):
    (tmp_path / "link").symlink_to(library)
    result = run("dedupe", library, "--level", "exact", "--keep", f"in:{tmp_path / 'link' / 'sub'}", "-f", "jsonl")
    assert levels(result)["same bytes.png"][2]
    result = run("dedupe", library, "--level", "exact", "--keep", "in:nowhere")
    assert result.code == 2
    assert "--keep in:nowhere: no such folder" in result.stderr


@pytest.mark.thorough
def test_keep_rules_and_protected_folders(library):
    result = run(
        "dedupe", library, "--level", "exact", "--keep", "largest", "--protect", library / "sub", "-f", "jsonl"
    )
    assert result.rows[0]["image"].endswith("same bytes.png")
    assert result.rows[0]["reason"] == "protected"
    assert run("dedupe", library, "--protect", library / "sbu").code == 2
    assert run("dedupe", library, "--keep", "largets").stderr.count("did you mean 'largest'") == 1


@pytest.mark.thorough
@given(seed=st.randoms(use_true_random=False))
@settings(max_examples=4)
def test_rows_do_not_depend_on_the_order_of_inputs(seed, folder_of_copies, random_model):
    files = sorted(str(path) for path in folder_of_copies.iterdir())
    expected = run("dedupe", *files, "-m", random_model, "-f", "jsonl").stdout
    seed.shuffle(files)
    assert run("dedupe", *files, "-m", random_model, "-f", "jsonl").stdout == expected


@pytest.fixture(scope="module")
def folder_of_copies(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("copies")
    for seed in range(3):
        draw(seed).save(root / f"{seed}.png")
        draw(seed).resize((150, 120)).save(root / f"{seed}.jpg")
        draw(seed).crop((6, 5, 176, 136)).save(root / f"{seed} cut.jpg")
    return root


@pytest.mark.thorough
def test_against_a_folder_never_within_a_set(tmp_path, random_model):
    train, test = tmp_path / "train", tmp_path / "test"
    train.mkdir()
    test.mkdir()
    for name, seed in (("a.png", 1), ("a copy.png", 1), ("b.png", 2)):
        draw(seed).save(train / name)
    draw(1).save(test / "leak.jpg", quality=60)
    draw(5).save(test / "new.png")
    draw(5).save(test / "new copy.png")
    result = run("dedupe", test, "--against", train, "-m", random_model, "-f", "jsonl", "--fail-on", "near",
                 "--level", "near")  # fmt: skip
    assert result.code == 1
    assert [os.path.basename(row["image"]) for row in result.rows] == ["a.png", "leak.jpg"]
    assert [row["keep"] for row in result.rows] == [True, False]
    assert result.rows[0]["protected"] is True
    clean = run(
        "dedupe", test / "new.png", "--against", train, "-m", random_model, "--fail-on", "near", "--level", "near"
    )
    assert (clean.code, clean.stdout) == (0, "")


@pytest.mark.thorough
@pytest.mark.parametrize("products", [10**9, 0])
def test_against_vectors(tmp_path, random_model, monkeypatch, products):
    monkeypatch.setattr("clipcli.tasks.dedupe.ivf.EXACT_PRODUCTS", products)
    train = tmp_path / "train"
    train.mkdir()
    for seed in range(4):
        draw(seed).save(train / f"{seed}.png")
    assert run("embed", train, "-m", random_model, "-o", tmp_path / "train.npy").code == 0
    (train / "3.png").unlink()
    draw(2).save(tmp_path / "again.bmp")
    draw(3).save(tmp_path / "gone.png")
    result = run("dedupe", tmp_path / "again.bmp", tmp_path / "gone.png", "--against", tmp_path / "train.npy",
                 "-m", random_model, "--min-similarity", "0.99999", "-f", "jsonl")  # fmt: skip
    found = {os.path.basename(row["image"]): row["level"] for row in result.rows if not row.get("protected")}
    assert found == {"again.bmp": "exact", "gone.png": "similar"}
    assert ("approximate search of 4 references in 2 images: 100.0% of " in result.stderr) is (products == 0)


@pytest.mark.thorough
def test_an_approximate_search_finds_the_same_and_says_so(library, random_model, monkeypatch):
    options = ("-m", random_model, "--level", "near", "--rotations", "--no-cache", "-f", "jsonl")
    exact = [run("dedupe", library, *options), run("dedupe", library / "sub", "--against", library, *options)]
    monkeypatch.setattr("clipcli.tasks.dedupe.ivf.EXACT_PRODUCTS", 0)
    monkeypatch.setattr("clipcli.tasks.dedupe.ivf._CELL_ROWS", 2)
    again = [run("dedupe", library, *options), run("dedupe", library / "sub", "--against", library, *options)]
    assert [result.stdout for result in again] == [result.stdout for result in exact]
    assert len(exact[0].rows) == 6
    assert re.findall(r"approximate search of \d+ (\w+) in \d+: 100.0% of ", again[0].stderr) == ["sketches"]


def test_a_query_is_compared_with_a_few_of_many_equal_references(tmp_path, random_model, monkeypatch):
    monkeypatch.setattr("clipcli.runs.dedupe.against._COMPARED_PER_QUERY", 5)
    compared, compare = [], SignatureReader.compare
    monkeypatch.setattr(SignatureReader, "compare", lambda self, pairs: compared.extend(pairs) or compare(self, pairs))
    train, test = tmp_path / "train", tmp_path / "test"
    train.mkdir()
    test.mkdir()
    for number in range(12):
        Image.new("RGB", (40 + number, 40), "white").save(train / f"{number:02d}.png")
    for number in range(2):
        Image.new("RGB", (90 + number, 90), "white").save(test / f"{number}.png")
    result = run("dedupe", test, "--against", train, "-m", random_model, "-f", "jsonl")
    assert [row["level"] for row in result.rows if not row.get("protected")] == ["near", "near"]
    assert len(compared) == 10
    assert "too many" not in result.stderr


@pytest.mark.thorough
def test_every_step_has_a_bar_that_is_full_at_its_end(library, random_model, bars, monkeypatch):
    monkeypatch.setattr("clipcli.runs.dedupe.signatures._BATCH", 3)
    for joins in (["joining sketches", "joining vectors"], ["joining vectors"]):  # then candidates come from the cache
        run("dedupe", library, "-m", random_model, "--rotations")
        names = ["", "looking", *joins, "exact pixels"]
        assert [name for name, _, _ in bars] == [*names, "comparing", "detail", "edits"]
        assert [total for _, total, _ in bars] == [done for _, _, done in bars]
        assert bars[0][1] == 7
        assert bars[-3][1] >= 3
        bars.clear()
    run("dedupe", library / "sub", "--against", library, "-m", random_model)
    assert [name for name, _, _ in bars] == ["", "references", "looking", "comparing"]
    assert [total for _, total, _ in bars] == [done for _, _, done in bars]


def test_turned_pictures_only_with_turns(tmp_path, random_model):
    draw(4).save(tmp_path / "a.png")
    draw(4).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "b.png")
    plain = run("dedupe", tmp_path, "-m", random_model, "--level", "near", "-f", "jsonl")
    turned = run("dedupe", tmp_path, "-m", random_model, "--level", "near", "--rotations", "-f", "jsonl")
    assert plain.rows == []
    assert turned.rows[1]["turn"].startswith("turned")


def test_an_orientation_in_the_metadata_is_no_difference(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(4).save(tmp_path / "upright.png")
    draw(4).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    assert len(run("dedupe", tmp_path, "--level", "exact", "-f", "jsonl").rows) == 2
    assert run("dedupe", tmp_path, "--level", "exact", "--no-orient", "-f", "jsonl").rows == []


@pytest.mark.thorough
def test_animations_that_share_their_first_frame_are_different(tmp_path, random_model):
    frames = [draw(seed) for seed in range(4)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:3])
    frames[0].save(tmp_path / "b.gif", save_all=True, append_images=[frames[3], frames[1]])
    frames[0].save(tmp_path / "still.gif")
    frames[0].save(tmp_path / "a again.gif", save_all=True, append_images=frames[1:3], comment=b"another container")
    result = run("dedupe", tmp_path, "-m", random_model, "--level", "near", "-f", "jsonl")
    assert sorted(os.path.basename(row["image"]) for row in result.rows) == ["a again.gif", "a.gif"]


def test_empty_and_broken_files_are_errors_and_no_duplicates(library):
    for name in ("empty1.png", "empty2.png"):
        (library / name).write_bytes(b"")
    for name in ("broken1.jpg", "broken2.jpg"):
        (library / name).write_bytes(b"no picture")
    result = run("dedupe", library, "--level", "exact", "-f", "jsonl")
    errors = [row for row in result.rows if "error" in row]
    assert [os.path.basename(row["image"]) for row in errors] == [
        "empty1.png",
        "empty2.png",
        "broken1.jpg",
        "broken2.jpg",
    ]
    named = {os.path.basename(row["image"]) for row in result.rows if "group" in row}
    assert named == {"one.png", "same bytes.png", "same pixels.bmp"}
    assert result.code == 3


@pytest.mark.thorough
@pytest.mark.parametrize("level", ["exact", "near"])
def test_empty_files_are_duplicates_when_asked(library, tmp_path, random_model, level):
    for age, name in enumerate(("empty1.png", "sub/empty2.jpg", "empty3.gif")):
        (library / name).write_bytes(b"")
        os.utime(library / name, (10**9 + age, 10**9 + age))
    os.link(library / "empty1.png", library / "empty1 again.png")
    options = ("--level", level, "-m", random_model)
    result = run("dedupe", library, *options, "--empty", "-f", "jsonl")
    assert result.code == 0
    [group] = {row["group"] for row in result.rows if row["bytes"] == 0}
    empty = [row for row in result.rows if row["group"] == group]
    assert [(os.path.basename(row["image"]), row["level"], row["reason"]) for row in empty] == [
        ("empty1.png", "exact", "oldest"),
        ("empty3.gif", "exact", "same bytes"),
        ("empty2.jpg", "exact", "same bytes"),
    ]
    assert len({row["group"] for row in result.rows}) == (2 if level == "exact" else 3)
    run("dedupe", library, *options, "--empty", "-o", tmp_path / "plan.jsonl")
    assert run("apply", tmp_path / "plan.jsonl", "--action", "delete", "--yes", "--irreversible").code == 0
    assert {path.name for path in library.rglob("*") if path.is_file() and not path.stat().st_size} == {
        "empty1 again.png", "empty1.png",
    }  # fmt: skip
    assert not (library / "empty3.gif").exists()


def test_empty_files_against_a_set(tmp_path, random_model):
    train, test = tmp_path / "train", tmp_path / "test"
    for folder in (train, test):
        folder.mkdir()
        draw(1 if folder == train else 2).save(folder / "picture.png")
    for name in ("a.png", "b.png"):
        (test / name).write_bytes(b"")
    assert run("dedupe", test, "--against", train, "--level", "exact", "--empty").stdout == ""
    (train / "empty.png").write_bytes(b"")
    result = run("dedupe", test, "--against", train, "--level", "near", "-m", random_model, "--empty", "-f", "jsonl")
    assert [(os.path.basename(row["image"]), row["keep"]) for row in result.rows] == [
        ("empty.png", True), ("a.png", False), ("b.png", False),
    ]  # fmt: skip


def test_links_and_second_names_are_no_copies(library):
    os.link(library / "alone.png", library / "second name.png")
    (library / "link.png").symlink_to(library / "alone.png")
    (library / "folder").symlink_to(library / "sub", target_is_directory=True)
    result = run("dedupe", library, "--level", "exact", "-f", "jsonl")
    assert sorted(levels(result)) == ["one.png", "same bytes.png", "same pixels.bmp"]
    assert "2 links and further names" in result.stderr
    again = run("dedupe", library / "one.png", library / "one.png", "--level", "exact")
    assert again.stdout == ""


@pytest.mark.thorough
def test_decisions_do_not_come_back(library, tmp_path, random_model):
    plan, ignored = tmp_path / "plan.jsonl", tmp_path / "different.txt"
    run("dedupe", library, "-m", random_model, "--level", "near", "-o", plan)
    decided = run("apply", plan, "--keep-both", "--ignore-file", ignored)
    assert decided.code == 0
    assert ignored.read_text().count("\n") == 1 + 3 + 1
    again = run("dedupe", library, "-m", random_model, "--level", "near", "--ignore-file", ignored, "-f", "jsonl")
    assert sorted(os.path.basename(row["image"]) for row in again.rows) == ["one.png", "same bytes.png"]
    ignored.write_text("no digests\n")
    assert run("dedupe", library, "--ignore-file", ignored).code == 4


@pytest.mark.thorough
@pytest.mark.parametrize("level", ["exact", "near"])
def test_a_check_fails_when_anything_is_found(library, level):
    assert run("dedupe", library, "--level", level, "--fail-on", level).code == 1
    assert run("dedupe", library / "alone.png", library / "two.png", "--level", level, "--fail-on", level).code == 0


@pytest.mark.thorough
def test_the_next_step_is_said(library, tmp_path):
    exact = ("dedupe", library, "--level", "exact")
    assert "add -o plan.jsonl to this command, then: clipcli apply plan.jsonl" in run(*exact).stderr
    plan = tmp_path / "my plan.jsonl"
    assert f"next: clipcli apply '{plan}'" in run(*exact, "-o", plan).stderr
    page = run(*exact, "-o", plan, "--report", tmp_path / "page.html").stderr
    assert (
        f"open {tmp_path / 'page.html'} in a browser, choose, save, then: clipcli apply 'my plan-reviewed.jsonl'"
        in page
    )
    assert "next:" not in run(*exact, "-f", "jsonl").stderr
    for quiet in ((*exact, "-q"), ("dedupe", library / "alone.png", library / "two.png", "--level", "exact")):
        assert "apply" not in run(*quiet).stderr


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--delete"], "clipcli apply plan.jsonl --action delete"),
        (["--trash"], "clipcli apply plan.jsonl --action trash"),
        (["--move-to", "x"], "clipcli apply plan.jsonl --action move:x"),
        (["--hardlink"], "clipcli apply plan.jsonl --action hardlink"),
        (["--dry-run"], "clipcli apply plan.jsonl (a dry run without --yes)"),
    ],
)
def test_words_of_apply_point_there(words, hint):
    done = run("dedupe", ".", *words)
    assert (done.code, done.stdout) == (2, "")
    assert f"{words[0]} is for apply" in done.stderr
    assert hint in done.stderr
    assert words[0] not in run("dedupe", "--help").stdout


def test_the_table_says_size_pixels_and_reason(library):
    text = run("dedupe", library, "--level", "exact", "-f", "table").stdout
    assert re.search(r"same pixels\.bmp +exact +yes +76 kB +180 × 140 +most bytes", text)
    assert "min" not in text.splitlines()[0]


class TestSplits:
    """`--against` as a leak check: whatever shows the same picture on both sides is found, however it got there."""

    OPTIONS = ("--level", "exact", "-f", "jsonl", "--fail-on", "exact")

    @pytest.fixture
    def pool(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Four pictures, and `train` and `test` without any."""
        for name in ("pool", "train", "test"):
            (tmp_path / name).mkdir()
        for seed in range(4):
            draw(seed).save(tmp_path / "pool" / f"{seed}.png")
        monkeypatch.chdir(tmp_path)
        return tmp_path

    @staticmethod
    def link(split: str, *seeds: int) -> None:
        for seed in seeds:
            Path(split, f"{split}-{seed}.png").symlink_to(f"../pool/{seed}.png")

    @pytest.mark.thorough
    def test_splits_made_of_links_are_followed_to_what_they_show(self, pool):
        self.link("train", 0, 1)
        self.link("test", 1, 2)
        draw(0).save("test/pixels.bmp")
        leaks = run("dedupe", "test", "--against", "train", "--level", "near", "-m", "tiny", "-f", "jsonl",
                    "--fail-on", "exact")  # fmt: skip
        assert leaks.code == 1
        assert [(row["image"], row["keep"], row["reason"]) for row in leaks.rows if "test" in row["image"]] == [
            ("test/pixels.bmp", False, "same pixels"), ("test/test-1.png", True, "the same file"),
        ]  # fmt: skip
        assert "3 images compared with 2 of train" in leaks.stderr
        assert "1 image on both sides" in leaks.stderr

    def test_links_to_folders_are_entered_and_loops_end(self, pool):
        Path("train/all").symlink_to("../pool")
        Path("pool/back").symlink_to("../pool")
        self.link("test", 3)
        Path("test/loop").symlink_to("../test")
        found = run("dedupe", "test", "--against", "train", *self.OPTIONS)
        assert found.code == 1
        assert [row["image"] for row in found.rows] == ["train/all/3.png", "test/test-3.png"]

    def test_a_hard_link_is_the_same_file(self, pool):
        os.link("pool/0.png", "train/a.png")
        os.link("pool/0.png", "test/b.png")
        os.link("pool/0.png", "test/c.png")
        found = run("dedupe", "test", "--against", "train", *self.OPTIONS)
        assert found.code == 1
        assert [(row["image"], row["keep"]) for row in found.rows] == [
            ("train/a.png", True), ("test/b.png", True), ("test/c.png", True),
        ]  # fmt: skip

    def test_a_path_on_both_sides_is_said_and_never_removed(self, pool, tmp_path):
        Path("list.txt").write_text("pool/1.png\npool/2.png\n", encoding="utf-8")
        for arguments in (("--files-from", "list.txt", "--against", "pool"), ("pool", "--against", "pool")):
            found = run("dedupe", *arguments, *self.OPTIONS, "-o", "plan.jsonl")
            assert found.code == 1
            assert "on both sides" in found.stderr
            assert run("apply", "plan.jsonl", "--action", "delete", "--yes").code == 0
        assert len(list(Path("pool").iterdir())) == 4

    @pytest.mark.thorough
    def test_a_reference_inside_the_input_is_a_reference_only(self, pool):
        draw(0).save("train/a.png")
        draw(0).save("test/b.bmp")
        Path("test/c.png").write_bytes(Path("pool/1.png").read_bytes())
        found = run("dedupe", ".", "--against", "train", "--level", "near", "-m", "tiny", "--paths")
        assert found.lines == ["./pool/0.png", "./test/b.bmp"]
        assert "7 images" not in found.stderr
        assert "6 images compared with 1 of train" in found.stderr

    @pytest.mark.parametrize("broken", ["inputs", "reference", "inside"])
    def test_where_nothing_was_compared_the_run_does_not_end_in_0(self, pool, broken):
        good, bad = ("train", "test") if broken == "inputs" else ("test", "train")
        self.link(good, 0)
        Path(bad, "broken.png").symlink_to("nowhere.png")
        if broken == "inside":
            done = run("dedupe", "test", "--against", "test/../train/..", *self.OPTIONS, "--exclude", "*.png")
        else:
            done = run("dedupe", "test", "--against", "train", *self.OPTIONS)
            assert "nothing was compared" in done.stderr
        assert done.code == 4
        assert "no duplicates found" not in done.stderr


class TestHardLinks:
    @pytest.fixture
    def names(self, tmp_path: Path) -> Path:
        """One content in two files of two names each."""
        for name in ("a.png", "b.png"):
            draw(1).save(tmp_path / name)
        os.link(tmp_path / "a.png", tmp_path / "a2.png")
        os.link(tmp_path / "b.png", tmp_path / "b2.png")
        os.utime(tmp_path / "a.png", (1, 1))
        return tmp_path

    def test_every_name_goes_and_what_is_said_is_freed(self, names, tmp_path_factory):
        plan = tmp_path_factory.mktemp("plan") / "plan.jsonl"
        size = (names / "b.png").stat().st_size
        done = run("dedupe", names, "--level", "exact", "-o", plan)
        assert f"1 group; 2 files could go, {size / 1000:.0f} kB" in done.stderr
        assert "1 link or further name of the same file left out: it holds no copy" in done.stderr
        assert run("apply", plan, "--action", "hardlink", "--yes").code == 0
        assert len({file.stat().st_ino for file in names.iterdir()}) == 1
        assert "no duplicates found" in run("dedupe", names, "--level", "exact").stderr

    def test_a_name_elsewhere_holds_the_bytes(self, names, tmp_path_factory):
        os.link(names / "b.png", tmp_path_factory.mktemp("elsewhere") / "third.png")
        done = run("dedupe", names, "--level", "exact")
        assert "2 files could go, 0 bytes" in done.stderr
        assert "1 of them stay under another name" in done.stderr

    def test_names_of_one_file_alone_are_no_copies(self, names):
        (names / "b.png").unlink()
        (names / "b2.png").unlink()
        assert run("dedupe", names, "--level", "exact").stdout == ""


def test_bad_words_are_refused():
    for option in ("--level", "--remove", "--fail-on"):
        assert run("dedupe", ".", option, "nearly").code == 2
    missing = run("dedupe", "-", "--level", "exact", "--against", "nowhere")
    assert missing.code == 2
    assert "--against nowhere: no such file or folder" in missing.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--level", "near", "--fail-on", "similar"], "--fail-on similar: --level near does not look for it"),
        (["--level", "exact", "--remove", "edited"], "--remove edited: --level exact does not look for it"),
        (["--level", "edited", "--min-similarity", "0.9"], "--min-similarity is for --level similar"),
    ],
)
def test_options_about_levels_that_are_not_looked_for_are_refused(options: list[str], words: str):
    assert_one_error(run("dedupe", ".", *options), words, code=2)


def pixels_of(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("L"), np.int16)


@pytest.mark.thorough
def test_the_page_shows_where_edited_pictures_differ(tmp_path, chromium, random_model):
    folder, page = tmp_path / "pictures", tmp_path / "page.html"
    folder.mkdir()
    draw(1).save(folder / "a.png")
    (folder / "a again.png").write_bytes((folder / "a.png").read_bytes())
    painted = draw(1, (120, 93))
    painted.paste("white", (60, 40, 74, 52))
    painted.transpose(Image.Transpose.ROTATE_90).save(folder / "painted.png")
    run("dedupe", folder, "-m", random_model, "--level", "edited", "--rotations", "--report", page)
    chromium.open(page)
    assert chromium.evaluate("document.querySelectorAll('.card').length") == 3
    [seen] = chromium.evaluate("Array.from(document.querySelectorAll('.difference')).map(i => i.src)")
    shown = pixels_of(seen)
    assert shown.shape == (100, 128)
    assert shown[46:53, 67:76].mean() > 100
    shown[36:62, 56:88] = 0
    assert shown.mean() < 25
    height = "document.querySelector('.difference').offsetHeight"
    assert chromium.evaluate(height) == 100
    chromium.press("d")
    assert chromium.evaluate(height) == 0
    chromium.evaluate("document.getElementById('differences').click()")
    assert chromium.evaluate(height) == 100
    assert chromium.complaints() == []


@pytest.mark.thorough
def test_copies_that_only_other_copies_lead_to_are_compared_with_the_keeper(tmp_path, random_model, monkeypatch):
    """The keeper has a border, and its thumbnail is no candidate; the plain copy leads from one to the other."""
    plain = draw(1, (400, 300))
    bordered = Image.new("RGB", (440, 340), "white")
    bordered.paste(plain, (20, 20))
    bordered.save(tmp_path / "bordered.png")
    plain.save(tmp_path / "plain.png")
    thumbnail = plain.resize((36, 27)).convert("L")
    thumbnail.save(tmp_path / "thumbnail.png")

    def without_the_far_pair(*sets, **options):
        pairs = candidate_pairs(*sets, **options)
        near = ~((pairs.first == 0) & (pairs.second == 2))
        return Pairs(pairs.first[near], pairs.second[near], pairs.cosine[near], pairs.crowded)

    monkeypatch.setattr("clipcli.runs.dedupe.candidates.candidate_pairs", without_the_far_pair)
    options = ("-m", random_model, "--level", "near", "--keep", "in:" + str(tmp_path / "first"), "-f", "jsonl")
    (tmp_path / "first").mkdir()
    (tmp_path / "bordered.png").rename(tmp_path / "first" / "bordered.png")
    inputs = [tmp_path / "first" / "bordered.png", tmp_path / "plain.png", tmp_path / "thumbnail.png"]
    rows = run("dedupe", *inputs, *options).rows
    assert {os.path.basename(row["image"]) for row in rows} == {"plain.png", "bordered.png", "thumbnail.png"}


@pytest.mark.thorough
def test_the_page_is_bounded(library, tmp_path, random_model, monkeypatch):
    monkeypatch.setattr("clipcli.runs.dedupe.review_page._PICTURES", 3)
    page = tmp_path / "page.html"
    run("dedupe", library, "-m", random_model, "--level", "near", "--report", page)
    html = page.read_text(encoding="utf-8")
    # one of the three shows where it differs
    assert (html.count("data:image/"), html.count("no picture"), html.count("data-rest=")) == (4, 3, 6)
    assert "Only the first 3 files are shown with their pictures" in html


def choose(chromium, number: int, value: str) -> None:
    """As a person does in a menu of the page."""
    script = "(n, value) => { const one = document.querySelectorAll('li select')[n]; one.value = value; "
    chromium.evaluate(f"({script} one.dispatchEvent(new Event('change')); }})({number}, '{value}')")


def text_of(chromium, what: str) -> str:
    return chromium.evaluate(f"document.getElementById('{what}').textContent")


def chosen(chromium) -> list[str]:
    return chromium.evaluate("Array.from(document.querySelectorAll('li select')).map(one => one.value)")


@pytest.fixture
def page(library, tmp_path, chromium, random_model) -> Path:
    """A page that is open, of two groups of three files; what it saves goes into `saved`."""
    (tmp_path / "saved").mkdir()
    file, plan = tmp_path / "page.html", tmp_path / "my plan.jsonl"
    run("dedupe", library, "-m", random_model, "--level", "near", "--report", file, "-o", plan)
    chromium.save_to(tmp_path / "saved")
    chromium.open(file)
    return file


def saved(chromium, folder: Path, name: str) -> list[dict]:
    chromium.click("#save")
    chromium.wait_for(folder / name)
    return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.thorough
def test_the_page_saves_what_was_chosen_and_says_the_command(page, library, tmp_path, chromium):
    folder = tmp_path / "saved"
    assert text_of(chromium, "state").startswith("4 of 6 files to remove (")
    assert text_of(chromium, "command") == "clipcli apply 'my plan-reviewed.jsonl'"
    rows = saved(chromium, folder, "my plan-reviewed.jsonl")
    planned = [json.loads(line) for line in (tmp_path / "my plan.jsonl").read_text().splitlines()]
    assert {row.pop("page") for row in planned} == {str(page)}
    assert rows == planned
    assert text_of(chromium, "command") == "clipcli apply 'my plan-reviewed.jsonl'"

    for number in range(1, 6):
        choose(chromium, number, "keep")
    going = chromium.evaluate("document.querySelector('li:nth-child(2) .name').textContent")
    choose(chromium, 1, "remove")
    saved(chromium, folder, "my plan-reviewed-2.jsonl")
    command = text_of(chromium, "command")
    assert command == "clipcli apply 'my plan-reviewed-2.jsonl'"
    before = snapshot(library)
    assert run("apply", tmp_path / "my plan.jsonl", "--yes").code == 2
    applied = run(*shlex.split(command.replace("'my", f"'{folder}/my"))[1:], "--yes", "-f", "jsonl")
    assert (applied.code, [row["image"] for row in applied.rows]) == (0, [going])
    assert set(before) - set(snapshot(library)) == {os.path.relpath(going, library)}
    assert run("undo", folder / "my plan-reviewed-2.jsonl.journal").code == 0
    assert snapshot(library) == before
    assert chromium.complaints() == []
    assert [url for url in chromium.requested() if not url.startswith(("file:", "blob:"))] == []


@pytest.mark.thorough
def test_what_was_chosen_outlives_a_reload_and_no_other_plan(page, library, tmp_path, chromium, random_model):
    choose(chromium, 1, "keep")
    choose(chromium, 4, "distinct")
    before = chosen(chromium)
    chromium.reload()
    assert chosen(chromium) == before
    assert "every group decided" in text_of(chromium, "state")
    assert text_of(chromium, "command").endswith(" --ignore-file different.txt")
    (library / "small.jpg").unlink()
    run("dedupe", library, "-m", random_model, "--level", "near", "--report", page)
    chromium.open(page)
    assert "distinct" not in chosen(chromium)
    assert text_of(chromium, "command") == "clipcli apply page-reviewed.jsonl"


@pytest.mark.thorough
def test_buttons_and_keys_of_the_page(page, chromium):
    chromium.click("#all-keep")
    assert text_of(chromium, "state") == "0 of 6 files to remove (0 bytes); every group decided"
    chromium.click("#all-remove")
    of_groups = "Array.from(document.querySelectorAll('section')).map(g => Array.from(g.querySelectorAll('select')))"
    values = chromium.evaluate(f"{of_groups}.map(own => own.map(one => one.value))")
    assert sorted(map(len, values)) == [2, 4]
    assert all(own == ["keep", *["remove"] * (len(own) - 1)] for own in values)
    choose(chromium, 0, "remove")
    assert "keeps no file" in text_of(chromium, "state")
    chromium.click("#all-suggested")
    assert chosen(chromium) == [value for own in values for value in own]

    chromium.evaluate("Object.keys(localStorage).forEach(key => localStorage.removeItem(key))")
    chromium.reload()
    groups = "document.querySelectorAll('section')"
    here = "document.activeElement.closest('section')"
    chromium.press("u")
    assert chromium.evaluate(f"{here} === {groups}[0]")
    edges = "[document.querySelector('.choices').getBoundingClientRect().bottom, {}.getBoundingClientRect().top]"
    bar, heading = chromium.evaluate(edges.format(f"{groups}[0].querySelector('h2')"))
    assert heading >= bar
    chromium.press("o", "u")
    assert chromium.evaluate(f"{here} === {groups}[1]")
    assert "1 of 2 groups undecided" in text_of(chromium, "state")
    chromium.press("r")
    assert text_of(chromium, "state").endswith("keeps no file")
    assert chromium.evaluate("document.getElementById('save').disabled") is True
    chromium.press("k")
    assert "every group decided" in text_of(chromium, "state")
    assert chromium.evaluate("document.getElementById('next').disabled") is True


@pytest.mark.thorough
def test_the_page_decides_by_folder(page, library, chromium):
    names = "Array.from(document.querySelectorAll('li')).map(one => one.querySelector('.name').textContent)"
    options = chromium.evaluate("Array.from(document.getElementById('folder').options).map(one => one.textContent)")
    assert options == [f"{library} (5)", f"{library}/sub (1)"]
    below = [name.startswith(f"{library}/sub/") for name in chromium.evaluate(names)]
    chromium.evaluate(f"document.getElementById('folder').value = '{library}/sub'")
    chromium.click("#folder-keep")
    assert [value for value, is_below in zip(chosen(chromium), below, strict=True) if is_below] == ["keep"]
    chromium.evaluate(f"document.getElementById('folder').value = '{library}'")
    chromium.click("#folder-remove")
    values = chosen(chromium)
    assert values.count("keep") == 2
    assert all(value == "keep" for value, is_below in zip(values, below, strict=True) if is_below)
    assert chromium.evaluate("document.getElementById('save').disabled") is False


def test_doubtful_groups_come_first_and_sizes_are_readable(page, library, tmp_path, chromium, random_model):
    """Of two groups that are not exact the one with the less alike pair; exact copies last."""
    draw(7).save(library / "pair.png")
    (library / "pair again.png").write_bytes((library / "pair.png").read_bytes())
    found = run("dedupe", library, "-m", random_model, "--level", "near", "--report", page, "-f", "jsonl").rows
    chromium.open(page)
    shown = chromium.evaluate("Array.from(document.querySelectorAll('h2')).map(one => one.textContent.split(':')[0])")
    doubts = {row["group"]: row["structure"] for row in found if row["level"] == "near" and not row["keep"]}
    by_doubt = sorted(doubts, key=doubts.__getitem__)
    exact = {row["group"] for row in found} - set(doubts)
    assert shown == [f"Group {number}" for number in [*by_doubt, *sorted(exact)]]
    assert len(exact) == 1
    facts = chromium.evaluate("Array.from(document.querySelectorAll('.fact')).map(one => one.textContent)")
    assert "76 kB" in " ".join(facts)
    assert not any(re.match(r"[\d,]{4,} bytes", fact) for fact in facts)


@pytest.mark.thorough
@pytest.mark.parametrize("folder", ["blank", "forms", "icons_white", "signed", "walls"])
def test_templates_lose_nothing(shared, folder, random_model):
    rows = run("dedupe", shared / "data/faults/templates" / folder, "-m", random_model, "-f", "jsonl").rows
    assert [row["image"] for row in rows if not row.get("keep", True)] == []


@pytest.mark.thorough
def test_white_drawings_on_transparency_are_different(tmp_path, random_model):
    for name, box in (("a", (40, 40, 200, 200)), ("b", (100, 20, 140, 230))):
        icon = Image.new("RGBA", (256, 256), (255, 255, 255, 0))
        icon.paste((255, 255, 255, 255), box)
        icon.save(tmp_path / f"{name}.png")
    assert run("dedupe", tmp_path, "-m", random_model, "--level", "near", "-f", "jsonl").rows == []


@pytest.mark.thorough
def test_a_page_with_another_number_is_reported_as_edited(tmp_path, random_model):
    for number, image in enumerate(family("forms", 1, 2)):
        image.save(tmp_path / f"{number}.png")
    rows = run("dedupe", tmp_path, "-m", random_model, "-f", "jsonl").rows
    assert [(row["level"], row["keep"], row["reason"]) for row in rows][1] == ("edited", True, "differs in one place")
    assert run("dedupe", tmp_path, "-m", random_model, "--remove", "edited", "-f", "jsonl").rows[1]["keep"] is False


@pytest.mark.thorough
@pytest.mark.parametrize("level", ["exact", "similar"])
def test_documents_that_share_their_cover_are_different(tmp_path, random_model, level):
    pages = [image.resize((425, 550)) for image in family("letters", 1, 3)]
    for name, some in {"monday": pages[:2], "friday": [pages[0], pages[2]], "cover": pages[:1]}.items():
        some[0].save(tmp_path / f"{name}.tif", save_all=True, append_images=some[1:])
    rows = run("dedupe", tmp_path, "-m", random_model, "--level", level, "-f", "jsonl").rows
    assert [row["image"] for row in rows if not row["keep"]] == []
    pages[0].save(tmp_path / "again.tif", save_all=True, append_images=pages[1:2], compression="tiff_deflate")
    rows = run("dedupe", tmp_path, "-m", random_model, "--level", level, "-f", "jsonl").rows
    assert [row["level"] for row in rows if not row["keep"]] == ["exact"]


@pytest.mark.thorough
def test_faxes_of_shared(shared, random_model):
    rows = run("dedupe", shared / "data/faults/multipage", "-m", random_model, "-f", "jsonl").rows
    assert [row["image"] for row in rows if not row["keep"]] == []


@pytest.mark.thorough
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_an_animation_that_is_cut_off_is_a_row(tmp_path, random_model, share):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    draw(1).save(tmp_path / "a" / "moving.gif", save_all=True, append_images=[draw(n) for n in range(2, 8)])
    whole = (tmp_path / "a" / "moving.gif").read_bytes()
    (tmp_path / "b" / "cut.gif").write_bytes(whole[: int(len(whole) * share)])
    for inputs in ([tmp_path], [tmp_path / "a", "--against", tmp_path / "b"]):
        result = run("dedupe", *inputs, "-m", random_model, "-f", "jsonl")
        assert result.code == 3
        assert [os.path.basename(row["image"]) for row in result.rows if "error" in row] == ["cut.gif"]
    assert run("dedupe", tmp_path, "--level", "exact", "-f", "jsonl").code == 3


def kept(folder: Path, model: str) -> list[str]:
    """What stays of a folder of copies."""
    rows = run("dedupe", folder, "-m", model, "--level", "near", "-f", "jsonl").rows
    assert len(rows) == len(list(folder.iterdir()))
    return [os.path.basename(row["image"]) for row in rows if row["keep"]]


@pytest.mark.thorough
@pytest.mark.parametrize(
    "edits",
    [
        ("sharp", "resize200"), ("resize200",), ("border5",), ("border12", "resize50"), ("resize150", "q30"),
        ("noise", "bright130", "saturated"), ("bright130", "q75"),
        ("screen", "border12", "border5", "noise", "corner10", "turn1"),
    ],
)  # fmt: skip
def test_what_is_real_is_kept(tmp_path, random_model, photo_like, edits):
    photo_like.save(tmp_path / "z.jpg", quality=90)
    for edit in edits:
        EDITS[edit](Image.open(tmp_path / "z.jpg")).save(tmp_path / f"{edit}.jpg", quality=95)
    assert kept(tmp_path, random_model) == ["z.jpg"]


@pytest.mark.thorough
def test_what_a_camera_took_is_kept(tmp_path, random_model, photo_like):
    exif = Image.Exif()
    exif[271] = "Kamera"
    photo_like.resize((200, 150)).save(tmp_path / "small.jpg", exif=exif)
    photo_like.save(tmp_path / "large.png")
    assert kept(tmp_path, random_model) == ["small.jpg"]


@pytest.fixture
def photo_like() -> Image.Image:
    """Edges and grain, blurred as by a lens: the finest structure is weaker than the coarse one."""
    generator = np.random.default_rng(3)
    values = np.zeros((600, 800), np.float32)
    for cells in (5, 9, 17, 33, 65, 129, 257, 513):
        noise = Image.fromarray(generator.normal(0, 1, (cells, cells)).astype(np.float32))
        values += np.asarray(noise.resize((800, 600), Image.Resampling.BICUBIC)) / cells**0.6
    grey = np.clip(128 + values * 220, 0, 255).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(np.clip(grey * f, 0, 255).astype(np.uint8)) for f in (1.0, 0.9, 0.8)])


@pytest.mark.thorough
def test_a_verdict_depends_on_neither_the_model_nor_the_set(tmp_path, random_model, monkeypatch):
    """Twelve copies beside their originals alone, and among other pictures, by two models."""
    monkeypatch.chdir(tmp_path)
    names = ("q10", "resize25", "crop10", "corner10", "border5", "screen", "grey", "caption")
    for folder in ("few", "many"):
        (tmp_path / folder).mkdir()
        for seed in range(2):
            photo = family("slides", seed, 1)[0].crop((0, 0, 960, 440))
            photo.save(tmp_path / folder / f"{seed}.png")
            for name in names:
                {**EDITS, **CHANGES}[name](photo).save(tmp_path / folder / f"{seed}-{name}.png")
    for seed in range(60):
        draw(seed + 100).save(tmp_path / "many" / f"other {seed}.png")

    def found(folder: str, *model: str) -> set[tuple[object, ...]]:
        rows = run("dedupe", folder, *model, "--level", "edited", "-f", "jsonl").rows
        return {(os.path.basename(r["image"]), r["level"], os.path.basename(r["keeper"]), r["structure"]) for r in rows}

    first = found("few", "-m", "tiny")
    assert len(first) == 2 * (1 + len(names))
    assert first == found("many", "-m", "tiny") == found("few", "-m", random_model)


@pytest.mark.thorough
def test_a_second_run_compares_and_opens_nothing(library, random_model, monkeypatch):
    first = run("dedupe", library, "-m", random_model, "--rotations", "-f", "jsonl")
    for method in ("compare", "_glance", "digest", "detail"):
        monkeypatch.setattr(SignatureReader, method, lambda *_: pytest.fail("done again"))
    monkeypatch.setattr("clipcli.tasks.dedupe.sketch_join.aligned_correlations", lambda *_: pytest.fail("done again"))
    assert run("dedupe", library, "-m", random_model, "--rotations", "-f", "jsonl").stdout == first.stdout


@pytest.mark.thorough
def test_what_the_cache_cannot_make_sense_of_is_done_again(library, random_model, monkeypatch):
    monkeypatch.setattr(EmbeddingCache, "put_blobs", lambda *_: None)
    first = run("dedupe", library, "-m", random_model, "-f", "jsonl")
    monkeypatch.setattr(EmbeddingCache, "get_blobs", lambda _self, _space, keys: [b"\xff" * 7] * len(keys))
    assert run("dedupe", library, "-m", random_model, "-f", "jsonl").stdout == first.stdout


@pytest.mark.parametrize("level", ["exact", "near"])
def test_a_raw_file_and_its_preview_are_not_exact_copies(tmp_path, random_model, level):
    pytest.importorskip("rawpy")
    preview = raw_files.jpeg((128, 96), (20, 160, 40))
    (tmp_path / "photo.dng").write_bytes(raw_files.dng(preview))
    (tmp_path / "preview.jpg").write_bytes(preview)
    draw(1).save(tmp_path / "other.png")
    inputs = [tmp_path / "photo.dng", tmp_path / "preview.jpg", tmp_path / "other.png"]
    rows = run("dedupe", *inputs, "-m", random_model, "--level", level, "-f", "jsonl").rows
    assert {row["level"] for row in rows} == ({"near"} if level == "near" else set())


FRAMES = st.lists(st.integers(0, 2), min_size=1, max_size=3)


@given(documents=st.lists(st.tuples(FRAMES, st.booleans()), min_size=2, max_size=4))
@settings(max_examples=4, deadline=None)
def test_of_pages_and_alpha_a_keeper_stays_and_undo_brings_all_back(documents, tmp_path_factory):
    """The kept files have every page and the alpha of what goes; apply then undo is the identity."""
    root = tmp_path_factory.mktemp("pages")
    folder = root / "scans"
    folder.mkdir()
    for number, (frames, clear) in enumerate(documents):
        pages = [draw(seed, (48, 40)).convert("RGBA" if clear else "RGB") for seed in frames]
        for page in pages if clear else []:
            page.putalpha(128)
        options = {"save_all": True, "append_images": pages[1:], "description": str(number)}
        pages[0].save(folder / f"{number}.tif", **options)
    before, plan = snapshot(folder), root / "plan.jsonl"
    assert run("dedupe", folder, "--level", "exact", "-o", plan, "-f", "jsonl").code == 0
    gone = [row for row in map(json.loads, plan.read_text().splitlines()) if not row["keep"]]
    assert run("apply", plan, "--action", "move:" + str(root / "aside"), "--yes").code == 0
    staying = {(tuple(documents[int(file.stem)][0]), documents[int(file.stem)][1]) for file in folder.iterdir()}
    assert staying == {(tuple(frames), clear) for frames, clear in documents}
    if gone:
        assert run("undo", str(plan) + ".journal").code == 0
    assert snapshot(folder) == before


def test_workers_answer_as_this_process_does(library, monkeypatch):
    (library / "broken.jpg").write_bytes((library / "small.jpg").read_bytes()[:300])
    options = ("--level", "edited", "--no-cache", "-f", "jsonl", "--workers", "2")
    here = run("dedupe", library, *options)
    monkeypatch.setattr("clipcli.runs.dedupe.signatures._MIN_WORK_S", 0.0)
    monkeypatch.setattr(SignatureReader, "compare", lambda *_: pytest.fail("compared in this process"))
    apart = run("dedupe", library, *options)
    assert apart.stdout == here.stdout
    assert {"broken.jpg"} == {Path(row["image"]).name for row in apart.rows if "error" in row}


def test_what_a_lost_worker_was_asked_for_is_done_here(library, monkeypatch):
    options = ("--level", "edited", "--no-cache", "-f", "jsonl", "--workers", "2")
    here = run("dedupe", library, *options)
    monkeypatch.setattr("clipcli.runs.dedupe.signatures._MIN_WORK_S", 0.0)
    monkeypatch.setattr("clipcli.runs.dedupe.workers._CODE", "raise SystemExit")
    assert run("dedupe", library, *options).stdout == here.stdout
