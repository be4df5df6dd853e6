"""Which scores stand out from a corpus's own scores for the same query: a robust z-score.

No flat threshold works across queries: one query's noise is another's best hit. Here the noise is measured for each
query by itself: centre and spread of its scores over the corpus are the median and the median absolute deviation, times
1.4826 so that it is the standard deviation where the noise is normal (Rousseeuw and Croux, "Alternatives to the Median
Absolute Deviation", JASA 88, 1993). Both stay put as long as fewer than half of the corpus is relevant. A score stands
out when a normal noise of that centre and spread would put it there in one row of `corpus size / FALSE_HITS`, so that a
larger corpus, which has more chances, asks for more. Real noise has a longer tail: docs/rank.md has figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from clipcli.core.vectors import Scores
    from clipcli.tasks.search.flat import Rows

FALSE_HITS = 0.1
"""Rows a query that normal noise alone would put above the floor."""
SAMPLE = 50_000
"""Rows that centre and spread are taken from; their error is then below 1 %."""
FEWEST = 20
"""The minimum number of rows for a usual score."""
_NORMAL = 1.4826


def sample_rows(corpus: int, sample: int = SAMPLE) -> Rows:
    """Evenly spaced row numbers, at most `sample`, the same on every run."""
    return np.unique(np.linspace(0, corpus - 1, min(corpus, sample)).astype(np.int64))


def floors(scores: Scores, corpus: int, false_hits: float = FALSE_HITS) -> Scores:
    """Return (queries,) the lowest score that stands out, from (queries, sample) scores of some of `corpus` rows."""
    centre = np.median(scores, axis=1)
    spread = _NORMAL * np.median(np.abs(scores - centre[:, None]), axis=1)
    return np.asarray(centre + deviations(corpus, false_hits) * spread, dtype=np.float32)


def deviations(corpus: int, false_hits: float = FALSE_HITS) -> float:
    """Return how many standard deviations above the centre the floor is: 3.3 for 200 rows, 5.2 for a million."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(1 - false_hits / max(corpus, FEWEST))
