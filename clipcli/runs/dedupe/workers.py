"""Processes that open and compare pictures, because threads of one Python take turns where pictures are small.

Each is a child with pipes of its own: it ends when this process ends, and it imports no model. A worker that is lost
costs its work, which is then done here.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from clipcli.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Items = Sequence[tuple[int, ...]]
    Answer = tuple[list[Any], dict[int, ImageError]]
    """What a method answers to each item, and which pictures could not be read."""

_CODE: Final = "import sys; sys.path[:] = sys.argv[1:]; from clipcli.runs.dedupe.workers import serve; serve()"
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_PATIENCE_S: Final = 5


@dataclass(frozen=True)
class _Work:
    """Chunks of items, and the answers to them."""

    method: str
    chunks: Sequence[Items]
    known: Callable[[Items], object]
    queues: list[deque[int]]
    """For each worker, the places of the chunks that it is to take."""
    answers: list[Future[Answer | None]]
    homes: dict[int, int]
    lost: list[int] = field(default_factory=list)

    def do(self, worker: int, process: subprocess.Popen[bytes]) -> None:
        """Let one worker answer its chunks, and then those of others."""
        while (place := self._next(worker)) is not None:
            items = self.chunks[place]
            self.homes.update((number, worker) for item in items for number in item)
            try:
                self.answers[place].set_result(_ask(process, (self.method, items, self.known(items))))
            except (OSError, EOFError, pickle.UnpicklingError):
                self.answers[place].set_result(None)
                self.lost.append(worker)
                if len(self.lost) < len(self.queues):
                    return  # the others take what is left
            except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
                self.answers[place].set_exception(error)

    def _next(self, worker: int) -> int | None:
        """Return the place of the next chunk: a worker's own first, then what another would take last."""
        while any(self.queues):
            own, longest = self.queues[worker], max(self.queues, key=len)
            with contextlib.suppress(IndexError):  # another was faster
                return own.popleft() if own else longest.pop()
        return None


def _ask(process: subprocess.Popen[bytes], message: object) -> Answer:
    _send(process.stdin, message)
    results, faults = pickle.load(_pipe(process.stdout))  # noqa: S301 - of our own child
    return results, {number: ImageError(*fault) for number, fault in faults.items()}


@dataclass
class ComparisonWorkers:
    """A few processes with one reader of pictures each."""

    count: int
    reader: Callable[..., object]
    """Makes the reader in a worker; pickled, so a class of a module."""
    settings: Mapping[str, object]
    """What it is made of."""
    _all: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _homes: dict[int, int] = field(default_factory=dict)
    """Picture → the worker that has read it."""

    def start(self) -> bool:
        """Start the processes; False where this Python cannot. Raises OSError where there may be no more."""
        if not sys.executable:
            return False
        for _ in range(self.count):
            process = _started()
            self._all.append(process)
            _send(process.stdin, (self.reader, dict(self.settings)))
        return True

    def map(
        self, method: str, chunks: Sequence[Items], known: Callable[[Items], object], *, keeps: bool
    ) -> Iterator[Answer | None]:
        """Yield what a method of the reader answers to each item of each chunk, in their order; None of a lost worker.

        A chunk goes to the worker that has read its pictures, unless another one has nothing to do.

        Args:
            method: the name of the method.
            chunks: arguments of each call: numbers of pictures.
            known: what the reader must know of the pictures of a chunk: the argument of its `learn`.
            keeps: whether the reader keeps what it knows of those pictures.
        """
        queues: list[deque[int]] = [deque() for _ in self._all]
        for place, items in enumerate(chunks):
            queues[self._home_of(items, queues)].append(place)
        work = _Work(method, chunks, known, queues, [Future() for _ in chunks], self._homes if keeps else {})
        with ThreadPoolExecutor(len(self._all)) as threads:
            for worker, process in enumerate(self._all):
                threads.submit(work.do, worker, process)
            try:
                for future in work.answers:
                    yield future.result()
            finally:
                for waiting in queues:
                    waiting.clear()

    def _home_of(self, items: Items, queues: Sequence[deque[int]]) -> int:
        """Return the worker that has read most of the pictures; of equal ones that with the least to do."""
        count = Counter(self._homes[number] for item in items for number in item if number in self._homes)
        return min(range(len(queues)), key=lambda worker: (-count[worker], len(queues[worker])))

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
            reader.learn(known)
            results = reader.answer(method, items)
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
