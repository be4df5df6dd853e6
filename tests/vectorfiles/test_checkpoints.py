"""Parts on disk, and what becomes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from filelock import FileLock

from clipcli.errors import OutputError, UsageError, VectorsError
from clipcli.vectorfiles import Failure, Shard, VectorsInfo, WritePlan, create_vectors, open_vectors
from clipcli.vectorfiles.checkpoints import Collector, Done, open_parts, parts_path, write_chunk

INFO = VectorsInfo("image", "m", "0123456789ab", "fp32")


def chunk_of(start: int, *, bad: int | None = None):
    collector = Collector(4)
    for position in range(start, start + 3):
        if position == bad:
            collector.add("", None, position, Failure(f"{position}.png", "decode", "no image", position))
        else:
            collector.add(f"{position}.png", np.eye(4, dtype=np.float32)[position % 4], position)
    assert len(collector) == 3
    return collector.take()


def test_parts_survive_and_are_continued(tmp_path):
    out = tmp_path / "out.npy"
    with open_parts(out, "float32", resume=False) as parts:
        parts.begin(INFO, 4)
        parts.add(chunk_of(0, bad=1))
        parts.add(chunk_of(3))
    (parts.folder / ".000002.safetensors.abc.part").write_bytes(b"cut off")
    with open_parts(out, "float32", resume=True) as parts:
        parts.begin(INFO, 4)
        assert list(parts.inputs()) == [Done(place, f"{place}.png", failed=place == 1) for place in range(6)]
        assert parts.rows() == 5
        parts.add(chunk_of(6))
        assert [file.name for file in parts.files()] == [f"00000{number}.safetensors" for number in range(3)]
        assert len(list(parts.folder.iterdir())) == 4
        with create_vectors("jsonl", WritePlan(out.with_suffix(".jsonl"), INFO, parts.rows(), 4)) as writer:
            for chunk in parts.chunks():
                write_chunk(writer, chunk)
        parts.remove()
    assert not parts_path(out).exists()
    written = out.with_suffix(".jsonl").read_text().splitlines()
    assert ["error" in line for line in written] == [False, True, *[False] * 7]
    assert open_vectors(out.with_suffix(".jsonl")).positions is None


def test_without_resume_old_parts_go(tmp_path):
    with open_parts(tmp_path / "out.npy", "float32", resume=False) as parts:
        parts.begin(INFO, 4)
        parts.add(chunk_of(0))
    with open_parts(tmp_path / "out.npy", "float32", resume=False) as parts:
        assert parts.files() == []


def test_a_part_of_failures_alone(tmp_path):
    collector = Collector(4)
    collector.add("a", None, 0, Failure("a", "read", "gone", 0))
    with open_parts(tmp_path / "out.npy", "float32", resume=False) as parts:
        parts.begin(INFO, 4)
        parts.add(collector.take())
        assert (parts.rows(), list(parts.inputs())) == (0, [Done(0, "a", failed=True)])


def test_parts_of_another_model_are_not_continued(tmp_path):
    with open_parts(tmp_path / "out.npy", "float32", resume=False) as parts:
        parts.begin(INFO, 4)
        parts.add(chunk_of(0))
    with (
        open_parts(tmp_path / "out.npy", "float32", resume=True) as parts,
        pytest.raises(UsageError, match="fingerprint 0123456789ab, this run has ffffffffffff"),
    ):
        parts.begin(VectorsInfo("image", "m", "f" * 12, "fp32"), 4)


def test_parts_of_another_type_are_not_continued(tmp_path):
    with open_parts(tmp_path / "out.npy", "float16", resume=False) as parts:
        parts.begin(INFO, 4)
        parts.add(chunk_of(0))
    with (
        open_parts(tmp_path / "out.npy", "float32", resume=True) as parts,
        pytest.raises(UsageError, match="dtype float16, this run has float32"),
    ):
        parts.begin(INFO, 4)


def test_parts_of_another_shard_are_not_continued(tmp_path):
    with open_parts(tmp_path / "out.npy", "float32", resume=False) as parts:
        parts.begin(replace(INFO, shard=Shard(1, 3, 0, "")), 4)
        parts.add(chunk_of(0))
    with (
        open_parts(tmp_path / "out.npy", "float32", resume=True) as parts,
        pytest.raises(UsageError, match="shard 1/3, this run has 2/3"),
    ):
        parts.begin(replace(INFO, shard=Shard(2, 3, 0, "")), 4)


def test_a_damaged_part_says_how_to_go_on(tmp_path):
    with open_parts(tmp_path / "out.npy", "float32", resume=False) as parts:
        parts.begin(INFO, 4)
        parts.add(chunk_of(0))
        parts.files()[0].write_bytes(b"cut")
    with open_parts(tmp_path / "out.npy", "float32", resume=True) as parts, pytest.raises(VectorsError) as caught:
        parts.begin(INFO, 4)
    assert caught.value.hint == "leave out --resume to start over"


def test_what_a_kill_left_half_written_beside_the_output_goes(tmp_path):
    for name in (".out.npy.abcd_123.part", ".out.npy.json.abcd_123.part", ".out.npy.errors.jsonl.abcd_123.part"):
        (tmp_path / name).write_bytes(b"cut off")
    others = [".out.npy2.npy.abcd_123.part", ".xout.npy.abcd_123.part", ".out.npy.json.json.abcd_123.part"]
    for name in others:
        (tmp_path / name).write_bytes(b"another process is writing this")
    with open_parts(tmp_path / "out.npy", "float32", resume=True):
        assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*others, "out.npy.parts"])


def test_a_run_that_keeps_nothing_leaves_no_folder(tmp_path):
    with pytest.raises(LookupError), open_parts(tmp_path / "out.npy", "float32", resume=False):
        raise LookupError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_the_output_is_known_before_the_work(tmp_path):
    (tmp_path / "out.npy").mkdir()
    with (
        pytest.raises(OutputError, match="is a folder"),
        open_parts(tmp_path / "out.npy", "float32", resume=False),
    ):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["out.npy"]


def test_one_writer_at_a_time(tmp_path):
    parts_path(tmp_path / "out.npy").mkdir()
    lock = FileLock(parts_path(tmp_path / "out.npy") / "lock")
    with (
        lock,
        pytest.raises(OutputError, match="another clipcli"),
        open_parts(tmp_path / "out.npy", "float32", resume=True),
    ):
        pass


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError) as caught, open_parts(tmp_path / "no" / "out.npy", "float32", resume=False):
        pass
    assert caught.value.hint == "make the folder first"
