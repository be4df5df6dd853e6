"""Summarise the time of a run in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.core.devices import cpu_with_bf16

if TYPE_CHECKING:
    from clipcli.models.model import Model
    from clipcli.session.prepare import Timings

_MODEL = "the model"
_LONG_SECONDS = 60.0
_IDLE = 0.5
"""If every step was idle for more than half of the time, the inputs arrived too slowly."""


@dataclass(frozen=True)
class RunFigures:
    """The figures of a run."""

    unit: str
    done: int
    """Number of inputs with a vector."""
    seconds: float
    writing: float
    """Seconds spent writing."""
    workers: int
    """Number of threads that read and decode."""
    models: int = 1
    """Number of batches encoded at the same time."""
    resumed: int = 0
    """The part of `done` from an interrupted run."""


def summary(timings: Timings, run: RunFigures) -> str:
    """Return `200 images in 12.3 s (16.3/s, 40 from the cache): read 2 %, decode 31 %, model 66 %, write 1 %; …`."""
    done = run.done - run.resumed
    rate = done / run.seconds if run.seconds else 0.0
    cached = f", {timings.cached:,} from the cache" if timings.cached else ""
    before = f", after {run.resumed:,} of a stopped run" if run.resumed else ""
    head = f"{done:,} {run.unit}{'' if done == 1 else 's'} in {run.seconds:.1f} s ({rate:,.1f}/s{cached}){before}"
    steps = {"read": timings.read, "decode": timings.decode, "model": timings.model, "write": run.writing}
    total = sum(steps.values())
    if total == 0:
        return head
    shares = ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in steps.items())
    return f"{head}; of the work: {shares}; bottleneck: {bottleneck(timings, run)}"


def advice(model: Model, timings: Timings, run: RunFigures) -> str | None:
    """Return how the next long run could be faster, if the CPU supports bf16, else None."""
    if run.seconds < _LONG_SECONDS or bottleneck(timings, run) != _MODEL:
        return None
    may_change = model.choice.precision == "auto" and model.spec.kind != "bundle"
    if not may_change or model.runs_on_gpu or model.precision != "fp32" or not cpu_with_bf16():
        return None
    return (
        "this CPU computes in bfloat16: --precision bf16 may be several times as fast (its vectors differ a little, "
        "and are kept apart)"
    )


def bottleneck(timings: Timings, run: RunFigures) -> str:
    """Return the step with the highest utilisation, per thread or parallel batch."""
    wall = max(run.seconds, 1e-9)
    busy = {
        "reading": timings.read / run.workers / wall,
        "decoding": (timings.decode + timings.read) / run.workers / wall if timings.decode > timings.read else 0.0,
        _MODEL: timings.model / run.models / wall,
        "writing": run.writing / wall,
    }
    slowest = max(busy, key=lambda name: busy[name])
    return slowest if busy[slowest] >= _IDLE else "starting up, or waiting for the inputs"
