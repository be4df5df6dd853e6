"""What is said on stderr, and when nothing is drawn there."""

from __future__ import annotations

import io
import sys

import pytest

from clipcli.talk import Talk


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("term", "stream", "quiet", "drawn"),
    [
        ("xterm", Screen, False, True),
        ("dumb", Screen, False, False),
        ("xterm", io.StringIO, False, False),
        ("xterm", Screen, True, False),
    ],
)
def test_a_bar_is_drawn_where_a_line_can_be_redrawn(monkeypatch, term, stream, quiet, drawn):
    bars = []

    class Bar:
        def __init__(self, **given) -> None:
            bars.append(given["total"])

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            """Nothing to close."""

        def update(self, _steps: int) -> None:
            """Nothing to draw."""

    monkeypatch.setattr("tqdm.tqdm", Bar)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys, "stderr", stream())
    with Talk(quiet=quiet).progress(3) as advance:
        advance(1)
    assert bars == ([3] if drawn else [])


def test_words_cannot_steer_the_terminal(capsys):
    Talk().line("a\x1b[31m\u202eb\nc")
    assert capsys.readouterr().err == "clipcli: a\\x1b[31m\\u202eb\nc\n"
