from __future__ import annotations

import dataclasses
import errno
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hand_made
import pytest
from hand_made import MANIFEST, fill

from clipcli import bundle
from clipcli.bundle import stage as staging
from clipcli.errors import OutputError


def _write(target: Path, manifest: bundle.Manifest = MANIFEST, *, interrupted_by: BaseException | None = None) -> None:
    with staging.staged(target) as stage:
        fill(stage)
        staging.seal(stage, manifest)
        if interrupted_by is not None:
            raise interrupted_by


def test_an_error_inside_leaves_nothing(tmp_path):
    target = tmp_path / "model"
    with pytest.raises(KeyboardInterrupt):
        _write(target, interrupted_by=KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(staging, "_flush", full)
    target = tmp_path / "model"
    with pytest.raises(OutputError, match="No space left on device"):
        _write(target)
    assert list(tmp_path.iterdir()) == []


def test_an_older_bundle_survives_a_failure_and_is_replaced_by_success(folder):
    with pytest.raises(ZeroDivisionError):
        _write(folder, interrupted_by=ZeroDivisionError())
    assert bundle.read(folder).info == MANIFEST.info

    _write(folder, dataclasses.replace(MANIFEST, revision="def"))
    assert bundle.read(folder).manifest.revision == "def"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model"]


def test_a_model_card_beside_a_bundle_survives_its_replacement(folder):
    (folder / "MODEL_CARD.md").write_text("what it is for")
    _write(folder, dataclasses.replace(MANIFEST, revision="def"))
    assert (folder / "MODEL_CARD.md").read_text() == "what it is for"
    assert bundle.read(folder).manifest.revision == "def"


def test_a_damaged_bundle_is_replaced_by_an_equal_whole_one(folder):
    (folder / "image.onnx.data").write_bytes(bytes(64))
    _write(folder)
    assert bundle.read(folder).info == MANIFEST.info


def test_what_is_not_a_bundle_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"precious")
    (tmp_path / "notes").write_text("precious")
    for name in ("photos", "notes"):
        with pytest.raises(OutputError, match="exists and is not"), staging.staged(tmp_path / name):
            pytest.fail("the block must not start")
    assert (tmp_path / "photos" / "holiday.jpg").read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes", "photos"]


def test_an_empty_folder_may_become_a_bundle(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    _write(target)
    assert bundle.read(target).info == MANIFEST.info


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), staging.staged(tmp_path / "file" / "model"):
        pytest.fail("the block must not start")


WRITER = """
    import sys
    from pathlib import Path
    sys.path[:0] = {path!r}
    import hand_made as t
    from clipcli.bundle import stage as staging
    for _ in range({times}):
        with staging.staged(Path({target!r})) as stage:
            t.fill(stage)
            staging.seal(stage, t.MANIFEST)
            if {console}:
                print("sealed", flush=True)
                sys.stdin.read()
"""


def _writer(target: Path, *, times: int = 1, console: bool = False) -> subprocess.Popen[str]:
    here = str(Path(hand_made.__file__).parent)
    code = textwrap.dedent(WRITER).format(path=[here], target=str(target), times=times, console=console)
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.thorough
def test_two_processes_at_once_both_succeed_and_one_result_stays(tmp_path):
    target = tmp_path / "model"
    rivals = [_writer(target, console=True) for _ in range(2)]
    for rival in rivals:  # both are sealed before either installs
        assert rival.stdout is not None
        assert rival.stdout.readline() == "sealed\n"
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(lambda rival: rival.communicate(timeout=30), rivals))
    assert [rival.returncode for rival in rivals] == [0, 0], ends
    assert bundle.read(target).info == MANIFEST.info
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.thorough
def test_ctrl_c_in_another_process_leaves_nothing(tmp_path):
    writer = _writer(tmp_path / "model", console=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "sealed\n"
    writer.send_signal(signal.SIGINT)
    _, complaint = writer.communicate(timeout=30)
    assert "KeyboardInterrupt" in complaint
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_swept_a_day_later(tmp_path):
    dead = tmp_path / ".model.part-123-abc"
    dead.mkdir()
    (dead / "image.onnx").write_bytes(b"half")
    fresh = tmp_path / ".model.part-124-def"
    fresh.mkdir()
    os.utime(dead, (0, 0))
    _write(tmp_path / "model")
    assert not dead.exists()
    assert fresh.exists()
