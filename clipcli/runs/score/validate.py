"""Check the options of `score` together before a model is loaded."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from clipcli.core.console import RunSummary
from clipcli.errors import UsageError
from clipcli.inputs.collect import STDIN, is_stream
from clipcli.inputs.image_texts import PairColumns, read_pairs
from clipcli.output import CarriedColumns
from clipcli.prompts import load_prompts
from clipcli.runs.score.rows import OWN_COLUMNS
from clipcli.runs.score.run import ScoreRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.core.console import Console
    from clipcli.inputs.image_texts import Pair
    from clipcli.inputs.row_filter import Condition
    from clipcli.options.score import PairOptions, ScoreLimitOptions

_FEW: Final = 256
"""Largest number of pairs that are counted; with more, an engine prepares for many."""
_MANY: Final = 10**9


def plan(
    pairs: PairOptions, keep: Sequence[str], limits: ScoreLimitOptions, console: Console, where: Condition | None = None
) -> ScoreRun:
    """Check all options before a model is loaded.

    Args:
        pairs: the inputs, which hold images and texts.
        keep: columns of tables that rows keep.
        limits: the limits on the pairs that are written, and the check.
        console: for messages.
        where: the filter of rows in tables.

    Raises:
        UsageError: options that do not go together.
        InputsError: prompts or lists that cannot be used.
    """
    if limits.min_share is not None and limits.min_score is None:
        raise UsageError("--fail-under needs something to check", hint="add --min-score S")
    if limits.min_share is not None and limits.top_share is not None:
        raise UsageError("--fail-under and --top-share do not go together", hint="a check looks at all pairs")
    arguments, lists = pairs.images or [], pairs.files_from or []
    if [*arguments, *lists, *(pairs.prompts or [])].count(STDIN) > 1:
        raise UsageError("stdin can be read only once", hint="give the others in files")
    columns = PairColumns(pairs.column, pairs.text, tuple(keep), where)
    read = read_pairs(arguments, lists, columns, pairs.globs, null=pairs.null)
    prompts = load_prompts(pairs.prompts) if pairs.prompts else None
    expected, read = (_MANY, read) if is_stream(arguments, lists) else _count_few(read)
    return ScoreRun(read, limits, prompts, CarriedColumns(keep, OWN_COLUMNS), RunSummary(console), expected=expected)


def _count_few(pairs: Iterator[Pair]) -> tuple[int, Iterator[Pair]]:
    """Return the number of pairs, or a large number if there are more than a few, and all pairs."""
    first = list(islice(pairs, _FEW))
    return (len(first) if len(first) < _FEW else _MANY), chain(first, pairs)
