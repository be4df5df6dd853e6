"""Ctrl-C reaches the main thread whichever thread got the signal; a second one ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

from clipcli.errors import ExitCode

if TYPE_CHECKING:
    from types import FrameType

_WAKE_UP_SECONDS = 0.1
_SECOND_PRESS_SECONDS = 1.0
"""A Ctrl-C that comes sooner after the first one is the same wish, and the run is being closed already."""


def handle_interrupts() -> None:
    """Raise KeyboardInterrupt in the main thread at the first SIGINT, and end the process at the second.

    The system may give the signal to any thread. Python runs the handler in the main thread, but does not wake it:
    while it waits for the model, such a signal would have no effect. So a thread of its own reads each signal and
    wakes the main thread. A process that was started with SIGINT ignored, as `nohup` and shells do, still ignores it.

    Call it in the main thread.
    """
    can_wake = hasattr(signal, "pthread_kill")  # not on Windows
    if not can_wake or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    raised = threading.Event()

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        if not raised.is_set():
            raised.set()
            raise KeyboardInterrupt

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGURG, lambda _signal, _frame: None)  # its only effect is to end a wait of the main thread
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, raised), daemon=True, name="interrupts").start()


def _watch(reader: int, raised: threading.Event) -> None:
    """Wake the main thread until it has seen the first SIGINT; end the process at a later one."""
    first: float | None = None
    while number := os.read(reader, 1):
        if number[0] != signal.SIGINT:
            continue
        if first is None:
            first = time.monotonic()
            while not raised.wait(_WAKE_UP_SECONDS):
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGURG)
        elif time.monotonic() - first > _SECOND_PRESS_SECONDS:
            os.write(2, b"clipcli: ended at the second Ctrl-C\n")
            os._exit(ExitCode.INTERRUPTED)
