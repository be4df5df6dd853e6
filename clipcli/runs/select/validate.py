"""Check the options of `select` together before a row is read."""

from __future__ import annotations

import re
from math import isnan
from typing import TYPE_CHECKING, Final

from clipcli.core.console import RunSummary
from clipcli.errors import UsageError
from clipcli.inputs.collect import STDIN
from clipcli.inputs.row_filter import Condition
from clipcli.inputs.sources.refs import SHARDS, has_suffix
from clipcli.runs.select.rows import RowConditions
from clipcli.runs.select.run import SelectRun
from clipcli.runs.select.samples import ShardNames

if TYPE_CHECKING:
    from clipcli.core.console import Console
    from clipcli.options.select import RowOptions, SampleOptions, SelectOutputOptions

_NUMBER: Final = re.compile(r"\{(?::0?(\d{0,2})d?)?\}|%0?(\d{0,2})d")


def plan(rows: RowOptions, samples: SampleOptions, out: SelectOutputOptions, console: Console) -> SelectRun:
    """Check all options before a row is read.

    Raises:
        UsageError: options that do not go together, or an invalid condition.
        InputsError: a package is missing.
    """
    if not rows.rows:
        raise UsageError("no rows given", hint="clipcli select scores.parquet --min-score 0.28 -o kept.tar")
    if rows.rows.count(STDIN) > 1:
        raise UsageError("stdin can be read only once", hint="give - once")
    if rows.min_score is not None and isnan(rows.min_score):
        raise UsageError("--min-score nan: not a number to compare with", hint="such as 0.28")
    condition = None if rows.where is None else Condition(rows.where)
    conditions = RowConditions(rows.column, rows.by or "score", rows.min_score, rows.top_share, condition)
    if rows.by is not None and not conditions.needs_score:
        raise UsageError("--by needs --min-score or --top-share", hint='or --where "price < 50"')
    shards = _parse_shard_names(out.output)
    if shards is not None and samples.copy_to is not None:
        raise UsageError("-o SHARDS and --copy-to do not go together", hint="run select for each")
    if shards is None and samples.copy_to is None and samples.sources:
        raise UsageError("--from needs a place for samples", hint="-o 'kept/{:05d}.tar' or --copy-to FOLDER")
    if samples.per_shard != type(samples)().per_shard and (shards is None or shards.width is None):
        raise UsageError("--per-shard needs a number in -o", hint="such as -o 'kept/{:05d}.tar'")
    if samples.copy_to is not None and out.output is not None:
        raise UsageError("--copy-to writes no rows", hint="leave out -o, or run select for each")
    output = None if shards is not None or samples.copy_to is not None else out.parse(null=out.null)
    return SelectRun(rows.rows, conditions, samples, shards, output, RunSummary(console))


def _parse_shard_names(path: str | None) -> ShardNames | None:
    """Return the shards that `-o` names; None if it is not a tar.

    Raises:
        UsageError: a pattern with several numbers, or of shards that exist.
    """
    if path is None or not has_suffix(path, SHARDS):
        return None
    numbers = list(_NUMBER.finditer(path))
    if not numbers:
        if "{" in path:
            raise UsageError(f"cannot tell the number in {path}", hint="such as 'kept/{:05d}.tar'")
        return ShardNames(path)
    if len(numbers) > 1 or "/" in path[numbers[0].end() :]:
        raise UsageError(f"one number in the file's name says which shard it is: {path}", hint="'kept/{:05d}.tar'")
    number = numbers[0]
    names = ShardNames(path[: number.start()], path[number.end() :], int(number[1] or number[2] or 1))
    if existing := names.existing():
        raise UsageError(
            f"{existing[0]} already exists", hint="remove the shards of an earlier run, or name another folder"
        )
    return names
