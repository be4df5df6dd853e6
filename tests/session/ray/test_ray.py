"""`embed --ray` a real Ray cluster of two nodes on this machine; slow, and only where ray is installed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pictures
import pytest
from run import ROOT, Result, command, run, run_process

from clipcli.models import spec
from clipcli.vectorfiles import open_vectors

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (spec.TINY_FOLDER / spec.MANIFEST).is_file(), reason="the embedded model is not built"),
]
MODEL = ("-m", "tiny", "--no-cache")
COUNT = 300
_OFF = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures large enough that decoding takes its time; each fiftieth is none."""
    place = tmp_path_factory.mktemp("photos")
    for number in range(COUNT):
        if number % 50 == 7:
            (place / f"{number:03}.jpg").write_bytes(b"no picture")
        else:
            colour = ("red", "blue", "green", "yellow")[number % 4]
            pictures.disc(colour, (900 + number, 700)).save(place / f"{number:03}.jpg")
    return place


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head with a core; tests add nodes."""
    pytest.importorskip("ray", reason="ray is not installed")
    for name, value in _OFF.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    made.shutdown()


@pytest.fixture
def whole(photos: Path, tmp_path: Path) -> Path:
    """What one process makes of the photos."""
    assert run("embed", photos, *MODEL, "-o", tmp_path / "whole.parquet").code == 3
    return tmp_path / "whole.parquet"


def assert_same(one: Path, other: Path) -> None:
    """Row for row."""
    ours, theirs = open_vectors(one), open_vectors(other)
    assert list(ours.names) == list(theirs.names)
    assert ours.info == theirs.info
    np.testing.assert_allclose(ours.matrix(), theirs.matrix(), atol=1e-5)
    assert ours.failures == theirs.failures
    assert len(ours.failures) == COUNT // 50


class Running:
    """A run whose rows are read as they come."""

    def __init__(self, *arguments: str | Path) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._process = subprocess.Popen(command("embed", *arguments), stdout=subprocess.PIPE, stderr=self._said)
        assert self._process.stdout
        self._lines = self._process.stdout
        self.rows = [json.loads(self._lines.readline())]

    def end(self) -> Result:
        self.rows += [json.loads(line) for line in self._lines]
        code = self._process.wait()
        self._said.seek(0)
        return Result("", self._said.read().decode(), code)

    def assert_rows_of(self, whole: Path) -> None:
        expected = open_vectors(whole)
        assert [row["image"] for row in self.rows if "error" not in row] == list(expected.names)
        found = np.float32([row["embedding"] for row in self.rows if "error" not in row])
        np.testing.assert_allclose(found, expected.matrix(), atol=1e-5)
        assert len(self.rows) == COUNT


def a_worker_at_work() -> int:
    """A process that is computing, as its title says; an idle one has nothing that would have to be done again."""
    for _ in range(100_000):
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if re.match(rb"ray::MapWorker.*\.submit", entry.read_bytes()):
                    return int(entry.parent.name)
    raise AssertionError("no worker is at work")


def test_one_process_shards_and_two_workers_give_the_same(photos: Path, whole: Path, tmp_path: Path):
    pytest.importorskip("ray", reason="ray is not installed")
    parts = [tmp_path / f"{index}.npy" for index in (1, 2, 3)]
    for index, part in enumerate(parts, 1):
        code = run("embed", photos, *MODEL, "-o", part, "--shard", f"{index}/3").code
        assert code in {0, 3}  # the folder's name decides which share has the failures
    assert run("merge", *parts, "-o", tmp_path / "merged.parquet").code == 0
    options = ("--ray", "local", "--concurrency", "2", "-o", tmp_path / "ray.parquet")
    result = run_process("embed", photos, *MODEL, *options, **_OFF)
    assert (result.code, result.stdout) == (3, "")
    assert "6 of 300 images could not be used" in result.stderr
    assert "294 images in " in result.stderr
    said = [
        line for line in result.stderr.splitlines() if "waiting for the first worker" not in line
    ]  # on a busy machine
    assert len(said) == 9, result.stderr
    assert_same(tmp_path / "ray.parquet", whole)
    assert_same(tmp_path / "merged.parquet", whole)


def test_a_worker_that_is_killed(cluster: Any, photos: Path, whole: Path):
    cluster.add_node(num_cpus=1)
    running = Running(photos, *MODEL, "--ray", cluster.address)
    os.kill(a_worker_at_work(), signal.SIGKILL)
    result = running.end()
    assert result.code == 3
    running.assert_rows_of(whole)
    assert "a worker died and was restarted" in result.stderr


def test_a_node_that_is_lost(cluster: Any, photos: Path, whole: Path):
    node = cluster.add_node(num_cpus=1)
    running = Running(photos, *MODEL, "--ray", cluster.address)
    cluster.remove_node(node, allow_graceful=False)
    result = running.end()
    assert result.code == 3, result.stderr
    running.assert_rows_of(whole)


def test_a_stopped_run_goes_on(cluster: Any, photos: Path, whole: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("clipcli.runs.embed.run.PART_INPUTS", 50)
    options = ("-m", "tiny", "--no-cache", "--ray", cluster.address, "-o", tmp_path / "out.parquet")
    with monkeypatch.context() as patch:
        patch.setattr("clipcli.runs.embed.run.EmbedRun._assemble", _stop)
        assert run("embed", photos, *options).code == 130
    resumed = run("embed", photos, *options, "--resume")
    assert resumed.code == 3
    assert_same(tmp_path / "out.parquet", whole)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_from_outside_through_ray_client(photos: Path, whole: Path, tmp_path: Path, monkeypatch):
    ray = pytest.importorskip("ray", reason="ray is not installed")
    for name, value in (*_OFF.items(), ("PYTHONPATH", str(ROOT))):
        monkeypatch.setenv(name, value)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"num_cpus": 2, "include_dashboard": False, "ray_client_server_port": port}
    made = __import__("ray.cluster_utils", fromlist=["Cluster"]).Cluster(initialize_head=True, head_node_args=settings)
    try:
        address = f"ray://127.0.0.1:{port}"
        result = run_process("embed", photos, *MODEL, "--ray", address, "-o", tmp_path / "out.parquet")
        assert (result.code, result.stdout) == (3, ""), result.stderr
        assert_same(tmp_path / "out.parquet", whole)
        unknown = run_process("embed", photos, "-m", "no-such-model", "--ray", address)
        assert (unknown.code, "no model 'no-such-model'" in unknown.stderr) == (5, True)
    finally:
        made.shutdown()
    assert not ray.is_initialized()


def test_two_runs_into_one_output(photos: Path, tmp_path: Path):
    pytest.importorskip("ray", reason="ray is not installed")
    from clipcli.vectorfiles.checkpoints import open_parts

    with open_parts(tmp_path / "out.npy", "float32", resume=False):
        result = run_process("embed", photos, *MODEL, "--ray", "local", "-o", tmp_path / "out.npy", **_OFF)
    assert (result.code, result.stdout) == (6, "")
    assert "another clipcli is writing" in result.stderr
