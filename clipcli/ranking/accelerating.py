"""When a search is worth an accelerator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipcli.devices import accelerator

if TYPE_CHECKING:
    from clipcli.talk import Talk
    from clipcli.tasks.proposing import Kernel

FEWEST_QUERIES = 256
"""Fewer are bound by reading the corpus, wherever the products are made."""
WORTHWHILE = 1 << 38
"""Multiplications: a thousand queries over half a million vectors of 512 numbers; seconds on a CPU."""


def accelerated(device: str, queries: int, rows: int, dim: int, talk: Talk) -> Kernel | None:
    """What proposes rows on an accelerator; None where the CPU is as good.

    Args:
        device: `auto`, or what was asked for: `cpu` is obeyed always, another one as soon as there are many queries.
        queries: how many.
        rows: of the corpus.
        dim: numbers a vector.
        talk: told where the search runs.

    Raises:
        DeviceError: the device that was asked for is not there.
    """
    if device == "cpu" or queries < FEWEST_QUERIES:
        return None
    if device == "auto" and (queries * rows * dim < WORTHWHILE or accelerator() is None):
        return None
    from clipcli.engines.searching import TorchKernel

    kernel = TorchKernel(device, talk.note)
    if kernel.device == "cpu":
        return None
    talk.detail(f"searching on {kernel.device}")
    return kernel
