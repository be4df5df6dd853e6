"""A terminal that answers questions as it is told to, around a process of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass, field

PIXELS = (8, 16)
_IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(1, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Makes stdout the terminal that controls the process, and becomes the program."""


@dataclass
class Terminal:
    """80 columns and 40 lines, unless `cells` says otherwise; `answers` maps what a program asks to what it is told."""

    answers: dict[bytes, bytes] = field(default_factory=dict)
    pixels: bool = True
    cells: tuple[int, int] = (80, 40)
    """Columns and lines."""
    seen: bytes = b""

    def run(self, argv: list[str], *, stdin: bytes | None = None, environment: dict[str, str] | None = None) -> int:
        """Run a program to its end, at most two minutes; its stdin is the terminal too, or a pipe with `stdin`."""
        screen, terminal = pty.openpty()
        self._size(terminal)
        # Not pty.fork(): libraries that other tests loaded crashed the child, since they have threads.
        process = subprocess.Popen(
            [sys.executable, "-c", _IN_TERMINAL, *argv],
            stdin=terminal if stdin is None else subprocess.PIPE, stdout=terminal, stderr=terminal,
            start_new_session=True, env={**os.environ, "TERM": "xterm-256color", **(environment or {})},
        )  # fmt: skip
        os.close(terminal)
        try:
            if process.stdin is not None:
                process.stdin.write(stdin or b"")
                process.stdin.close()
            self._attend(screen)
        finally:
            os.close(screen)
            code = process.wait()
        return code

    def _size(self, fd: int) -> None:
        (columns, lines), (width, height) = self.cells, PIXELS if self.pixels else (0, 0)
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, columns * width, lines * height))

    def _attend(self, screen: int) -> None:
        waiting, end = dict(self.answers), time.monotonic() + 120
        while time.monotonic() < end:
            if not select.select([screen], [], [], 1)[0]:
                continue
            data = b""
            with contextlib.suppress(OSError):  # Linux says so when the other side is closed
                data = os.read(screen, 65536)
            if not data:
                return
            self.seen += data
            for question in [question for question in waiting if question in self.seen]:
                os.write(screen, waiting.pop(question))
