from __future__ import annotations

import sys

import pytest

from clipcli.core.console import Console
from clipcli.engines import torch_search
from clipcli.runs.rank import finder
from clipcli.runs.rank.finder import FEWEST_QUERIES, WORTHWHILE, accelerated

MUCH = WORTHWHILE // (512 * FEWEST_QUERIES)


@pytest.fixture
def machine(monkeypatch):
    """A machine with CUDA, as far as the choice can tell."""
    monkeypatch.setattr(finder, "accelerator", lambda: "cuda")
    monkeypatch.setattr(torch_search, "resolve_device", lambda asked: "cuda" if asked == "auto" else asked)


@pytest.mark.parametrize(
    ("device", "queries", "rows", "taken"),
    [
        ("auto", FEWEST_QUERIES, MUCH, "cuda"),
        ("auto", FEWEST_QUERIES, MUCH - 1, None),
        ("auto", FEWEST_QUERIES - 1, 100 * MUCH, None),
        ("auto", 1, 10**9, None),
        ("cpu", 10**6, 10**9, None),
        ("cuda:0", FEWEST_QUERIES, 10, "cuda:0"),
        ("mps", FEWEST_QUERIES, 10, "mps"),
        ("cuda", FEWEST_QUERIES - 1, 10**9, None),
    ],
)
def test_much_work_goes_to_the_device(machine, device, queries, rows, taken):
    kernel = accelerated(device, queries, rows, 512, Console())
    assert (kernel and kernel.device) == taken


def test_without_an_accelerator_torch_is_not_asked(monkeypatch):
    monkeypatch.setattr(finder, "accelerator", lambda: None)
    monkeypatch.setitem(sys.modules, "clipcli.engines.torch_search", None)
    assert accelerated("auto", 10**6, 10**6, 512, Console()) is None


def test_a_driver_without_a_device_for_torch_leaves_the_cpu(machine, monkeypatch):
    monkeypatch.setattr(torch_search, "resolve_device", lambda _asked: "cpu")
    assert accelerated("auto", 10**6, 10**6, 512, Console()) is None
