"""Where the time of a run goes."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Timings:
    """Seconds spent in each step, summed over threads, and how many inputs came from the cache."""

    read: float = 0.0
    decode: float = 0.0
    model: float = 0.0
    encoded: int = 0
    cached: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def measure(self, step: Literal["read", "decode", "model"]) -> Iterator[None]:
        """Add the block's seconds to a step."""
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            with self._lock:
                setattr(self, step, getattr(self, step) + seconds)

    def count(self, *, encoded: int, cached: int) -> None:
        """Add what went through the model and what needed not to."""
        with self._lock:
            self.encoded += encoded
            self.cached += cached
