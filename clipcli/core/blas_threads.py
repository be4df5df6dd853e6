"""Matrix products on one thread each, where many small ones run side by side."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from threadpoolctl import ThreadpoolController


def single_threaded_blas() -> AbstractContextManager[object]:
    """Return a context in which numpy's products take one thread, for the whole process.

    OpenBLAS and MKL give even a small product to all cores, and threads that wait for each other spin. Where a pool of
    threads multiplies small matrices this took ten times the time of the products themselves (2 cores, 2 workers).
    """
    limited: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limited


@cache
def _controller() -> ThreadpoolController:
    import numpy as np  # noqa: F401 - whose library must be there to be found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
