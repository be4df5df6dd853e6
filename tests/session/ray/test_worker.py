"""What travels between driver and workers, and what a worker makes of it, without a cluster."""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
from run import run

from clipcli.core.console import Console
from clipcli.errors import ClusterError, ImageError
from clipcli.inputs.collect import ImageRef, collect
from clipcli.models.spec import Choice
from clipcli.session.pipeline import Embedded
from clipcli.session.prepare import SessionOptions
from clipcli.session.ray.cluster import ClusterSession, ray_messages
from clipcli.session.ray.resources import WorkerPool
from clipcli.session.ray.worker import (
    Worker,
    WorkerSpec,
    WorkerStats,
    check_alike,
    describe,
    ref_tables,
    refs_of,
    result_table,
    results_of,
    stats_of,
)

pytest.importorskip("pyarrow", reason="pyarrow is not installed")
ASIDE = WorkerStats(1.0, 2.0, 3.0, 4, 5, "on a node")


def test_references_travel_whatever_their_names():
    refs = [ImageRef(f"{n}\udcff\n.jpg", f"{n}\udcff\n.jpg") for n in range(5)] + [ImageRef("a", "b", "why not")]
    stream = iter(refs)
    tables = ref_tables(stream, 2, 2)
    assert [table.num_rows for table in tables] == [2, 2]
    tables += ref_tables(stream, 2, 2)
    assert [ref for table in tables for ref in refs_of(table)] == refs
    assert ref_tables(stream, 2, 2) == []


def test_results_travel_with_their_reasons():
    refs = [ImageRef(name, name) for name in "abc"]
    vectors = np.arange(8, dtype=np.float32).reshape(2, 4)
    found = [
        Embedded(refs[0], vectors[0], None, "d0"),
        Embedded(refs[1], None, ImageError("decode", "not \udcff an image")),
        Embedded(refs[2], vectors[1], None, "d2"),
    ]
    (table,) = ref_tables(refs, 3, 1)
    travelled = result_table(table.column("ref"), found, 4, ASIDE)
    assert stats_of(travelled) == [ASIDE]
    back = list(results_of(travelled))
    assert [one.ref for one in back] == refs
    assert [one.digest for one in back] == ["d0", "", "d2"]
    assert back[1].vector is None
    assert back[1].error is not None
    assert (back[1].error.stage, back[1].error.reason) == ("decode", "not \\udcff an image")
    np.testing.assert_array_equal([back[0].vector, back[2].vector], vectors)


@pytest.fixture
def order(random_model: str) -> WorkerSpec:
    choice = Choice(random_model, device="cpu", precision="fp32", engine="openclip")
    return WorkerSpec(choice, SessionOptions(use_cache=False, workers=1), 8, ".")


class Fake:
    """A cluster of one worker in this process."""

    def __init__(self) -> None:
        self.tables: list[int] = []

    def run(self, tables, order, expected, pool):
        worker = Worker(order, expected, lambda: "on here")
        for table in tables:
            self.tables.append(table.num_rows)
            yield pickle.loads(pickle.dumps(worker(table)))


def test_a_worker_gives_what_a_session_gives(order: WorkerSpec, random_model: str, folder, tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"nothing")
    plain = run("embed", folder, tmp_path, "-m", random_model, "--engine", "openclip", "--precision", "fp32")
    cluster, console = Fake(), Console()
    session = ClusterSession(cluster, order, WorkerPool(1, 1, 1, 0), describe(order), console)
    found = list(session.embed_images(collect([str(folder), str(tmp_path)])))
    assert [one.ref.name for one in found] == [row["image"] for row in plain.rows]
    assert [one.error.reason for one in found if one.error] == [
        row["error"]["reason"] for row in plain.rows if "error" in row
    ]
    good = [np.float32(row["embedding"]) for row in plain.rows if "error" not in row]
    np.testing.assert_allclose([one.vector for one in found if one.vector is not None], good, atol=1e-6)
    assert cluster.tables == [2, 2, 2, 2, 1]
    assert (session.timings.encoded, session.timings.model > 0) == (8, True)
    assert capsys.readouterr().err.count("a worker died and was restarted (on here)") == 1


def test_nodes_that_differ_are_refused(order: WorkerSpec):
    found = describe(order)
    check_alike(found, found)
    for other, words in (
        (replace(found, precision="bf16"), "precision: fp32 here, bf16 there"),
        (replace(found, version="9.9"), "the nodes differ in clipcli"),
        (replace(found, info=replace(found.info, fingerprint="0123")), f"{found.info.fingerprint} here, 0123 there"),
    ):
        with pytest.raises(ClusterError, match=words):
            check_alike(found, other)


def test_errors_keep_their_hints_on_the_way():
    error = pickle.loads(pickle.dumps(ClusterError("what", hint="do this")))
    assert (error.message, error.hint, error.exit_code) == ("what", "do this", 5)


def test_what_ray_prints_is_no_data(capsys):
    with ray_messages(Console(verbose=True)):
        sys.stdout.buffer.write(json.dumps({"a": 1}).encode())
        sys.stdout.write("\x1b[33m(raylet)\x1b[0m a node is low on memory\n")
    said = capsys.readouterr()
    assert said.out == '{"a": 1}'
    assert said.err.splitlines() == [
        "clipcli: (raylet) a node is low on memory",
        "clipcli: a node ran low on memory, and Ray stopped a worker there; it is restarted",
    ]
