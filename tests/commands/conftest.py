"""What tests of several commands share."""

from __future__ import annotations

from contextlib import contextmanager

import pytest


@pytest.fixture
def bars(monkeypatch) -> list[list]:
    """The steps of a run: what is done, how much there is of it, and how much was said to be done."""
    steps = []

    @contextmanager
    def progress(_console, total, unit="image", *, doing=""):
        step = [doing, total, 0]
        steps.append(step)

        def advance(count):
            step[2] += count

        yield advance

    monkeypatch.setattr("clipcli.core.console.Console.progress", progress)
    return steps
