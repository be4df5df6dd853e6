"""Show thumbnails in the terminal: with Sixel or Kitty graphics if it supports them, else with half-blocks.

textual-image queries the terminal and draws. Each query waits a tenth of a second, so a terminal that does not answer
causes little delay. The thumbnails of a line are drawn as one picture, with captions below.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, TextIO

from clipcli.core.console import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL import Image as PillowImage
    from rich.console import Console

SLOT_PIXELS = 288
"""Width of a thumbnail in pixels: 16 per column; most terminals have 8 to 12."""
_SLOT_COLUMNS = 18
_GAP_COLUMNS = 2
_SHAPE = 0.8
"""Ratio of a thumbnail's height to its width; most photos are wider than high."""


@dataclass(frozen=True)
class Thumbnail:
    """A picture of at most SLOT_PIXELS in width and height, or None, and the captions below it."""

    picture: PillowImage.Image | None
    captions: tuple[str, ...]


def why_none() -> str | None:
    """Return why no picture can be shown, or None."""
    if sys.__stdout__ is None or sys.stdout is not sys.__stdout__ or not sys.__stdout__.isatty():
        return "stdout is not a terminal"
    columns, lines = os.get_terminal_size(sys.__stdout__.fileno())
    if columns < _SLOT_COLUMNS or lines < 1:
        return f"the terminal has {columns} × {lines} cells (stty cols 80 rows 24 sets others)"
    if os.environ.get("TERM", "") in {"", "dumb"}:
        return "the terminal is a plain one (TERM)"
    if os.environ.get("NO_COLOR"):
        return "NO_COLOR is set"
    return None


def draw(title: str, thumbnails: Sequence[Thumbnail]) -> None:
    """Write a heading and lines of thumbnails to stdout, which is a terminal."""
    from rich.console import Console
    from rich.text import Text

    width = shutil.get_terminal_size().columns
    slots = max(1, (width + _GAP_COLUMNS) // (_SLOT_COLUMNS + _GAP_COLUMNS))
    with _answers():
        from textual_image.renderable import HalfcellImage, Image, TGPImage, UnicodeImage

        drawn = HalfcellImage if Image is UnicodeImage else Image
        # Kitty's placeholders encode the picture's number in their colour, which must not be changed.
        console = Console(
            file=sys.stdout, width=width, highlight=False, color_system="truecolor" if drawn is TGPImage else "auto"
        )
        console.print(Text("\n" + printable(title), style="bold"))
        for start in range(0, len(thumbnails), slots):
            line = thumbnails[start : start + slots]
            columns = min(len(line) * (_SLOT_COLUMNS + _GAP_COLUMNS) - _GAP_COLUMNS, width)
            console.print(drawn(_strip(line), width=columns, height="auto"))
            _caption(console, line)


def _strip(line: Sequence[Thumbnail]) -> PillowImage.Image:
    """Return one picture with all thumbnails of a line."""
    from PIL import Image

    column = SLOT_PIXELS // _SLOT_COLUMNS
    step, height = SLOT_PIXELS + _GAP_COLUMNS * column, int(SLOT_PIXELS * _SHAPE)
    strip = Image.new("RGB", (len(line) * step - _GAP_COLUMNS * column, height))
    for slot, thumbnail in enumerate(line):
        if thumbnail.picture is not None:
            picture = thumbnail.picture.copy()
            picture.thumbnail((SLOT_PIXELS, height))
            strip.paste(picture, (slot * step + (SLOT_PIXELS - picture.width) // 2, (height - picture.height) // 2))
    return strip


def _caption(console: Console, line: Sequence[Thumbnail]) -> None:
    from rich.text import Text

    for words in zip_longest(*(thumbnail.captions for thumbnail in line), fillvalue=""):
        text = Text(no_wrap=True, end="")
        for word in words:
            cell = Text(printable(word))
            cell.truncate(_SLOT_COLUMNS, overflow="ellipsis", pad=True)
            text.append_text(cell).append(" " * _GAP_COLUMNS)
        text.rstrip()
        console.print(text, overflow="crop")


@contextmanager
def _answers() -> Iterator[None]:
    """Read the terminal's answers from the terminal, even if stdin is a list of images.

    A background process makes no queries, since reading from the terminal would stop it.
    """
    if sys.platform == "win32":
        yield
        return
    stdin, terminal = sys.__stdin__, None
    try:
        foreground = os.tcgetpgrp(sys.stdout.fileno()) == os.getpgrp()
        terminal = open("/dev/tty", encoding="utf-8") if foreground else None  # noqa: PTH123, SIM115 - closed below
    except OSError:
        terminal = None
    _set_stdin(terminal)
    try:
        yield
    finally:
        _set_stdin(stdin)
        if terminal is not None:
            terminal.close()


def _set_stdin(stream: TextIO | None) -> None:
    """Set the stream from which textual-image reads answers; None disables queries."""
    sys.__stdin__ = stream  # type: ignore[assignment,misc]
