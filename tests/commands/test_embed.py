"""`embed` and `merge` as a user runs them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pictures
import pytest
from PIL import Image, ImageDraw
from run import ROOT, command, run, run_process

from clipcli.models import spec
from clipcli.vectorfiles import VECTOR_FORMATS, open_vectors

ENGINE = ("--engine", "openclip", "--precision", "fp32")


@pytest.fixture
def quick_model(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """What a process of its own loads fastest: the embedded model where it was built."""
    if (spec.TINY_FOLDER / spec.MANIFEST).is_file():
        return ("-m", "tiny")
    return ("-m", request.getfixturevalue("random_model"), *ENGINE)


@pytest.fixture
def embed(random_model: str):
    """Run embed with the small random model."""

    def call(*arguments: str | Path, stdin: bytes = b""):
        return run("embed", "-m", random_model, *ENGINE, *arguments, stdin=stdin)

    return call


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Twelve pictures, every third of them broken."""
    place = tmp_path / "mixed"
    place.mkdir()
    for number in range(12):
        if number % 3 == 1:
            (place / f"{number:02}.png").write_bytes(b"" if number == 1 else b"no picture")
        else:
            image = pictures.disc(("red", "blue", "green")[number % 3])
            image.rotate(number * 7).save(place / f"{number:02}.png")
    return place


def test_jsonl_streams_to_stdout_with_errors_among_the_rows(embed, mixed: Path):
    result = embed(mixed)
    assert result.code == 3
    names = [str(mixed / f"{number:02}.png") for number in range(12)]
    assert [row["image"] for row in result.rows] == names
    good = [list(row) for row in result.rows if "error" not in row]
    assert good == [["image", "model", "fingerprint", "precision", "pixels", "embedding"]] * 8
    assert [row["error"]["stage"] for row in result.rows if "error" in row] == ["read", "decode", "decode", "decode"]
    for row in result.rows:
        if "embedding" in row:
            assert np.linalg.norm(row["embedding"]) == pytest.approx(1, abs=1e-6)
    assert "4 of 12 images could not be used" in result.stderr


@pytest.mark.thorough
def test_the_first_row_is_out_before_the_list_ends(quick_model: tuple[str, ...], folder: Path):
    arguments = command("embed", "-", *quick_model, "-q")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(os.fsencode(folder / "disc" / "red.png") + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["image"].endswith("red.png")
        process.stdin.close()
        assert process.stdout.read() == b""


@pytest.mark.thorough
@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
def test_every_format_holds_the_same_vectors(embed, mixed: Path, tmp_path: Path, suffix: str):
    rows = embed(mixed, "-q").rows
    result = embed(mixed, "-o", tmp_path / f"out.{suffix}", "-q")
    assert (result.code, result.stdout) == (3, "")
    file = open_vectors(tmp_path / f"out.{suffix}")
    assert list(file.names) == [row["image"] for row in rows if "embedding" in row]
    np.testing.assert_array_equal(file.matrix(), [np.float32(row["embedding"]) for row in rows if "embedding" in row])
    assert [lost.name for lost in file.failures] == [row["image"] for row in rows if "error" in row]
    assert (file.kind, file.fingerprint) == ("image", rows[0]["fingerprint"])
    assert file.info.parameters is not None
    assert file.info.parameters.preprocessing.image_size == (32, 32)
    assert not (tmp_path / f"out.{suffix}.parts").exists()
    if suffix in {"npy", "npz", "parquet"}:
        lines = (tmp_path / f"out.{suffix}.errors.jsonl").read_text().splitlines()
        assert [json.loads(line)["image"] for line in lines] == [lost.name for lost in file.failures]


def test_float16_and_raw(embed, folder: Path, tmp_path: Path):
    embed(folder, "-o", tmp_path / "unit.npy")
    embed(folder, "-o", tmp_path / "half.npy", "--dtype", "float16")
    embed(folder, "-o", tmp_path / "raw.npy", "--no-normalize")
    unit, half, raw = (np.load(tmp_path / f"{name}.npy") for name in ("unit", "half", "raw"))
    np.testing.assert_array_equal(half, unit.astype(np.float16))
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    assert abs(lengths - 1).min() > 0.01
    np.testing.assert_allclose(raw / lengths, unit, atol=1e-6)
    assert not open_vectors(tmp_path / "raw.npy").info.unit_length
    assert len(list(open_vectors(tmp_path / "raw.npy").blocks())) == 1


def test_texts_from_everywhere(embed, tmp_path: Path):
    (tmp_path / "lines.txt").write_text("a dog\na cat\n")
    (tmp_path / "table.csv").write_text("id,caption\n1,a cat\n2,\n")
    given = embed("--text", "a dog", "--text", "a cat")
    listed = embed("--texts-from", tmp_path / "lines.txt")
    piped = embed("--texts-from", "-", stdin=b"a dog\na cat")
    assert given.rows == listed.rows == piped.rows
    assert [list(row) for row in given.rows] == [["text", "model", "fingerprint", "precision", "embedding"]] * 2
    table = embed("--texts-from", tmp_path / "table.csv", "--column", "caption")
    assert [row["text"] for row in table.rows] == ["a cat", ""]
    (tmp_path / "holes.csv").write_text("id,caption\n1,a cat\n2\n")
    holes = embed("--texts-from", tmp_path / "holes.csv", "--column", "caption")
    assert holes.code == 3
    assert f"clipcli: no text in row 2 of {tmp_path / 'holes.csv'} (read)" in holes.stderr
    np.testing.assert_allclose(table.rows[0]["embedding"], given.rows[1]["embedding"], atol=1e-5)


def test_prompts_average_templates(embed, tmp_path: Path):
    (tmp_path / "two.txt").write_text("a photo of a {}\nthe {}\n")
    whole = embed("--text", "dog", "--prompts", tmp_path / "two.txt", "-o", tmp_path / "out.jsonl")
    assert whole.code == 0
    file = open_vectors(tmp_path / "out.jsonl")
    parts = [row["embedding"] for row in embed("--text", "a photo of a dog", "--text", "the dog").rows]
    mean = np.mean(parts, axis=0)
    np.testing.assert_allclose(file.matrix()[0], mean / np.linalg.norm(mean), atol=1e-5)
    assert (list(file.names), file.kind) == (["dog"], "text")
    assert "two" in file.info.prompts


def test_a_text_of_ten_thousand_words_is_cut_and_said_once(embed, tmp_path: Path):
    (tmp_path / "long.txt").write_text("\n".join(["word " * 10_000, "word " * 9_000, "short"]))
    result = embed("--texts-from", tmp_path / "long.txt", "-q")
    assert (result.code, len(result.rows)) == (0, 3)
    assert result.stderr.count("longer than the model's 77 tokens") == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_written_as_stdout_is_and_nothing_beside_it(embed, mixed: Path, tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text(encoding="utf-8")))
    reader.start()
    done = embed(mixed, "-o", pipe, "--format", "jsonl", "-q")
    reader.join(20)
    assert done.code == 3
    assert [json.loads(line) for line in read[0].splitlines()] == embed(mixed, "-q").rows
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith("pipe")] == ["pipe"]
    assert "npy cannot be written to a pipe" in embed(mixed, "-o", pipe, "--format", "npy").stderr


def test_images_that_were_read_in_other_ways_are_not_merged(embed, mixed: Path, tmp_path: Path):
    embed(mixed, "-o", tmp_path / "a.npy")
    embed(mixed, "-o", tmp_path / "b.npy", "--fast-decode", "--no-orient")
    merged = run("merge", tmp_path / "a.npy", tmp_path / "b.npy", "-o", tmp_path / "c.npy")
    assert merged.code == 4
    assert "b.npy: decoding is 'unrotated, fast', but in " in merged.stderr


@pytest.mark.parametrize(
    ("option", "pixels"),
    [(["--background-color", "#336"], "rgb on #333366"), (["--background-colour", "black"], "rgb on #000000"),
     (["--bare-transform"], "bare")],
)  # fmt: skip
def test_vectors_say_how_pixels_became_rgb(embed, tmp_path: Path, option: list[str], pixels: str):
    folder = tmp_path / "icons"
    folder.mkdir()
    disc = Image.new("RGBA", (40, 40))
    ImageDraw.Draw(disc).ellipse((5, 5, 30, 30), (0, 0, 0, 255))
    disc.save(folder / "disc.png")
    embed(folder, "-o", tmp_path / "a.safetensors")
    embed(folder, "-o", tmp_path / "b.safetensors", *option)
    usual, other = (open_vectors(tmp_path / name) for name in ("a.safetensors", "b.safetensors"))
    assert (usual.info.pixels, other.info.pixels) == ("rgb on #ffffff", pixels)
    assert np.abs(usual.matrix() - other.matrix()).max() > 0.001
    merged = run("merge", tmp_path / "a.safetensors", tmp_path / "b.safetensors", "-o", tmp_path / "c.npy")
    assert (merged.code, f"pixels is '{pixels}', but in " in merged.stderr) == (4, True)
    assert embed(folder, "--background-colour", "blurple").code == 2


@pytest.mark.thorough
def test_shards_merge_to_the_very_bytes_of_one_run(embed, mixed: Path, tmp_path: Path):
    embed(mixed, "-o", tmp_path / "whole.parquet")
    names = []
    for index in (1, 2, 3):
        name = tmp_path / f"{index}.npy"
        embed(mixed, "-o", name, "--shard", f"{index}/3", "--no-cache", "--batch-size", "4")
        names.append(name)
    joined = run("merge", *names[::-1], "-o", tmp_path / "joined.parquet")
    assert joined.code == 0
    assert "8 vectors" in joined.stderr
    whole, ours = open_vectors(tmp_path / "whole.parquet"), open_vectors(tmp_path / "joined.parquet")
    assert list(whole.names) == list(ours.names)
    np.testing.assert_allclose(whole.matrix(), ours.matrix(), atol=1e-5)
    assert (tmp_path / "joined.parquet.errors.jsonl").read_bytes() == (
        tmp_path / "whole.parquet.errors.jsonl"
    ).read_bytes()
    missing = run("merge", *names[:2], "-o", tmp_path / "part.npy")
    assert (missing.code, "3/3" in missing.stderr) == (4, True)


def test_an_image_twice_under_two_names_and_as_a_hard_link(embed, folder: Path, tmp_path: Path):
    shutil.copy(folder / "disc" / "red.png", tmp_path / "a.png")
    shutil.copy(folder / "disc" / "red.png", tmp_path / "b.png")
    (tmp_path / "c.png").hardlink_to(tmp_path / "a.png")
    result = embed(tmp_path / "a.png", tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png")
    assert [Path(row["image"]).name for row in result.rows] == ["a.png", "a.png", "b.png", "c.png"]
    assert len({json.dumps(row["embedding"]) for row in result.rows}) == 1


def test_a_file_that_changes_is_not_answered_from_the_cache(embed, folder: Path, tmp_path: Path):
    file = tmp_path / "a.png"
    shutil.copy(folder / "disc" / "red.png", file)
    before = embed(file).rows[0]["embedding"]
    shutil.copy(folder / "square" / "blue.png", file)
    after = embed(file).rows[0]["embedding"]
    assert before != after
    np.testing.assert_allclose(after, embed(folder / "square" / "blue.png").rows[0]["embedding"], atol=1e-6)


def test_a_batch_that_is_bad_as_a_whole(embed, tmp_path: Path):
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(b"x")
    result = embed(tmp_path, "-o", tmp_path / "out.npy", "--batch-size", "2")
    assert result.code == 4
    assert np.load(tmp_path / "out.npy").shape == (0, 48)
    assert len((tmp_path / "out.npy.errors.jsonl").read_text().splitlines()) == 5


def test_a_file_too_large_to_be_an_image(embed, folder: Path, tmp_path: Path):
    with (tmp_path / "huge.png").open("wb") as stream:
        stream.truncate(2 * 1024**3 + 1)
    result = embed(tmp_path / "huge.png", folder / "disc" / "red.png")
    assert result.code == 3
    assert ["error" in row for row in result.rows] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        ((), 2, "no images given"),
        (("a.png", "--text", "b"), 2, "separate outputs"),
        (("a.png", "--column", "b"), 2, "--column is for tables"),
        (("a.png", "-o", "out.xyz"), 2, "cannot tell the format"),
        (("a.png", "-f", "npy"), 2, "cannot be written to a pipe"),
        (("a.png", "-f", "nyp"), 2, "no format 'nyp'"),
        (("a.png", "--dtype", "int8"), 2, "no type 'int8'"),
        (("a.png", "--shard", "4/3"), 2, "not a shard"),
        (("a.png", "--resume"), 2, "--resume needs -o FILE"),
        (("a.png", "-o", "no/such/folder/out.npy"), 6, "make the folder first"),
        (("a.png", "-o", "/dev/null/out.npy"), 6, "cannot write"),
        (("a.png", "-o", str(ROOT)), 2, "cannot tell the format"),
        (("a.png", "-o", str(ROOT), "-f", "npy"), 6, "is a folder"),
        (("--texts-from", "absent.txt"), 4, "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said(embed, arguments, code, why):
    result = embed(*arguments)
    assert (result.code, result.stdout) == (code, "")
    assert why in result.stderr


def test_too_little_memory_is_no_bug(embed, monkeypatch):
    def full(*_: object) -> None:
        raise MemoryError("Unable to allocate 9.31 GiB")

    monkeypatch.setattr("clipcli.session.session.Session.embed_texts", full)
    result = embed("--text", "a")
    assert result.code == 5
    assert "error: out of memory: Unable to allocate 9.31 GiB" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_empty_list_of_texts(embed, tmp_path: Path):
    (tmp_path / "none.txt").write_text("")
    result = embed("--texts-from", tmp_path / "none.txt", "-o", tmp_path / "out.npy")
    assert (result.code, (tmp_path / "out.npy").exists()) == (4, False)


def test_a_full_disk_in_the_middle_keeps_the_parts_and_ends_in_6(embed, mixed: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("clipcli.runs.embed.run.PART_INPUTS", 5)
    real, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(descriptor)

    embed(mixed)  # what is learnt of the model is written before the disk is full
    monkeypatch.setattr("os.fsync", full)
    result = embed(mixed, "-o", tmp_path / "out.npy")
    assert result.code == 6
    assert "no space left" in result.stderr
    monkeypatch.undo()
    assert run("merge", tmp_path / "out.npy.parts", "-o", tmp_path / "so-far.npy", "--incomplete").code == 0
    assert 3 <= len(np.load(tmp_path / "so-far.npy")) < 8
    assert embed(mixed, "-o", tmp_path / "out.npy", "--resume").code == 3
    assert len(np.load(tmp_path / "out.npy")) == 8


def test_resume_goes_on_and_refuses_other_inputs(embed, mixed: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("clipcli.runs.embed.run.PART_INPUTS", 4)
    embed(mixed, "-o", tmp_path / "whole.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr("clipcli.runs.embed.run.PART_INPUTS", 7)
        patch.setattr("clipcli.runs.embed.run.EmbedRun._assemble", _stop)
        stopped = embed(mixed, "-o", tmp_path / "out.safetensors")
        assert stopped.code == 130
        assert "12 images are finished; --resume continues" in stopped.stderr
    assert "starting over" not in embed(mixed, "-o", tmp_path / "out.safetensors", "--resume", "--dry-run").stderr
    for option, difference in (
        ("--fast-decode", "default, this run has fast"),
        ("--no-orient", "default, this run has unrotated"),
    ):
        refused = embed(mixed, "-o", tmp_path / "out.safetensors", "--resume", option)
        assert (refused.code, f"the stored parts have decoding {difference}" in refused.stderr) == (2, True), (
            refused.stderr
        )
    moved = mixed / "00.png"
    moved.rename(mixed / "0.png")
    refused = embed(mixed, "-o", tmp_path / "out.safetensors", "--resume")
    assert (refused.code, "had other inputs" in refused.stderr) == (2, True)
    (mixed / "0.png").rename(moved)
    resumed = embed(mixed, "-o", tmp_path / "out.safetensors", "--resume", "--no-cache")
    assert resumed.code == 3
    assert "4 of 12 images" in resumed.stderr
    assert "0 images in " in resumed.stderr
    assert "(0.0/s), after 8 of a stopped run" in resumed.stderr
    assert (tmp_path / "out.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.thorough
def test_the_same_vectors_for_any_batch_size_workers_and_order(embed, mixed: Path):
    def vectors(*options: str | Path) -> dict[str, list[float]]:
        rows = embed(*options, "--no-cache", "-q").rows
        return {row["image"]: row["embedding"] for row in rows if "embedding" in row}

    first = vectors(mixed)
    for options in (
        ["--batch-size", "1"],
        ["--batch-size", "3", "--workers", "4"],
        ["--batch-size", "7", "--workers", "1"],
    ):
        assert vectors(mixed, *options) == first
    assert vectors(*sorted(mixed.iterdir(), reverse=True)) == first


@pytest.mark.thorough
def test_a_text_has_one_vector_whatever_stands_beside_it(embed):
    texts = ["dog", "a photo of a dog " * 3, "a cat", "the " * 200, ""]
    together = embed(*[part for text in texts for part in ("--text", text)], "--no-cache", "-q").rows
    for text, row in zip(texts, together, strict=True):
        assert embed("--text", text, "--no-cache", "-q").rows == [row]


@pytest.mark.thorough
def test_dry_run_says_what_there_is_to_do_and_loads_nothing(embed, mixed: Path, monkeypatch):
    unknown = embed(mixed, "--dry-run")
    assert unknown.code == 0
    assert unknown.stdout.startswith("images: 12, 0.0 MB\nin the cache: 0\n")
    embed(mixed)
    monkeypatch.setattr("clipcli.models.model.Model.encoder", None)
    known = embed(mixed, mixed / "gone.png", "--dry-run")
    assert known.code == 0
    assert known.stdout.startswith("images: 13, 0.0 MB\nmissing: 1\n")


def test_dry_run_knows_texts_and_what_they_are_put_into(embed):
    embed("--text", "a", "--text", "b")
    embed("--text", "a", "--prompts", "photo")
    assert "in the cache: 2\n" in embed("--text", "a", "--text", "b", "--text", "c", "--dry-run").stdout
    assert "in the cache: 1\n" in embed("--text", "a", "--text", "b", "--prompts", "photo", "--dry-run").stdout


def test_dry_run_of_no_known_model():
    result = run("embed", "--text", "a", "-m", "ViT-B-31", "--dry-run")
    assert (result.code, result.stdout) == (5, "")
    assert "did you mean 'ViT-B-32'" in result.stderr


def test_dry_run_tells_the_time_of_an_earlier_run_also_with_refresh(embed, folder: Path, monkeypatch):
    monkeypatch.setattr("clipcli.runs.embed.run._ENOUGH_TO_TELL", 1)
    embed(folder)
    assert "as in the last run" in embed(folder, "--dry-run", "--refresh").stdout


def test_the_summary_names_the_bottleneck(embed, folder: Path, tmp_path: Path):
    result = embed(folder, "-o", tmp_path / "out.npy", "--refresh")
    assert result.stderr.count("8 images in ") == 1
    assert "bottleneck: " in result.stderr
    assert embed(folder, "-o", tmp_path / "out.npy", "-q").stderr == ""


def test_a_second_run_needs_no_model(embed, folder: Path, monkeypatch):
    first = embed(folder, folder / "disc" / "red.png")
    monkeypatch.setattr("clipcli.models.model.Model.encoder", None)
    monkeypatch.setattr("clipcli.cache.store._RACY_SECONDS", -1.0)
    assert embed(folder, folder / "disc" / "red.png").stdout == first.stdout


@pytest.mark.thorough
@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_9_then_resume_gives_the_bytes_of_an_undisturbed_run(
    quick_model: tuple[str, ...], tmp_path: Path, times: int
):
    place = tmp_path / "many"
    place.mkdir()
    for number in range(60):
        pictures.disc(("red", "blue", "green", "yellow")[number % 4], (40 + number, 60)).save(
            place / f"{number:03}.png"
        )
    (place / "030.png").write_bytes(b"broken")
    common = ("embed", place, *quick_model, "--no-cache", "-q")
    script = "import clipcli.runs.embed.run as job; from clipcli.cli import main; job.PART_INPUTS = 7; main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start(out: Path, *more: str) -> subprocess.Popen[bytes]:
        arguments = [command()[0], "-c", script, *map(str, common), "-o", str(out), *more]
        return subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE)

    whole = tmp_path / "whole.parquet"
    start(whole).communicate()
    out = tmp_path / "out.parquet"
    parts = tmp_path / "out.parquet.parts"
    for number in range(times):
        process = start(out, "--resume")
        wanted = int(np.random.default_rng(number).integers(0, 8))
        while process.poll() is None and len(list(parts.glob("0*"))) < wanted:
            time.sleep(0.002)
        process.kill()
        process.communicate()
    start(out, "--resume").communicate()
    assert out.read_bytes() == whole.read_bytes()
    assert not parts.exists()


TELLING = """
import os, sys
from clipcli.vectorfiles.checkpoints import Collector
from clipcli.cli import main
keep = Collector.add
def add(self, *row):
    keep(self, *row)
    os.write({told}, b".")
Collector.add = add
main()
"""
"""The command, which writes a byte for every row that is kept."""


@pytest.mark.thorough
def test_ctrl_c_keeps_what_is_done(quick_model: tuple[str, ...], folder: Path, tmp_path: Path):
    listing = os.fsencode("\n".join(map(str, sorted(folder.rglob("*.png")))) + "\n")
    heard, told = os.pipe()
    arguments = [command()[0], "-c", TELLING.format(told=told), "embed", "-", *quick_model, "-o", tmp_path / "out.npy"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdin=pipe, stderr=pipe, env=environment, pass_fds=[told]) as process:
        os.close(told)
        assert process.stdin
        assert process.stderr
        process.stdin.write(listing)
        process.stdin.flush()
        assert sum(len(os.read(heard, 1)) for _ in range(8)) == 8
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode()
        assert process.wait(60) == 130
    os.close(heard)
    assert "8 images are finished; --resume continues" in said
    assert run_process("merge", tmp_path / "out.npy.parts", "-o", tmp_path / "x.npy", "--incomplete").code == 0
    assert len(np.load(tmp_path / "x.npy")) == 8


def test_cache_commands(embed, folder: Path, own_world: Path, monkeypatch):
    embed(folder)
    info = run("cache", "info", "--format", "jsonl")
    assert str(own_world) in info.stderr
    (row,) = info.rows
    assert (row["vectors"], row["bytes"], row["space"].split("/")[1]) == (8, 8 * 48 * 4, "fp32")
    assert row["model"].startswith("local-dir:")
    assert run("cache", "prune").code == 2
    assert run("cache", "prune", "--max-size", "many").code == 2
    assert "0 vectors removed" in run("cache", "prune", "--older-than", "3").stderr
    (own_world / "file").touch()
    with monkeypatch.context() as patch:
        patch.setenv("CLIPCLI_CACHE_DIR", str(own_world / "file"))
        for arguments in (("clear",), ("prune", "--max-size", "1M")):
            result = run("cache", *arguments)
            assert (result.code, "cache not used" in result.stderr, "removed" in result.stderr) == (6, True, False)
    assert "8 vectors removed" in run("cache", "clear").stderr
    assert run("cache", "info", "--format", "jsonl").rows == []
