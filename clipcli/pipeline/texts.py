"""Texts to vectors: those of like length together, several batches side by side."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clipcli.encoder import Encoder
    from clipcli.pipeline.batches import Batches
    from clipcli.pipeline.features import Rows
    from clipcli.pipeline.timings import Timings
    from clipcli.vectors import Vectors

TEXT_BATCH = 128
_MOST_THREADS = 64


def encode_texts(
    texts: Sequence[str],
    encoder: Encoder,
    batches: Batches,
    timings: Timings,
    vectors_of: Callable[[Callable[[Encoder, Rows], Vectors]], Vectors],
) -> Vectors:
    """N texts → float32 (n, dim), in the order given, although a batch, which is as long as its longest, is not.

    Args:
        texts: any number; all their vectors are in memory together.
        encoder: the model.
        batches: how many go to it at once.
        timings: where the time goes.
        vectors_of: see `Features.vectors`.
    """
    order = sorted(range(len(texts)), key=lambda index: (len(texts[index]), texts[index]))
    rows, vectors = np.empty((2, len(texts), encoder.info.dim), np.float32)

    def encode(start: int) -> None:
        part = np.array(order[start : start + TEXT_BATCH])

        def encode_some(some: slice) -> Vectors:
            return vectors_of(lambda model, rows: model.encode_texts([texts[index] for index in part[some][rows]]))

        with timings.measure("model"):
            batches.fill(rows[start : start + TEXT_BATCH], encode_some, encoder.device)

    begun, threads = deque[Future[None]](), ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="model")
    try:
        for start in range(0, len(texts), TEXT_BATCH):
            while len(begun) >= encoder.text_lanes:  # more, once the model knows that there is much to do
                begun.popleft().result()
            begun.append(threads.submit(encode, start))
        for one in begun:
            one.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
    vectors[order] = rows
    return vectors
