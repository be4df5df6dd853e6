"""Multiply many queries with blocks of a corpus on an accelerator. It proposes rows, and the host scores them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from clipcli.engines.torch_devices import one_kind_of_memory_error, resolve_device
from clipcli.tasks.search.flat import BlockCandidates, exact_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clipcli.core.vectors import Vectors
    from clipcli.tasks.search.flat import BlockQuery

_PRODUCTS_AT_ONCE = 1 << 26
"""Products per step: 256 MB on the device, and the same again for the selection."""
_FEWEST_PRODUCTS = 1 << 18
_ROWS_AT_ONCE = 1 << 10
"""Queries per step; the other factor is the number of rows."""
_CHECKED = 32


class TorchKernel:
    """A `clipcli.tasks.search.flat.Kernel` on a torch device."""

    def __init__(self, device: str, say: Callable[[str], object], products_at_once: int = _PRODUCTS_AT_ONCE) -> None:
        """Resolve the device.

        Args:
            device: `auto`, `cuda`, `cuda:1`, `mps` or `cpu`.
            say: gets a message if the CPU has to take over.
            products_at_once: products per step on the device; divided by 4 whenever its memory is full.

        Raises:
            DeviceError: the device does not exist.
        """
        self.device = resolve_device(device)
        self.products_at_once = products_at_once
        self._say = say
        self._checked = False
        torch.set_float32_matmul_precision("highest")  # TF32 is less precise than the search requires

    def __call__(self, block_query: BlockQuery) -> BlockCandidates | None:
        """Propose rows; print a message and return None if the device cannot."""
        while True:
            try:
                with one_kind_of_memory_error(), torch.inference_mode():
                    if not self._checked and not self._is_precise(block_query):
                        self._say(f"{self.device} rounds products too coarsely; searching on the CPU")
                        return None
                    return self._propose(block_query)
            except MemoryError:  # noqa: PERF203 - each turn takes a quarter
                self.products_at_once //= 4
                if self.products_at_once < _FEWEST_PRODUCTS:
                    self._say(f"the memory of {self.device} is full; searching on the CPU")
                    return None
            except RuntimeError as error:
                self._say(f"{self.device} failed ({str(error).splitlines()[0]}); searching on the CPU")
                return None

    def _propose(self, block_query: BlockQuery) -> BlockCandidates:
        firsts, queries, rows = [], [], []
        for start in range(0, len(block_query.block), step := max(self.products_at_once // _ROWS_AT_ONCE, 1)):
            part = self._tensor(block_query.block[start : start + step]).T
            queries_per_step = max(self.products_at_once // part.shape[1], 1)
            for first in range(0, len(block_query.queries), queries_per_step):
                products = self._tensor(block_query.queries[first : first + queries_per_step]) @ part
                if first == 0:
                    firsts.append(products[0].cpu().numpy().copy())  # before -inf is written to it
                owners, places = self._chosen(products, block_query, first, start)
                queries.append(owners.cpu().numpy() + first)
                rows.append(places.cpu().numpy() + start)
        return BlockCandidates(np.concatenate(queries), np.concatenate(rows), np.concatenate(firsts))

    def _chosen(
        self, products: torch.Tensor, block_query: BlockQuery, first: int, start: int
    ) -> Iterator[torch.Tensor]:
        """Return queries and rows of the products that reach their limit or are among the best of their query."""
        query_count, row_count = products.shape
        if block_query.allowed is not None:
            products[:, torch.tensor(~block_query.allowed[start : start + row_count], device=self.device)] = -torch.inf
        owners, places = block_query.hidden
        inside = (owners >= first) & (owners < first + query_count) & (places >= start) & (places < start + row_count)
        if inside.any():
            pairs = (
                torch.tensor(own[inside] - low, device=self.device) for own, low in ((owners, first), (places, start))
            )
            products[tuple(pairs)] = -torch.inf
        limits = self._tensor(block_query.limits[first : first + query_count])
        if block_query.top is not None and row_count > block_query.top:
            limits = torch.maximum(limits, products.topk(block_query.top, dim=1).values[:, -1] - block_query.error)
        return iter((products >= (limits - block_query.error)[:, None]).nonzero(as_tuple=True))

    def _is_precise(self, block_query: BlockQuery) -> bool:
        """Return whether a few products agree with float64 to float32 precision; TF32 may be on despite the setting."""
        queries, rows = block_query.queries[:_CHECKED], block_query.block[:_CHECKED]
        products = (self._tensor(queries) @ self._tensor(rows).T).cpu().numpy()
        exact = exact_scores(np.repeat(queries, len(rows), axis=0), np.tile(rows, (len(queries), 1)))
        difference = np.abs(products.reshape(-1) - exact)
        self._checked = not bool((difference > max(block_query.error / 8, 2.0**-21)).any())
        return self._checked

    def _tensor(self, vectors: Vectors) -> torch.Tensor:
        return torch.tensor(vectors, device=self.device)
