"""Check the options of `score` together before a model is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipcli.core.console import RunSummary
from clipcli.errors import UsageError
from clipcli.inputs.collect import STDIN
from clipcli.inputs.image_texts import PairColumns, read_pairs
from clipcli.output import CarriedColumns
from clipcli.prompts import load_prompts
from clipcli.runs.score.rows import OWN_COLUMNS
from clipcli.runs.score.run import ScoreRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.core.console import Console
    from clipcli.inputs.row_filter import Condition
    from clipcli.options.score import PairOptions, ScoreLimitOptions


def plan(
    pairs: PairOptions, keep: Sequence[str], limits: ScoreLimitOptions, console: Console, where: Condition | None = None
) -> ScoreRun:
    """Check everything that was asked before a model is touched.

    Args:
        pairs: where images and texts are.
        keep: columns of tables that rows keep.
        limits: which pairs are written, and whether that is a check.
        where: which rows of tables are wanted.
        console: says what a person should know.

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
    found = read_pairs(arguments, lists, columns, pairs.globs, null=pairs.null)
    prompts = load_prompts(pairs.prompts) if pairs.prompts else None
    return ScoreRun(found, limits, prompts, CarriedColumns(keep, OWN_COLUMNS), RunSummary(console))
