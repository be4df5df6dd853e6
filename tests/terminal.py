"""A terminal that answers questions as it is told to, around a process of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import termios
import time
from dataclasses import dataclass, field

PIXELS = (8, 16)


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
        read, write = os.pipe()
        child, screen = pty.fork()
        if child == 0:
            try:
                if stdin is not None:
                    os.dup2(read, 0)
                os.close(write)
                self._size(1)
                os.execvpe(argv[0], argv, {**os.environ, "TERM": "xterm-256color", **(environment or {})})  # noqa: S606
            finally:
                os._exit(127)
        os.close(read)
        os.write(write, stdin or b"")
        os.close(write)
        try:
            self._attend(screen)
        finally:
            os.close(screen)
            _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)

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
