"""Products of many queries with the blocks of a corpus on an accelerator: they propose rows, the host decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from clipcli.engines.errors import one_kind_of_memory_error
from clipcli.engines.torch_devices import resolve_device
from clipcli.tasks.search.flat import BlockCandidates, exact_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clipcli.core.vectors import Vectors
    from clipcli.tasks.search.flat import BlockQuery

_PRODUCTS_AT_ONCE = 1 << 26
"""256 MB on the device, and as much again for the selection."""
_FEWEST_PRODUCTS = 1 << 18
_ROWS_AT_ONCE = 1 << 10
"""Part of the products at once that are rows; the others are queries."""
_CHECKED = 32


class TorchKernel:
    """A clipcli.tasks.search.flat.Kernel on a device of torch."""

    def __init__(self, asked: str, say: Callable[[str], object], products_at_once: int = _PRODUCTS_AT_ONCE) -> None:
        """Take the device.

        Args:
            asked: `auto`, `cuda`, `cuda:1`, `mps` or `cpu`.
            say: told once why the CPU goes on, if it has to.
            products_at_once: on the device; halved twice whenever its memory is full.

        Raises:
            DeviceError: the device is not there.
        """
        self.device = resolve_device(asked)
        self.products_at_once = products_at_once
        self._say = say
        self._checked = False
        torch.set_float32_matmul_precision("highest")  # TF32 is off by more than the search allows for

    def __call__(self, asked: BlockQuery) -> BlockCandidates | None:
        """Propose rows; None, and a word about it, when the device cannot."""
        while True:
            try:
                with one_kind_of_memory_error(), torch.inference_mode():
                    if not self._checked and not self._is_precise(asked):
                        self._say(f"{self.device} rounds products too coarsely; searching on the CPU")
                        return None
                    return self._propose(asked)
            except MemoryError:  # noqa: PERF203 - each turn takes a quarter
                self.products_at_once //= 4
                if self.products_at_once < _FEWEST_PRODUCTS:
                    self._say(f"the memory of {self.device} is full; searching on the CPU")
                    return None
            except RuntimeError as error:
                self._say(f"{self.device} failed ({str(error).splitlines()[0]}); searching on the CPU")
                return None

    def _propose(self, asked: BlockQuery) -> BlockCandidates:
        firsts, queries, rows = [], [], []
        for start in range(0, len(asked.block), step := max(self.products_at_once // _ROWS_AT_ONCE, 1)):
            part = self._tensor(asked.block[start : start + step]).T
            several = max(self.products_at_once // part.shape[1], 1)
            for first in range(0, len(asked.queries), several):
                products = self._tensor(asked.queries[first : first + several]) @ part
                if first == 0:
                    firsts.append(products[0].cpu().numpy().copy())  # before -inf is written to it
                owners, places = self._chosen(products, asked, first, start)
                queries.append(owners.cpu().numpy() + first)
                rows.append(places.cpu().numpy() + start)
        return BlockCandidates(np.concatenate(queries), np.concatenate(rows), np.concatenate(firsts))

    def _chosen(self, products: torch.Tensor, asked: BlockQuery, first: int, start: int) -> Iterator[torch.Tensor]:
        """Queries and rows of one matrix of products that reach their limit, or the best of their own query in it."""
        few, many = products.shape
        if asked.allowed is not None:
            products[:, torch.tensor(~asked.allowed[start : start + many], device=self.device)] = -torch.inf
        owners, places = asked.hidden
        here = (owners >= first) & (owners < first + few) & (places >= start) & (places < start + many)
        if here.any():
            pairs = (
                torch.tensor(own[here] - low, device=self.device) for own, low in ((owners, first), (places, start))
            )
            products[tuple(pairs)] = -torch.inf
        limits = self._tensor(asked.limits[first : first + few])
        if asked.top is not None and many > asked.top:
            limits = torch.maximum(limits, products.topk(asked.top, dim=1).values[:, -1] - asked.error)
        return iter((products >= (limits - asked.error)[:, None]).nonzero(as_tuple=True))

    def _is_precise(self, asked: BlockQuery) -> bool:
        """Whether a few products agree with float64 as float32 does: what switched TF32 on may be out of our hands."""
        queries, rows = asked.queries[:_CHECKED], asked.block[:_CHECKED]
        products = (self._tensor(queries) @ self._tensor(rows).T).cpu().numpy()
        exact = exact_scores(np.repeat(queries, len(rows), axis=0), np.tile(rows, (len(queries), 1)))
        off = np.abs(products.reshape(-1) - exact)
        self._checked = not bool((off > max(asked.error / 8, 2.0**-21)).any())
        return self._checked

    def _tensor(self, vectors: Vectors) -> torch.Tensor:
        return torch.tensor(vectors, device=self.device)
