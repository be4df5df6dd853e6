from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from pictures import disc
from run import run

from clipcli.core.vectors import unit_length
from clipcli.vectorfiles import VectorRows, VectorsInfo, WritePlan, create_vectors

HOSTILE = '<script>document.title="owned"<\\script>\x1b[31m.png'.replace("\\s", "s")


@pytest.fixture(scope="module")
def world(folder, random_model, tmp_path_factory):
    """Pictures, their vectors in a file, and those vectors as numpy sees them."""
    place = tmp_path_factory.mktemp("rank")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPCLI_CACHE_DIR", str(place / "cache"))
        patch.setenv("CLIPCLI_AUTO_EXPORT", "0")
        done = run("embed", folder, "-m", random_model, "-o", place / "v.npy", "-q")
    assert done.code == 0, done.stderr
    return place


@pytest.fixture
def rank(random_model, world, monkeypatch):
    monkeypatch.setenv("CLIPCLI_CACHE_DIR", str(world / "cache"))

    def call(*arguments, stdin=b"", rows=True):
        extra = ("--format", "jsonl") if rows else ()
        return run("rank", *arguments, "-m", random_model, *extra, stdin=stdin)

    return call


def names(result):
    return [Path(row["image"]).stem + "/" + Path(row["image"]).parent.name for row in result.rows]


def test_an_example_finds_what_is_like_it_by_cosine_and_not_itself(rank, folder, world):
    vectors, described = np.load(world / "v.npy"), json.loads((world / "v.npy.json").read_text())
    own = described["names"].index(str(folder / "disc" / "red.png"))
    scores = vectors @ vectors[own]
    order = [row for row in np.argsort(-scores) if row != own]
    done = rank("--image", folder / "disc" / "red.png", folder, "--all")
    assert (done.code, done.stderr) == (0, "")
    assert [row["image"] for row in done.rows] == [described["names"][row] for row in order]
    assert [row["score"] for row in done.rows] == pytest.approx([scores[row] for row in order], abs=1e-5)
    assert [row["rank"] for row in done.rows] == list(range(1, 8))


def test_vector_files_give_the_rows_of_their_images(rank, folder, world):
    assert rank("two parrots", folder).stdout == rank("two parrots", world / "v.npy").stdout


@pytest.mark.parametrize("suffix", ["npz", "parquet", "safetensors", "jsonl", "csv"])
def test_every_vector_format(rank, folder, world, random_model, suffix):
    file = world / f"v.{suffix}"
    assert run("embed", folder, "-m", random_model, "-o", file, "-q").code == 0
    assert rank("a dog", file).rows == rank("a dog", world / "v.npy").rows


def test_float16_vectors(rank, folder, world, random_model):
    assert run("embed", folder, "-m", random_model, "-o", world / "h.npy", "-q", "--dtype", "float16").code == 0
    assert names(rank("a dog", world / "h.npy")) == names(rank("a dog", world / "v.npy"))


def test_raw_vectors_are_made_unit_length(rank, folder, world, random_model):
    assert run("embed", folder, "-m", random_model, "-o", world / "raw.npy", "-q", "--no-normalize").code == 0
    assert names(rank("a dog", world / "raw.npy")) == names(rank("a dog", world / "v.npy"))


def test_the_model_of_the_vectors_is_used_where_none_is_named(world):
    done = run("rank", "two parrots", world / "v.npy", "--top-k", "1", "--format", "jsonl")
    assert done.code == 0
    assert "was made by local-dir:" in done.stderr


def test_sums_are_sums_of_unit_vectors(rank, folder, world):
    vectors, described = np.load(world / "v.npy"), json.loads((world / "v.npy.json").read_text())
    rows = [described["names"].index(str(folder / "disc" / f"{name}.png")) for name in ("red", "blue")]
    query = 2 * vectors[rows[0]] - 0.5 * vectors[rows[1]]
    scores = vectors @ (query / np.linalg.norm(query))
    done = rank(f"2:{folder}/disc/red.png - .5:{folder}/disc/blue.png", world / "v.npy", "--all")
    assert "looking for 2 × image" in done.stderr
    order = [row for row in np.argsort(-scores) if row not in rows]
    assert [row["image"] for row in done.rows] == [described["names"][row] for row in order]


def test_many_queries_each_with_its_rows(rank, world, tmp_path):
    (tmp_path / "q.txt").write_text("a dog - or not\n\na cat\n")
    rows = rank("--queries", tmp_path / "q.txt", world / "v.npy", "--top-k", "2").rows
    assert [(row["query"], row["rank"]) for row in rows] == [
        ("a dog - or not", 1), ("a dog - or not", 2), ("a cat", 1), ("a cat", 2)
    ]  # fmt: skip
    lines = [{"id": 7, "text": "a cat"}, {"id": "x", "query": "a cat + a dog"}]
    stdin = "\n".join(map(json.dumps, lines)).encode()
    rows = rank("--queries", "-", world / "v.npy", "--top-k", "1", stdin=stdin).rows
    assert [(row["id"], row["query"]) for row in rows] == [("7", "a cat"), ("x", "a cat + a dog")]
    alone = rank("-e", "a cat", world / "v.npy", "--top-k", "1").rows[0]
    assert rows[0]["image"] == alone["image"]


def test_many_queries_on_a_device_find_what_the_cpu_finds(rank, world, tmp_path, monkeypatch):
    from clipcli.engines.torch_search import TorchKernel

    asked, kernels = [], [None, TorchKernel("cpu", print)]
    (tmp_path / "q.txt").write_text("red\nblue disc\nstripes\n")

    def accelerated(device, queries, rows, dim, _console):
        asked.append((device, queries, rows > 0, dim > 0))
        return kernels[len(asked) - 1]

    monkeypatch.setattr("clipcli.runs.rank.finder.accelerated", accelerated)
    cpu, device = (
        rank("--queries", tmp_path / "q.txt", world / "v.npy", "--exclude", "a*", *d) for d in ([], ["--top-k", 10])
    )
    assert cpu.code == device.code == 0
    assert cpu.stdout == device.stdout
    rank("--queries", tmp_path / "q.txt", world / "v.npy", "--all")
    assert asked == [("auto", 3, True, True)] * 2


@pytest.mark.thorough
def test_prompts_change_the_query(rank, world):
    plain = rank("cat", world / "v.npy").rows
    prompted = rank("cat", world / "v.npy", "-p", "photo").rows
    assert plain != prompted
    assert rank("cat", world / "v.npy", "-p", "a painting of {}").rows == [
        {**row, "query": "cat"} for row in rank("a painting of cat", world / "v.npy").rows
    ]


def test_cut_offs(rank, world):
    everything = rank("cat", world / "v.npy", "--all").rows
    assert len(everything) == 8
    limit = (everything[2]["score"] + everything[3]["score"]) / 2
    assert rank("cat", world / "v.npy", "--min-score", str(limit)).rows == everything[:3]
    assert rank("cat", world / "v.npy", "--top-k", "5").rows == everything[:5]
    assert rank("cat", world / "v.npy", "--top-k", "999").rows == everything


def test_relevance_needs_a_crowd_and_then_cuts(rank, world, random_model, tmp_path):
    done = rank("cat", world / "v.npy", "--relevant")
    assert "too few to tell" in done.stderr
    assert len(done.rows) == 8
    run("embed", "-t", "cat", "-t", "a dog", "-m", random_model, "-o", tmp_path / "texts.npy", "-q")
    query, own = np.load(tmp_path / "texts.npy")[0], json.loads((tmp_path / "texts.npy.json").read_text())
    noise = unit_length(np.random.default_rng(0).standard_normal((200, 48)))
    vectors = np.concatenate([noise, unit_length(noise[:3] * 0.5 + query)])
    plan = WritePlan(tmp_path / "v.npy", VectorsInfo("image", own["model"], own["fingerprint"]), rows=203, dim=48)
    with create_vectors("npy", plan) as writer:
        writer.write(VectorRows([f"{n:03}.jpg" for n in range(203)], vectors))
    found = rank("cat", tmp_path / "v.npy", "--relevant").rows
    assert sorted(row["image"] for row in found) == ["200.jpg", "201.jpg", "202.jpg"]
    assert rank("cat", tmp_path / "v.npy", "--relevant", "--top-k", "2").rows == found[:2]
    assert rank("cat", tmp_path / "v.npy", "--relevant", "--exclude", "20*").rows == []


@pytest.mark.thorough
def test_globs_and_several_corpora(rank, folder, world):
    done = rank("cat", world / "v.npy", "--include", "red*", "--include", "*/square/*")
    assert sorted(names(done)) == ["blue/square", "green/square", "red/disc", "red/square", "yellow/square"]
    assert sorted(names(rank("cat", folder, "--exclude", "*/disc/*"))) == [
        "blue/square", "green/square", "red/square", "yellow/square"
    ]  # fmt: skip
    both = rank("cat", folder / "disc", world / "v.npy", "--all")
    assert len(both.rows) == 12
    for corpus in (folder, world / "v.npy"):
        assert rank("cat", corpus, "--include", "*.gif").code == 4


def test_figures_are_never_of_more_than_was_asked(rank, folder, world, tmp_path):
    (tmp_path / "e.csv").write_text(f"query,image\nred,{folder / 'disc/red.png'}\n")
    done = rank("--relevance", tmp_path / "e.csv", world / "v.npy", "--exclude", "blue*")
    assert done.code == 2
    assert "--relevance measures whole vector files" in done.stderr


def test_exact_copies_are_left_out_when_asked(rank, folder, random_model, tmp_path, world):
    shutil.copytree(folder, tmp_path / "p")
    shutil.copy(tmp_path / "p/disc/red.png", tmp_path / "p/again.png")
    query = ("--image", tmp_path / "p/disc/red.png")
    assert names(rank(*query, tmp_path / "p"))[0].startswith("again/")
    assert "again" not in rank(*query, tmp_path / "p", "--exclude-copies").stdout
    assert run("embed", tmp_path / "p", "-m", random_model, "-o", tmp_path / "c.npy", "-q").code == 0
    assert names(rank(*query, tmp_path / "c.npy"))[0].startswith("again/")
    assert "again" not in rank(*query, tmp_path / "c.npy", "--exclude-copies").stdout


def test_paths_and_nul(rank, folder):
    done = rank("cat", folder, "--paths", "-0", "--top-k", "2", rows=False)
    assert done.stdout.count("\0") == 2
    assert all(Path(path).is_file() for path in done.stdout.split("\0")[:-1])


def test_formats(rank, folder):
    done = rank("cat", folder, "--top-k", "1", rows=False)
    query, number, image, score = done.stdout.rstrip("\n").split("\t")
    assert (query, number) == ("cat", "1")
    assert image.endswith(".png")
    assert -1 <= float(score) <= 1
    table = run("rank", "cat", folder, "-m", "x", "--format", "nonsense")
    assert table.code == 2


def test_copies_are_numbered_and_never_overwrite(rank, folder, tmp_path):
    for _ in range(2):
        assert rank("cat", folder, "--top-k", "2", "--copy-to", tmp_path / "out").code == 0
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(found) == 4
    assert [name[:4] for name in found] == ["001-", "001-", "002-", "002-"]
    assert sum(".2." in name for name in found) == 2
    rank("-e", "cat", "-e", "dog/../..", folder, "--top-k", "1", "--link-to", tmp_path / "links")
    links = sorted(path for path in (tmp_path / "links").rglob("*") if path.is_symlink())
    assert [path.parent.name for path in links] == ["1-cat", "2-dog"]
    assert all(path.is_file() for path in links)


def test_a_hit_that_is_gone_is_a_failure_not_an_end(rank, folder, random_model, tmp_path):
    shutil.copytree(folder, tmp_path / "p")
    run("embed", tmp_path / "p", "-m", random_model, "-o", tmp_path / "v.npy", "-q")
    (tmp_path / "p/disc/red.png").unlink()
    done = rank("cat", tmp_path / "v.npy", "--all", "--copy-to", tmp_path / "out")
    assert done.code == 3
    assert len(list((tmp_path / "out").iterdir())) == 7
    assert [row["image"] for row in done.rows if "error" in row] == [str(tmp_path / "p/disc/red.png")]


def test_bad_images_are_rows_and_all_bad_is_an_error(rank, folder, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    done = rank("cat", folder / "disc", tmp_path / "bad.png")
    assert done.code == 3
    assert [row["image"] for row in done.rows if "error" in row] == [str(tmp_path / "bad.png")]
    assert len(done.rows) == 5
    assert rank("cat", tmp_path).code == 4


def test_evaluation_figures_and_the_check(rank, folder, tmp_path):
    hits = rank("-e", "a dog", "-e", "a cat", folder, "--all").rows
    third = {row["query"]: row["image"] for row in hits if row["rank"] == 3}
    table = tmp_path / "expect.csv"
    table.write_text("query,image\n" + "".join(f"{query},{image}\n" for query, image in third.items()))
    done = rank("--relevance", table, "--min-recall", "5=1.0", folder)
    figures = {row["measure"]: row["value"] for row in done.rows}
    assert done.code == 0
    assert "check holds: recall@5 100.0%" in done.stderr
    assert figures["recall@1"] == 0
    assert figures["median_rank"] == 3
    assert figures["mean_average_precision"] == pytest.approx(1 / 3, abs=1e-5)
    failed = rank("--relevance", table, "--min-recall", "2=0.5", folder)
    assert failed.code == 1
    assert "check fails: recall@2 0.0%, needed 50.0%" in failed.stderr


def test_only_the_proportions_of_weights_count(rank, world):
    plain = [(row["image"], row["score"]) for row in rank("2:a dog - a cat", world / "v.npy").rows]
    for zeros in (60, -60):
        large, small = f"{2 * 10.0**zeros:.70f}", f"{10.0**zeros:.70f}"
        done = rank(f"{large}:a dog - {small}:a cat", world / "v.npy")
        assert [(row["image"], row["score"]) for row in done.rows] == plain


def test_texts_are_no_files_to_keep(rank, random_model, tmp_path):
    run("embed", "-t", "a dog", "-m", random_model, "-o", tmp_path / "texts.npy", "-q")
    for option in ("--copy-to", "--link-to"):
        done = rank("cat", tmp_path / "texts.npy", option, tmp_path / "out")
        assert done.code == 2
        assert "holds texts: there are no files to keep" in done.stderr
    assert not (tmp_path / "out").exists()


def test_captions_of_an_image(rank, folder, random_model, tmp_path):
    run("embed", "-t", "a dog", "-t", "a cat", "-m", random_model, "-o", tmp_path / "texts.npy", "-q")
    done = rank("--image", folder / "disc/red.png", tmp_path / "texts.npy")
    assert {row["text"] for row in done.rows} == {"a dog", "a cat"}
    first = done.rows[0]["text"]
    line = {"query_image": str(folder / "disc/red.png"), "texts": [first, "a cat"]}
    (tmp_path / "e.jsonl").write_text(json.dumps(line))
    done = rank("--relevance", tmp_path / "e.jsonl", tmp_path / "texts.npy")
    assert done.rows[0] == {"measure": "recall@1", "value": 1.0}


def test_an_example_is_measured_among_the_others_as_it_is_ranked(rank, folder, world, tmp_path):
    query = str(folder / "disc/red.png")
    hits = [row["image"] for row in rank("--image", query, world / "v.npy", "--all").rows]
    line = {"query_image": query, "images": [query, hits[0], hits[2]]}
    (tmp_path / "e.jsonl").write_text(json.dumps(line))
    figures = {row["measure"]: row["value"] for row in rank("--relevance", tmp_path / "e.jsonl", world / "v.npy").rows}
    assert (figures["recall@1"], figures["median_rank"]) == (1, 1)
    assert figures["mean_average_precision"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-5)


def test_queries_of_the_same_words_are_told_apart_by_their_ids(rank, world, folder, tmp_path):
    pictures = [folder / "disc/red.png", folder / "square/blue.png"]
    (tmp_path / "e.csv").write_text("id,query,image\n" + "".join(f"{n},a dog,{p}\n" for n, p in enumerate(pictures)))
    hits = [row["image"] for row in rank("a dog", world / "v.npy", "--all").rows]
    figures = {row["measure"]: row["value"] for row in rank("--relevance", tmp_path / "e.csv", world / "v.npy").rows}
    assert figures["queries"] == 2
    assert figures["median_rank"] == np.mean([hits.index(str(picture)) + 1 for picture in pictures])
    table = rank("--relevance", tmp_path / "e.csv", world / "v.npy", rows=False).stdout
    assert "queries\t2\t\n" in table


def test_queries_and_images_that_cannot_be_read_are_not_found(rank, world, folder, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    lines = [
        {"query_image": str(tmp_path / "gone.png"), "image": str(folder / "disc/red.png")},
        {"query_image": str(folder / "disc/red.png"), "images": [str(folder / "disc/blue.png"), f"{tmp_path}/bad.png"]},
        {"id": 7, "query": "a dog", "image": str(tmp_path / "bad.png")},
    ]  # fmt: skip
    (tmp_path / "e.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = rank("--relevance", tmp_path / "e.jsonl", "--min-recall", "8=0.5", world / "v.npy", tmp_path / "bad.png")
    figures = {row["measure"]: row["value"] for row in done.rows if "measure" in row}
    assert done.code == 1
    assert (figures["queries"], figures["recall@8"]) == (3, pytest.approx(1 / 3, abs=1e-5))
    own = rank("--image", folder / "disc/red.png", world / "v.npy", "--all").rows
    place = next(row["rank"] for row in own if row["image"] == str(folder / "disc/blue.png"))
    assert figures["mean_average_precision"] == pytest.approx(1 / place / 2 / 3, abs=1e-5)


@pytest.mark.parametrize("option", ["--top-k=3", "--min-score=0", "--relevant", "--all", "--preview", "--copy-to=x"])
def test_figures_are_of_all_images(rank, world, tmp_path, option):
    (tmp_path / "e.csv").write_text("query,image\nred,x.png\n")
    done = rank("--relevance", tmp_path / "e.csv", world / "v.npy", option)
    assert done.code == 2
    assert f"leave out {option.split('=')[0]}" in done.stderr


@pytest.mark.thorough
def test_many_examples_leave_out_themselves_and_their_copies(rank, folder, random_model, tmp_path):
    shutil.copytree(folder, tmp_path / "p")
    for number in range(3):
        shutil.copy(tmp_path / "p/disc/red.png", tmp_path / f"p/again{number}.png")
        shutil.copy(tmp_path / "p/square/blue.png", tmp_path / f"p/more{number}.png")
    assert run("embed", tmp_path / "p", "-m", random_model, "-o", tmp_path / "c.npy", "-q").code == 0
    shutil.copytree(folder, tmp_path / "q")  # twelve examples: more than are told apart by their ends
    examples = sorted(tmp_path.glob("[pq]/*/*.png"))
    (tmp_path / "q.jsonl").write_text("\n".join(json.dumps({"image": str(path)}) for path in examples))
    for corpus in (tmp_path / "p", tmp_path / "c.npy"):
        plain = rank("--queries", tmp_path / "q.jsonl", corpus, "--all").rows
        assert all(row["query"] != row["image"] for row in plain)
        assert sum(row["query"].startswith(str(tmp_path / "p/")) for row in plain) == 8 * 13
        assert sum(row["query"].startswith(str(tmp_path / "q/")) for row in plain) == 8 * 14
        for row in rank("--queries", tmp_path / "q.jsonl", corpus, "--all", "--exclude-copies").rows:
            assert Path(row["query"]).read_bytes() != Path(row["image"]).read_bytes()


def test_rows_of_queries_with_and_without_ids_have_the_same_columns(rank, world, tmp_path):
    (tmp_path / "q.jsonl").write_text('{"id": 1, "text": "a"}\n{"text": "b"}\n')
    query = ("--queries", tmp_path / "q.jsonl", world / "v.npy", "--top-k", "1")
    lines = rank(*query, "--format", "csv", rows=False).stdout.splitlines()
    assert [line.split(",")[:3] for line in lines] == [["id", "query", "rank"], ["1", "a", "1"], ["", "b", "1"]]
    assert ["id" in row for row in rank(*query).rows] == [True, False]


def test_a_failed_image_stands_among_the_images(rank, world, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    query = ("cat", tmp_path / "bad.png", world / "v.npy", "--top-k", "1")
    failed, found = (line.split("\t") for line in rank(*query, rows=False).stdout.splitlines())
    assert failed[:4] == ["", "", str(tmp_path / "bad.png"), ""]
    assert failed[4].startswith("decode: ")
    assert found[:2] == ["cat", "1"]
    line = rank(*query, "--format", "csv", rows=False).stdout.splitlines()[1]
    assert line.startswith(f',,{tmp_path / "bad.png"},,"decode: ')
    assert f"{tmp_path / 'bad.png'}  decode: " in rank(*query, "--format", "table", rows=False).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("", "DIR"), 2, "the query is empty"),
        (("-e", "- cat", "DIR"), 2, "only negative terms"),
        (("cat - cat", "DIR"), 2, "cancel each other"),
        (("--image", "", "DIR"), 2, "--image is empty"),
        (("cat",), 2, "no images to search"),
        (("DIR",), 2, "nothing to look for in"),
        (("horse", "+", "stripes", "DIR"), 2, "is one argument"),
        (("--image", "DIR/none.png", "DIR"), 4, "cannot be used: no such file"),
        (("./none.png + cat", "DIR"), 4, "none.png cannot be used"),
        (("cat", "DIR/none"), 4, ""),
        (("cat", "DIR", "--top-k", "0"), 2, ""),
        (("cat", "DIR", "--min-score", "nan"), 2, "is a cosine"),
        (("cat", "DIR", "--min-score", "30"), 2, "is a cosine"),
        (("cat", "DIR", "--copy-to", "DIR/disc/red.png/x"), 6, "red.png is not a folder"),
        (("cat", "DIR", "--link-to", ""), 6, "has no name"),
        (("cat", "DIR", "--include", "disk/*"), 4, "compared with the path"),
        (("cat", "DIR", "--all", "--top-k", "3"), 2, "--all and --top-k"),
        (("--queries", "-", "-"), 2, "stdin cannot hold both"),
        (("cat", "DIR", "--min-recall", "5=0.5"), 2, "needs something to check"),
        (("cat", "DIR", "--relevance", "e.csv", "--min-recall", "x"), 2, "not K=R"),
        (("cat", "DIR", "--relevance", "none.csv"), 4, "cannot be read"),
        (("--queries", "none.txt", "DIR"), 4, "cannot be read"),
        (("--queries", "q.json", "DIR"), 4, "one object per line"),
    ],
)
def test_bad_questions(rank, folder, arguments, code, words):
    done = rank(*(argument.replace("DIR", str(folder)) for argument in arguments))
    assert done.code == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_one_bad_query_image_among_many(rank, folder, tmp_path):
    lines = [{"image": str(folder / "disc/red.png")}, {"image": "gone.png"}]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = rank("--queries", tmp_path / "q.jsonl", folder, "--top-k", "1")
    assert done.code == 3
    assert [row.get("image") for row in done.rows if "error" in row] == ["gone.png"]


@pytest.mark.parametrize(
    "line", ['{"text": 3}', '{"text": "a", "image": "b"}', "{", '{"text": " "}', "[1]", '{"query": "a + "}']
)
def test_faulty_lines_of_queries_are_named(rank, folder, tmp_path, line):
    (tmp_path / "q.jsonl").write_text('{"text": "fine"}\n' + line)
    done = rank("--queries", tmp_path / "q.jsonl", folder)
    assert done.code == 4
    assert "q.jsonl:2" in done.stderr


def damaged(world, tmp_path, change):
    vectors, described = np.load(world / "v.npy"), json.loads((world / "v.npy.json").read_text())
    vectors = change(vectors, described)
    np.save(tmp_path / "d.npy", vectors)
    from clipcli.vectorfiles.numpy_file import Ends

    ends = Ends()
    ends.add(vectors)
    (tmp_path / "d.npy.json").write_text(json.dumps({**described, "ends": ends.checksum}))
    return tmp_path / "d.npy"


def test_vectors_that_lie(rank, world, tmp_path):
    def nan(vectors, _described):
        vectors[3, 5] = np.nan
        return vectors

    def zero(vectors, _described):
        vectors[4] = 0
        return vectors

    def other(vectors, described):
        described["fingerprint"] = "0123456789ab"
        return vectors

    def narrow(vectors, _described):
        return vectors[:, :-1].copy()

    for change, words in (
        (nan, "row 3 .* holds a number that is not finite"), (zero, "row 4 .* is zero"), (other, "not of local-dir"),
        (narrow, "numbers per vector"),
    ):  # fmt: skip
        done = rank("cat", damaged(world, tmp_path, change))
        assert done.code == 4, done.stderr
        assert __import__("re").search(words, done.stderr), done.stderr


def test_truncated_and_foreign_files(rank, world, tmp_path):
    for suffix in ("npy", "npy.json"):
        shutil.copy(world / f"v.{suffix}", tmp_path / f"t.{suffix}")
    (tmp_path / "t.npy").write_bytes((world / "v.npy").read_bytes()[:-100])
    done = rank("cat", tmp_path / "t.npy")
    assert done.code == 4
    assert "t.npy: damaged" in done.stderr


def test_a_parquet_file_without_the_column(rank, folder, random_model, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    run("embed", folder, "-m", random_model, "-o", tmp_path / "v.parquet", "-q")
    table = parquet.read_table(tmp_path / "v.parquet")
    parquet.write_table(table.drop(["embedding"]), tmp_path / "without.parquet")
    parquet.write_table(table.replace_schema_metadata(None), tmp_path / "foreign.parquet")
    for name, words in (("without", "has no column embedding"), ("foreign", "does not name the model")):
        done = rank("cat", tmp_path / f"{name}.parquet")
        assert done.code == 4
        assert f"{name}.parquet: {words}" in done.stderr


@pytest.mark.thorough
def test_a_list_of_very_many_names(rank, folder):
    name = os.fsencode(folder / "disc/red.png") + b"\0"
    done = rank("cat", "-", "-0", "--top-k", "1", stdin=name * 20_000)
    assert done.code == 0
    assert len(done.rows) == 1


@pytest.mark.thorough
def test_hostile_names_in_every_output(rank, tmp_path, chromium):
    disc("red").save(tmp_path / HOSTILE)
    done = rank("cat", tmp_path, "--report", tmp_path / "r.html", rows=False)
    assert done.code == 0
    assert "\x1b" not in done.stdout
    chromium.requested()
    chromium.open(tmp_path / "r.html")
    assert chromium.evaluate("document.title") == "cat"
    assert chromium.wait_until("document.querySelector('.card img').naturalWidth > 0", True)
    assert chromium.requested() == [(tmp_path / "r.html").as_uri()]


def test_a_picture_in_the_query_s_place_is_looked_for(rank, folder):
    picture = folder / "disc" / "red.png"
    done = rank(picture, folder, "--all")
    assert done.code == 0
    assert f"looking for pictures like {picture}; for these words, quote them" in done.stderr
    by_option = rank("--image", picture, folder, "--all")
    assert [row["image"] for row in done.rows] == [row["image"] for row in by_option.rows]
    assert str(picture) not in {row["image"] for row in done.rows}
    assert rank(f'"{picture}"', folder).rows != done.rows  # the words


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["a", "red", "car"], "put the query in quotes: clipcli rank 'a red car' disc square"),
        (["a dog", "a cat"], "for several queries: clipcli rank -e 'a dog' -e 'a cat' disc square"),
    ],
)
def test_words_without_quotes_are_not_searched_as_files(rank, folder, words, hint, monkeypatch):
    monkeypatch.chdir(folder)
    done = rank(*words, "disc", "square")
    assert done.code == 2
    assert not done.stdout
    assert hint in done.stderr
    assert rank("car", "disc", "lost").code == 3
    assert rank("a", "square", "disc").code == 0


@pytest.mark.parametrize("second", ["two parrots", "disc/red.png"])
def test_swapped_arguments_get_a_hint(rank, folder, second, monkeypatch):
    monkeypatch.chdir(folder)
    done = rank(folder, second)
    assert done.code == 2
    assert "the query comes first: clipcli rank" in done.stderr
