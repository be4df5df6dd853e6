"""Attention of few queries on the CPU, with the same bits at every place of a batch.

Pooling asks attention with one query: a class token, SigLIP's and CoCa's learnt query, the pool of a ResNet. torch's
flash attention gives each thread a buffer whose size follows the number of queries. For fewer than four, a thread's
buffer need not begin at a multiple of 16 bytes, and the matrix product then adds up in another order than in the first
thread: an image gets other last bits in the second half of a batch. Products in full (queries x keys, softmax, times
values) do not depend on the thread, and cost next to nothing for few queries.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

FEW = 16
"""Queries from which on every thread's buffer is aligned to 64 bytes: 16 rows of float32."""


class ExplicitFewQueries(TorchFunctionMode):
    """In the block and in this thread, attention of fewer than `FEW` queries is computed with explicit products.

    Other attention runs as before, except that torch's fast path for `nn.MultiheadAttention` is off.
    """

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run what torch was asked for, or its explicit twin."""
        named = kwargs or {}
        if func is functional.multi_head_attention_forward:
            query = args[0] if args else named["query"]
            if query.shape[0] < FEW:  # (queries, batch, width)
                # Weights can only be given by the explicit way; what they cost is the same.
                return func(*args, **{**named, "need_weights": True})
        elif func is functional.scaled_dot_product_attention:
            query = args[0] if args else named["query"]
            if query.shape[-2] < FEW:  # (batch, heads, queries, width)
                return torch.ops.aten._scaled_dot_product_attention_math(*args, **named)[0]  # noqa: SLF001
        return func(*args, **named)


def few_queries_on(device: str) -> Callable[[], AbstractContextManager[Any]]:
    """What a tower has to enter before it pools on `device`: only the CPU needs anything."""
    return ExplicitFewQueries if device == "cpu" else nullcontext
