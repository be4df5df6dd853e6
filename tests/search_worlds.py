"""Random queries and corpora with ties, for every test of the search."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from clipcli.core.vectors import unit_length


def in_blocks(corpus, size):
    return ((start, corpus[start : start + size]) for start in range(0, len(corpus), size))


def shown(hits):
    return [(hit.rows.tolist(), hit.scores.tolist()) for hit in hits]


@st.composite
def worlds(draw):
    """Queries, a corpus in which rows occur several times, and names that do too."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dim = draw(st.sampled_from([3, 16, 65]))
    distinct = unit_length(rng.standard_normal((draw(st.integers(1, 12)), dim)))
    corpus = distinct[rng.integers(0, len(distinct), draw(st.integers(1, 60)))]
    queries = unit_length(rng.standard_normal((draw(st.integers(1, 9)), dim)))
    return queries, corpus, [f"{rng.integers(0, 6)}.jpg" for _ in corpus]
