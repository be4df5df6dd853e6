"""What a run says of itself at its end."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from clipcli.runs.embed.run import RunFigures, advice, bottleneck, summary
from clipcli.session.prepare import Timings


def model(**changes: object) -> SimpleNamespace:
    choice = SimpleNamespace(precision=changes.pop("asked", "auto"))
    spec = SimpleNamespace(kind=changes.pop("kind", "tag"))
    return SimpleNamespace(**{"choice": choice, "spec": spec, "precision": "fp32", "runs_on_gpu": False, **changes})


def long(**changes: object) -> RunFigures:
    return RunFigures(
        **{"unit": "image", "done": 9000, "seconds": 300.0, "writing": 1.0, "workers": 2, "models": 2, **changes}
    )


BUSY = Timings(read=1, decode=50, model=550)


def test_lanes_are_counted_one_by_one():
    assert bottleneck(BUSY, long()) == "the model"
    assert bottleneck(Timings(read=1, decode=580, model=200), long()) == "decoding"
    assert bottleneck(Timings(read=1, decode=50, model=200), long()) == "starting up, or waiting for the inputs"
    assert summary(BUSY, long()).endswith("of the work: read 0%, decode 8%, model 91%, write 0%; bottleneck: the model")


def test_a_long_run_hears_of_bf16_where_the_cpu_has_it(monkeypatch):
    monkeypatch.setattr("clipcli.runs.embed.run.cpu_with_bf16", lambda: "Some Xeon")
    said = advice(model(), BUSY, long())
    assert said is not None
    assert "--precision bf16 may be several times as fast" in said


@pytest.mark.parametrize(
    ("changes", "run", "timings", "cpu"),
    [
        ({}, long(seconds=20.0), BUSY, "Some Xeon"),
        ({}, long(), Timings(read=1, decode=580, model=200), "Some Xeon"),
        ({}, long(), BUSY, ""),
        ({"asked": "fp32"}, long(), BUSY, "Some Xeon"),
        ({"precision": "bf16"}, long(), BUSY, "Some Xeon"),
        ({"kind": "bundle"}, long(), BUSY, "Some Xeon"),
        ({"runs_on_gpu": True}, long(), BUSY, "Some Xeon"),
    ],
)
def test_who_has_no_use_for_it_does_not(monkeypatch, changes, run, timings, cpu):
    monkeypatch.setattr("clipcli.runs.embed.run.cpu_with_bf16", lambda: cpu)
    assert advice(model(**changes), timings, run) is None
