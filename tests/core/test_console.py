"""What a person sees on stderr: lines, and bars that step aside for them."""

from __future__ import annotations

import io
import sys

import pytest

from clipcli.core import console
from clipcli.output.targets import Target


class Screen(io.TextIOWrapper):
    """A terminal that remembers what it was sent."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        """What stands in each line that was ended: carriage returns go back to its beginning."""
        sent = self.buffer.getvalue().decode("utf-8")
        return [line.rsplit("\r", maxsplit=1)[-1].rstrip() for line in sent.split("\n")[:-1]]


def watch(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """In the test itself: between fixtures and tests, pytest puts streams of its own in place."""
    shown = Screen()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(sys, "stdout", shown)
    return shown


def test_lines_and_rows_stand_above_a_bar_that_shows(monkeypatch: pytest.MonkeyPatch):
    screen = watch(monkeypatch)
    monkeypatch.setattr(console, "_DELAY", 0.0)
    voice, rows = console.Console(), Target("standard output", screen.buffer)
    monkeypatch.setattr(Target, "is_terminal", True)
    with voice.progress(3) as advance:
        with voice.progress(2, "label"):
            pass
        voice.line("a.jpg: no such file")
        rows.write(b"b.jpg\tcat\n")
        advance(3)
    assert {"clipcli: a.jpg: no such file", "b.jpg\tcat"} <= set(screen.lines)
    assert screen.buffer.getvalue().count(b"0/3") >= 3  # before the line, between both and behind the row


def test_a_bar_that_never_showed_leaves_nothing(monkeypatch: pytest.MonkeyPatch):
    screen = watch(monkeypatch)
    voice = console.Console()
    with voice.progress(3) as advance:
        voice.line("a.jpg: no such file")
        advance(3)
    assert screen.buffer.getvalue() == b"clipcli: a.jpg: no such file\n"


def test_waits_are_announced_to_who_watches(monkeypatch: pytest.MonkeyPatch):
    screen = watch(monkeypatch)
    console.Console().meanwhile("loading")
    console.Console(quiet=True).meanwhile("loading quietly")
    assert screen.lines == ["clipcli: loading"]
    piped = io.StringIO()
    monkeypatch.setattr(sys, "stderr", piped)
    console.Console().meanwhile("loading")
    assert piped.getvalue() == ""
    console.Console(verbose=True).meanwhile("loading")
    assert piped.getvalue() == "clipcli: loading\n"


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
    with console.Console(quiet=quiet).progress(3) as advance:
        advance(1)
    assert bars == ([3] if drawn else [])


def test_words_cannot_steer_the_terminal(capsys):
    console.Console().line("a\x1b[31m\u202eb\nc")
    assert capsys.readouterr().err == "clipcli: a\\x1b[31m\\u202eb\nc\n"
