"""Processes that open and compare pictures, because threads of one Python take turns where pictures are small.

Each is a child with pipes of its own: it ends when this process ends, and it imports no model. A worker that is lost
costs its work, which is then done here.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from clipcli.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Items = Sequence[tuple[int, ...]]

_CODE: Final = "import sys; sys.path[:] = sys.argv[1:]; from clipcli.runs.dedupe.workers import serve; serve()"
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_PATIENCE_S: Final = 5


class WorkerLostError(Exception):
    """A worker that did not answer."""


@dataclass
class ComparisonWorkers:
    """A few processes with one reader of pictures each."""

    count: int
    reader: Callable[..., object]
    """Makes the reader in a worker; pickled, so a class of a module."""
    settings: Mapping[str, object]
    """What it is made of."""
    _idle: queue.SimpleQueue[subprocess.Popen[bytes]] = field(default_factory=queue.SimpleQueue)
    _all: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> bool:
        """Start the processes; False where this Python cannot. Raises OSError where there may be no more."""
        if not sys.executable:
            return False
        for _ in range(self.count):
            process = _started()
            self._all.append(process)
            self._idle.put(process)
            _send(process.stdin, (self.reader, dict(self.settings)))
        return True

    def call(
        self, method: str, items: Items, known: tuple[Mapping[int, object], ...]
    ) -> tuple[list[Any], dict[int, ImageError]]:
        """Return what a method of the reader answers to each item, and which pictures could not be read.

        Args:
            method: the name of the method.
            items: arguments of each call.
            known: what the reader must know of the pictures among them: the arguments of its `learn`.

        Raises:
            WorkerLostError: the worker has ended.
        """
        process = self._idle.get()
        try:
            _send(process.stdin, (method, items, known))
            results, faults = pickle.load(_pipe(process.stdout))  # noqa: S301 - of our own child
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise WorkerLostError from error
        finally:
            self._idle.put(process)
        return results, {number: ImageError(*fault) for number, fault in faults.items()}

    def close(self) -> None:
        """End the processes."""
        for process in self._all:
            with contextlib.suppress(OSError):
                _pipe(process.stdin).close()
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _pipe(process.stdout).close()
        self._all.clear()


def _started() -> subprocess.Popen[bytes]:
    """Return a child that imports from where this process does, and from no folder that it happens to run in."""
    utf8 = ["-X", "utf8"] if sys.flags.utf8_mode else []
    paths = [path for path in sys.path if path and os.path.isabs(path)]  # noqa: PTH117 - strings
    return subprocess.Popen(
        [sys.executable, "-I", *utf8, "-c", _CODE, *paths],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **_ONE_THREAD},
    )


def serve() -> None:
    """Answer calls from stdin on stdout until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, and that ends the pipe
    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not print into the answers
    with contextlib.suppress(EOFError, BrokenPipeError):
        make, settings = pickle.load(calls)  # noqa: S301 - of our own parent
        reader = make(**settings)
        while True:
            method, items, known = pickle.load(calls)  # noqa: S301
            reader.learn(*known)
            results = [getattr(reader, method)(*item) for item in items]
            faults = {number: (error.stage, error.reason) for number, error in reader.errors.items()}
            reader.errors.clear()
            _send(answers, (results, faults))
    os._exit(0)


def _send(pipe: IO[bytes] | None, message: object) -> None:
    pickle.dump(message, _pipe(pipe), protocol=pickle.HIGHEST_PROTOCOL)
    _pipe(pipe).flush()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise EOFError
    return pipe
