"""When Python's garbage collector runs: seldom while modules are imported, as usual while a run works.

Importing creates some 60,000 objects that live until the end. At Python's thresholds the collector goes over them
again and again, which takes 7 % of the processor time of a start.
"""

from __future__ import annotations

import gc
from typing import Final

_USUAL_THRESHOLDS: Final = gc.get_threshold()
_IMPORT_THRESHOLD: Final = 100_000
"""Objects of a start and some more."""


def collect_seldom() -> None:
    """Collect only after 100,000 new objects, until `collect_as_usual`."""
    gc.set_threshold(_IMPORT_THRESHOLD)


def collect_as_usual() -> None:
    """Restore Python's thresholds, and leave the objects so far out of every later collection."""
    if gc.get_threshold() != _USUAL_THRESHOLDS:
        gc.freeze()
        gc.set_threshold(*_USUAL_THRESHOLDS)
