"""Which cluster, and how its nodes are shared out."""

from __future__ import annotations

import pytest
import web_server
from run import run

from clipcli.errors import ClusterError
from clipcli.session.ray.resources import ClusterSpec, Node, WorkerPool, parse_cluster_spec, plan_pool


@pytest.mark.parametrize(
    ("address", "local", "client", "endpoint"),
    [
        ("local", True, False, None),
        ("auto", False, False, None),
        ("head:6379", False, False, ("head", 6379)),
        ("ray://head:10001", False, True, ("head", 10001)),
        ("ray://[fe80::1]:10001", False, True, ("fe80::1", 10001)),
    ],
)
def test_addresses(address, local, client, endpoint):
    spec = parse_cluster_spec(address, None, None)
    assert spec is not None
    assert (spec.is_local, spec.is_client, spec.endpoint) == (local, client, endpoint)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--ray", "raay"), "not the address of a Ray cluster: 'raay'"),
        (("--ray", "ray://head"), "not the address of a Ray cluster"),
        (("--ray", "ray://head:port"), "not the address of a Ray cluster"),
        (("--concurrency", "2"), "--concurrency is for clusters"),
        (("--gpus-per-worker", "0"), "--gpus-per-worker is for clusters"),
        (("--ray", "local", "--concurrency", "0"), "--concurrency"),
    ],
)
def test_what_cannot_be_meant(options, why):
    result = run("embed", "a.png", "-m", "tiny", *options)
    assert (result.code, result.stdout) == (2, "")
    assert why in result.stderr


def test_texts_are_not_for_a_cluster():
    result = run("embed", "--text", "a", "-m", "tiny", "--ray", "local")
    assert (result.code, "--ray is for images only" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("nodes", "spec", "device", "pool"),
    [
        # one worker a node, with all of its cores but no more than help
        ([Node(2)], ClusterSpec("local"), "auto", WorkerPool(1, 1, 2, 0)),
        ([Node(64), Node(64)], ClusterSpec("auto"), "auto", WorkerPool(8, 8, 16, 0)),
        # nodes of different sizes are cut into workers of the smallest one's; one without cores is for the head alone
        ([Node(4), Node(8), Node(0)], ClusterSpec("auto"), "cpu", WorkerPool(3, 3, 4, 0)),
        # as many workers as asked for, with the cores that this leaves each
        ([Node(2)], ClusterSpec("local", concurrency=2), "auto", WorkerPool(2, 2, 1, 0)),
        ([Node(8), Node(8)], ClusterSpec("auto", concurrency=4), "auto", WorkerPool(4, 4, 4, 0)),
        ([Node(2)], ClusterSpec("local", concurrency=3), "auto", WorkerPool(3, 2, 1, 0)),
        # a GPU a worker where there are any; nodes without one are left alone
        ([Node(32, 8), Node(16)], ClusterSpec("auto"), "auto", WorkerPool(8, 8, 4, 1)),
        ([Node(32, 8)], ClusterSpec("auto", concurrency=2), "cuda", WorkerPool(2, 8, 4, 1)),
        ([Node(8, 1)], ClusterSpec("auto", gpus_per_worker=0.5), "auto", WorkerPool(2, 2, 4, 0.5)),
        ([Node(8, 4)], ClusterSpec("auto", gpus_per_worker=0), "auto", WorkerPool(1, 1, 8, 0)),
        ([Node(8, 4)], ClusterSpec("auto"), "cpu", WorkerPool(1, 1, 8, 0)),
        # more GPUs than cores: a core each, as far as they go
        ([Node(4, 8)], ClusterSpec("auto"), "auto", WorkerPool(4, 4, 1, 1)),
    ],
)
def test_nodes_are_shared_out(nodes, spec, device, pool):
    assert plan_pool(nodes, spec, device) == pool


def test_a_cluster_without_room():
    with pytest.raises(ClusterError, match="no node with 1 GPU"):
        plan_pool([Node(8)], ClusterSpec("auto", gpus_per_worker=1), "auto")
    with pytest.raises(ClusterError, match="no node with a core"):
        plan_pool([Node(0)], ClusterSpec("auto"), "auto")


def test_few_images_are_spread_over_the_workers():
    pool = WorkerPool(2, 2, 1, 0)
    assert [pool.images_per_task(images) for images in (1, 8, 100, 10**9)] == [1, 1, 13, 64]
    assert WorkerPool(8, 8, 4, 1).images_per_task(10**9) == 2048


def test_a_cluster_that_is_not_there():
    pytest.importorskip("ray", reason="ray is not installed")
    result = run("embed", "a.png", "-m", "tiny", "--ray", "ray://127.0.0.1:1")
    assert (result.code, result.stdout) == (5, "")
    error, hint = result.stderr.splitlines()
    assert error == "clipcli: error: no Ray cluster at ray://127.0.0.1:1: connection refused"
    assert "ray status" in hint


@pytest.mark.parametrize("address", ["{}", "ray://{}"])
def test_something_else_where_the_cluster_should_be(address):
    pytest.importorskip("ray", reason="ray is not installed")
    with web_server.serve(web_server.Web()) as web:
        result = run("embed", "a.png", "-m", "tiny", "--ray", address.format(web.url.removeprefix("http://")))
    assert (result.code, result.stdout) == (5, "")
    assert "another service answers there (the head's port is usually 6379)" in result.stderr


def test_without_ray(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    result = run("embed", "a.png", "-m", "tiny", "--ray", "local")
    assert (result.code, result.stdout) == (2, "")
    assert "[ray]" in result.stderr
