"""Fast-starting copies: made once, after the answers, by one process, and never to the harm of a run."""

from __future__ import annotations

import errno
import math
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import small_models
from filelock import FileLock
from run import Result, assert_one_error, command, run, run_script

import clipcli
from clipcli import bundle
from clipcli.core.console import Console
from clipcli.engines import parity
from clipcli.engines.parity import Verification
from clipcli.errors import ModelError, OutputError
from clipcli.models import auto_export as exporting
from clipcli.models import records
from clipcli.models.loader import attempt_file
from clipcli.models.model import Model
from clipcli.models.spec import Choice

if TYPE_CHECKING:
    from collections.abc import Callable

LABELS = ("-l", "disc,square")
HEAVY = """
import sys
from clipcli.cli import app
try:
    app(sys.argv[1:], prog_name="clipcli")
except SystemExit as stop:
    heavy = {"torch", "open_clip", "huggingface_hub", "onnxruntime"} & set(sys.modules)
    print("code", stop.code, "loaded", sorted(heavy))
"""
_Usage = namedtuple("_Usage", "total used free")  # noqa: PYI024 - as shutil has it


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A model, and the bundle that `models export` wrote of it."""
    folder = tmp_path_factory.mktemp("source")
    spec, target = small_models.save("clip", folder), tmp_path_factory.mktemp("made") / "bundle"
    result = run("models", "export", spec, "-o", target, "--name", "mine")
    assert result.code == 0, result.stderr
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith(f"clipcli: {target}: ")
    return spec, target


@pytest.fixture
def auto(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user has it: copies are made by themselves."""
    monkeypatch.delenv("CLIPCLI_AUTO_EXPORT")


@pytest.fixture
def at_once(auto: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the background process does is done before the run ends, in this process."""
    monkeypatch.setattr(exporting, "_lower_priority", lambda: None)
    monkeypatch.setattr(exporting, "_spawn", exporting.main)


def classify(spec: str, folder: Path, *options: str) -> Result:
    return run("classify", "-m", spec, folder, *LABELS, "--no-cache", *options)


def attempts(spec: str) -> Path:
    return attempt_file(records.bundle_folder(spec))


def instead_of_exporting(monkeypatch: pytest.MonkeyPatch, act: Callable[..., object]) -> list[str]:
    """What is exported, by the name of its folder; `act` takes the exporter's place."""
    calls: list[str] = []

    def fake(_encoder: object, _revision: str | None, folder: Path, *_rest: object) -> object:
        calls.append(folder.name)
        return act()

    monkeypatch.setattr("clipcli.models.loader.export_source", fake)
    return calls


def fail(error: BaseException) -> Callable[[], object]:
    def act() -> object:
        raise error

    return act


@pytest.mark.slow
def test_the_first_runs_as_a_user_sees_them(random_model: str, folder: Path, auto: None):
    """The first run ends with its answers, a background process makes the copy, and later runs need no torch."""
    options = ("classify", "-m", random_model, str(folder), *LABELS, "--no-cache")
    first = subprocess.run(command(*options), capture_output=True, text=True, check=True)
    assert first.stderr.startswith(f"clipcli: a background process makes a fast-starting copy of {random_model} (7 MB)")
    assert first.stderr.count("\n") == 1
    wait_for_copy(random_model)
    assert not attempts(random_model).exists()
    for _ in range(2):
        again = run_script(HEAVY, *options)
        assert again.stdout == f"{first.stdout}code 0 loaded ['onnxruntime']\n"
        assert again.stderr == ""


def wait_for_copy(spec: str) -> None:
    """Wait for the background process: the file of attempts goes when the copy is there, the lock when it ends."""
    wait_until(lambda: not attempts(spec).exists())
    with FileLock(attempts(spec).with_suffix(".lock"), timeout=600):
        assert bundle.is_bundle(records.bundle_folder(spec))


def wait_until(is_done: Callable[[], bool]) -> None:
    """Wait for another process, which gives way to all others and so may take minutes on a busy machine."""
    deadline = time.monotonic() + 600
    while not is_done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.thorough
def test_the_background_process_keeps_why_it_failed_and_runs_nothing_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("clipcli", "torch", "json", "filelock"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    missing = f"local-dir:{tmp_path / 'missing'}"
    exporting.ExportAttempts(1).write(attempts(missing))
    exporting._spawn(missing, "")
    wait_until(lambda: exporting.ExportAttempts.read(attempts(missing)).failure != "")
    kept = exporting.ExportAttempts.read(attempts(missing))
    assert kept.failure == f"{tmp_path / 'missing'} is not a folder"
    assert (kept.count, kept.version) == (1, clipcli.__version__)
    assert not (tmp_path / "ran").exists()


def test_a_copy_is_made_once(random_model: str, folder: Path, at_once: None, monkeypatch: pytest.MonkeyPatch):
    calls = instead_of_exporting(monkeypatch, lambda: None)
    result = classify(random_model, folder)
    assert result.code == 0
    assert calls == [records.bundle_folder(random_model).name]
    assert not attempts(random_model).exists()


@pytest.mark.parametrize(
    ("auto_export", "ci", "is_enabled"),
    [
        (None, None, True),
        (None, "true", False),
        (None, "1", False),
        (None, "false", True),
        (None, "", True),
        ("", "true", False),
        ("1", "true", True),
        ("0", None, False),
        ("False", None, False),
        ("off", None, False),
    ],
)
def test_what_turns_it_off(auto_export: str | None, ci: str | None, is_enabled: bool, monkeypatch: pytest.MonkeyPatch):
    for name, value in (("CLIPCLI_AUTO_EXPORT", auto_export), ("CI", ci)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert exporting._is_enabled() is is_enabled


def test_in_ci_no_copy_is_made_and_nothing_is_said(
    random_model: str, folder: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CI", "true")
    calls = instead_of_exporting(monkeypatch, lambda: None)
    result = classify(random_model, folder)
    assert (result.code, result.stderr, calls) == (0, "", [])


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ModelError("odd: its image tower cannot be exported: X"), "odd: its image tower cannot be exported: X"),
        (RuntimeError("a bug\nof many lines"), "RuntimeError: a bug"),
        (MemoryError("cannot allocate"), "MemoryError: cannot allocate"),
    ],
)
@pytest.mark.usefixtures("at_once")
def test_a_model_that_cannot_be_exported_says_so_once_and_keeps_working(
    random_model: str, folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
):
    calls = instead_of_exporting(monkeypatch, fail(error))
    first, second, third = (classify(random_model, folder) for _ in range(3))
    assert (first.code, second.code, third.code) == (0, 0, 0)
    why = f"clipcli: no fast-starting copy of {random_model}: {line}; the model keeps running through torch\n"
    assert (second.stderr, third.stderr, len(calls)) == (why, "", 1)
    assert first.stdout == second.stdout == third.stdout
    monkeypatch.setattr(exporting, "__version__", "99")
    classify(random_model, folder)
    assert len(calls) == 2, "another version tries again"


def test_a_disk_that_fills_up_is_tried_again(
    random_model: str, folder: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
):
    full = OutputError("/x: the bundle cannot be written: No space left on device")
    calls = instead_of_exporting(monkeypatch, fail(full))
    runs = [classify(random_model, folder) for _ in range(5)]
    assert [result.code for result in runs] == [0] * 5
    assert ["No space left on device; the model keeps running" in result.stderr for result in runs] == [
        False, True, True, True, False,
    ]  # fmt: skip
    assert len(calls) == 3, "at most three attempts a day"
    os.utime(attempts(random_model), (0, 0))
    classify(random_model, folder)
    assert len(calls) == 4


def test_a_disk_without_room_is_seen_before_the_work(
    random_model: str, folder: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
):
    calls = instead_of_exporting(monkeypatch, lambda: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(10**12, 10**12, 1000))
    result = classify(random_model, folder)
    assert (result.code, calls) == (0, [])
    assert f"no fast-starting copy of {random_model}: it needs 0.0 GB, and " in result.stderr


def test_of_several_processes_one_makes_the_copy(
    random_model: str, folder: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
):
    calls = instead_of_exporting(monkeypatch, lambda: classify(random_model, folder, "-v"))
    outer = classify(random_model, folder)
    assert outer.code == 0
    assert len(calls) == 1


def test_a_process_that_is_killed_is_followed_by_two_more_and_then_by_one_a_day(
    random_model: str, folder: Path, auto: None, monkeypatch: pytest.MonkeyPatch
):
    started: list[str] = []
    monkeypatch.setattr(exporting, "_spawn", lambda name, _: started.append(name))
    for _ in range(4):
        assert classify(random_model, folder).code == 0
    assert started == [random_model] * 3
    assert "3 attempts failed" in classify(random_model, folder, "-v").stderr
    os.utime(attempts(random_model), (0, 0))
    classify(random_model, folder)
    assert len(started) == 4


def test_nobody_starts_a_process_while_another_makes_the_copy(
    random_model: str, folder: Path, auto: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(exporting, "_spawn", lambda *_: pytest.fail("a second process"))
    attempts(random_model).parent.mkdir(parents=True, mode=0o700)
    with FileLock(attempts(random_model).with_suffix(".lock")):
        result = classify(random_model, folder, "-v")
        exporting.main(random_model, "")  # ends at once
    assert "another process is making it" in result.stderr
    assert not records.bundle_folder(random_model).exists()


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"count": "x"}', "\0" * 100, '{"count": 3, "version": 1}'])
def test_a_damaged_file_of_attempts_says_nothing(text: str, tmp_path: Path):
    path = tmp_path / "x.attempt"
    path.write_text(text)
    assert exporting.ExportAttempts.read(path) == exporting.ExportAttempts()


def test_a_cache_that_cannot_be_written_costs_nothing(
    random_model: str, folder: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    calls = instead_of_exporting(monkeypatch, lambda: None)
    monkeypatch.setattr(Path, "mkdir", refuse)
    result = classify(random_model, folder)
    assert (result.code, result.stderr, calls) == (0, "", [])


def test_pull_tries_again_what_failed(random_model: str, monkeypatch: pytest.MonkeyPatch):
    exporting.ExportAttempts(1, "odd", clipcli.__version__).write(attempts(random_model))
    calls = instead_of_exporting(monkeypatch, lambda: None)
    result = run("models", "pull", random_model)
    assert result.code == 0
    assert len(calls) == 1
    assert not attempts(random_model).exists()


def test_without_onnx_runtime_a_model_with_a_copy_runs_through_torch(
    random_model: str, folder: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
):
    before = classify(random_model, folder, "--engine", "openclip").stdout
    _give_a_copy(random_model)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = classify(random_model, folder)
    assert (result.code, result.stdout) == (0, before)
    warning, note = result.stderr.splitlines()
    assert "onnxruntime is not installed (pip install onnxruntime): running through torch" in warning
    assert "no fast-starting copy" in note
    assert_one_error(classify("tiny", folder, "-q"), "ONNX Runtime cannot be imported", "pip install onnxruntime")


def _give_a_copy(spec: str) -> None:
    """Something that passes for the model's copy: the embedded model under its fingerprint's name."""
    tiny = Model(Choice("tiny", engine="auto"), Console(quiet=True)).bundle
    assert tiny is not None
    shutil.copytree(tiny.folder, records.bundle_folder(spec))


@pytest.mark.thorough
def test_a_copy_of_the_same_weights_is_not_made_again(
    random_model: str, folder: Path, at_once: None, made: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
):
    """The record of the model is gone: whose copy it is shows when the model is loaded."""
    spec, source = made
    shutil.copytree(source, records.bundle_folder(spec))
    calls = instead_of_exporting(monkeypatch, lambda: None)
    first = classify(spec, folder, "-v")
    assert first.code == 0
    assert "openclip; ready in" in first.stderr
    assert calls == []
    assert "onnx; ready in" in classify(spec, folder, "-v").stderr


@pytest.mark.thorough
def test_a_damaged_copy_is_told_and_replaced(
    folder: Path, at_once: None, made: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
):
    spec, source = made
    copy = shutil.copytree(source, records.bundle_folder(spec))
    with (copy / "text.onnx.data").open("r+b") as file:
        file.truncate(1000)
    calls = instead_of_exporting(monkeypatch, lambda: None)
    result = classify(spec, folder)
    assert result.code == 0
    assert "text.onnx.data: 1000 bytes, but the manifest says" in result.stderr.splitlines()[0]
    assert calls == [copy.name]


@pytest.mark.thorough
def test_an_exported_folder_runs_and_is_verified(made: tuple[str, Path], folder: Path):
    spec, target = made
    assert bundle.read(target).info.name == "mine"
    assert classify(str(target), folder).stdout == classify(spec, folder, "--engine", "openclip").stdout
    picture = next(path for path in sorted(folder.rglob("*")) if path.suffix in {".png", ".jpg"})
    result = run("models", "verify", target, "--source", spec, "--image", picture, "-f", "jsonl")
    assert result.code == 0, result.stderr
    facts = {row["fact"]: row["value"] for row in result.rows}
    assert facts["hashes"] == "as recorded"
    assert float(str(facts["largest image difference"])) <= 1e-5
    assert float(str(facts["largest text difference"])) <= 1e-5
    unnamed = run("models", "verify", target)
    assert "mine: not on this disk, not compared; --source MODEL names another" in unnamed.stdout


@pytest.mark.thorough
def test_copies_are_counted_and_removed_when_asked(made: tuple[str, Path]):
    spec, source = made
    assert "copies" not in run("cache", "info").stderr
    shutil.copytree(source, records.bundle_folder(spec))
    attempts(spec).touch()
    assert "copies of models: 1, 9 MB; clipcli cache clear --copies removes them" in run("cache", "info").stderr
    assert "copies" not in run("cache", "clear").stderr
    assert bundle.is_bundle(records.bundle_folder(spec))
    assert "copies of models: 1, 9 MB: removed" in run("cache", "clear", "--copies").stderr
    assert not records.bundle_folder(spec).parent.exists()
    assert "copies of models: 0, 0 MB: removed" in run("cache", "clear", "--copies").stderr


@pytest.mark.thorough
def test_verify_refuses_what_differs(made: tuple[str, Path], folder: Path, tmp_path: Path):
    _, target = made
    other, larger = tmp_path / "other", tmp_path / "larger"
    for path in (other, larger):
        path.mkdir()
    differs = run("models", "verify", target, "--source", small_models.save("clip", other, seed=1))
    assert_one_error(differs, "vectors differ from those of local-dir:", "more than 1e-05", "export it again")
    unlike = run("models", "verify", target, "--source", small_models.save("timm", larger))
    assert unlike.code == 5
    assert "is another model: its images, vectors or texts have other sizes" in unlike.stderr
    copy = shutil.copytree(target, tmp_path / "copy")
    data = bytearray((copy / "image.onnx.data").read_bytes())
    data[77] ^= 1
    (copy / "image.onnx.data").write_bytes(data)
    assert_one_error(run("models", "verify", copy), "image.onnx.data: damaged", "export or download the model again")
    assert_one_error(classify(str(copy), folder), "image.onnx.data: damaged")


@pytest.mark.thorough
@pytest.mark.parametrize("found", [(math.nan, 0.0), (0.0, math.nan), (2e-5, 0.0), (0.0, 2e-5)])
def test_verify_takes_no_difference_that_is_too_large_or_none_at_all(
    made: tuple[str, Path], found: tuple[float, float], monkeypatch: pytest.MonkeyPatch
):
    spec, target = made
    monkeypatch.setattr(parity, "compare", lambda *_, **__: Verification(*found, limit=1e-5, probes=1))
    assert_one_error(run("models", "verify", target, "--source", spec), "vectors differ from those of local-dir:")


@pytest.mark.thorough
def test_verify_reads_its_images_first(made: tuple[str, Path], tmp_path: Path):
    spec, target = made
    assert_one_error(run("models", "verify", target, "--image", tmp_path / "no.png"), "no such file", code=4)
    (tmp_path / "text.png").write_text("no image")
    assert_one_error(run("models", "verify", target, "--image", tmp_path / "text.png"), "not an image", code=4)
    assert_one_error(run("models", "verify", spec, "--image", tmp_path / "no.png"), "has no bundle to compare", code=2)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--dtype", "bf16"), 2, ("no type 'bf16'", "float32 or float16")),
        (("--dtype", "float16"), 2, ("--dtype float16 needs -o DIR",)),
        (("--name", "mine"), 2, ("--name needs -o DIR",)),
        (("-o", "{busy}"), 6, ("exists and is not a bundle", "name a new folder")),
    ],
)
def test_exports_that_are_refused_before_the_model_is_loaded(
    random_model: str, tmp_path: Path, options: tuple[str, ...], code: int, words: tuple[str, ...]
):
    (tmp_path / "photo.jpg").touch()
    given = [option.format(busy=tmp_path) for option in options]
    assert_one_error(run("models", "export", random_model, *given), *words, code=code)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_bundle_is_not_exported(tmp_path: Path):
    assert_one_error(run("models", "export", "tiny", "-o", tmp_path / "x"), "tiny is a bundle already", code=2)
