"""Ctrl-C, SIGTERM and SIGHUP reach the main thread whichever thread got the signal; a second one ends the process."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

_SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGHUP")
_WAKE_UP_SECONDS = 0.1
_SECOND_PRESS_SECONDS = 1.0
"""A Ctrl-C that comes sooner after the first one is the same wish, and the run is being closed already."""


_first_signals: list[int] = []
"""The signal that ends the run, once there was one."""


def handle_interrupts() -> None:
    """Raise KeyboardInterrupt in the main thread at the first signal, and end the process at the second.

    So a run that is ended by a time limit, a service manager or a closed terminal removes its temporary files too.

    The system may give the signal to any thread. Python runs the handler in the main thread, but does not wake it:
    while it waits for the model, such a signal would have no effect. So a thread of its own reads each signal and
    wakes the main thread. A process that was started with a signal ignored, as `nohup` and shells do, still ignores it.

    Call it in the main thread.
    """
    if not hasattr(signal, "pthread_kill"):  # Windows: the main thread cannot be woken
        return
    defaults = (signal.default_int_handler, signal.SIG_DFL)
    numbers = [number for name in _SIGNALS if signal.getsignal(number := getattr(signal, name)) in defaults]
    if not numbers:
        return
    raised = threading.Event()

    def interrupt(number: int, _frame: FrameType | None) -> None:
        if not raised.is_set():
            _first_signals.append(number)
            raised.set()
            raise KeyboardInterrupt

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in numbers:
        signal.signal(number, interrupt)
    signal.signal(signal.SIGURG, lambda _signal, _frame: None)  # its only effect is to end a wait of the main thread
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, raised, frozenset(numbers)), daemon=True, name="interrupts").start()


def interruption() -> str:
    """Return what ended the run, for a message."""
    number = _first_signals[0] if _first_signals else signal.SIGINT
    return "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"


def end_by_signal() -> None:
    """End the process by the signal that ended the run, as its parent expects; return if that was Ctrl-C or none."""
    if _first_signals and (number := _first_signals[0]) != signal.SIGINT:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _watch(reader: int, raised: threading.Event, numbers: frozenset[int]) -> None:
    """Wake the main thread until it has seen the first signal; end the process at a later one."""
    first: float | None = None
    while number := os.read(reader, 1):
        if number[0] not in numbers:
            continue
        if first is None:
            first = time.monotonic()
            while not raised.wait(_WAKE_UP_SECONDS):
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGURG)
        elif time.monotonic() - first > _SECOND_PRESS_SECONDS:
            words = "Ctrl-C" if number[0] == signal.SIGINT else signal.Signals(number[0]).name
            with suppress(OSError):
                os.write(2, f"clipcli: ended at the second {words}\n".encode())
            os._exit(128 + number[0])
