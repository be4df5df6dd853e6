"""Check the options of `dedupe` before any work is done."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from clipcli.core.console import RunSummary
from clipcli.errors import UsageError
from clipcli.inputs.sources.filesystems import is_url
from clipcli.plan.decisions import joined, read_decisions
from clipcli.plan.file_state import look, resolve
from clipcli.runs.dedupe.run import DedupeRun
from clipcli.tasks.dedupe.keep import parse_rules
from clipcli.tasks.dedupe.levels import LEVELS

if TYPE_CHECKING:
    from clipcli.core.console import Console
    from clipcli.options.dedupe import DuplicateOptions
    from clipcli.options.shared import InputOptions, RunOptions
    from clipcli.tasks.dedupe.levels import Level


def plan(inputs: InputOptions, options: DuplicateOptions, run: RunOptions, console: Console) -> DedupeRun:
    """Check what was asked before any work is done.

    Raises:
        UsageError: a level, rule or folder that does not exist.
        PlanError: a file of decisions that cannot be read.
    """
    level, remove = _level(options.level, "--level"), _level(options.remove, "--remove")
    fail = None if options.fail_on is None else _level(options.fail_on, "--fail-on")
    _refuse_looser_levels(options, level, remove, fail)
    for folder in options.protect or ():
        if not os.path.isdir(folder):  # noqa: PTH112 - any bytes
            raise UsageError(f"--protect {folder}: no such folder", hint="a misspelt folder would protect nothing")
    against = options.against
    if (
        against is not None
        and against != "-"
        and not is_url(against)
        and "{" not in against
        and not look(resolve(against))
    ):
        raise UsageError(f"--against {against}: no such file or folder", hint="compared with nothing, all would be new")
    inputs.rendering()
    rules = parse_rules(options.keep)
    for name in (rule.name for rule in rules if rule.name.startswith("in:")):
        if not os.path.isdir(name.removeprefix("in:")):  # noqa: PTH112 - any bytes
            raise UsageError(f"--keep {name}: no such folder", hint="a misspelt folder would prefer nothing")
    decisions = [read_decisions(file) for file in options.ignore_file or ()]
    return DedupeRun(inputs, options, run, level, remove, fail, rules, joined(decisions), RunSummary(console), console)


def _refuse_looser_levels(options: DuplicateOptions, level: Level, remove: Level, fail: Level | None) -> None:
    """Raise UsageError for an option about duplicates that `--level` does not look for, which would have no effect."""
    default = type(options)()
    looser = LEVELS[LEVELS.index(level) + 1 :]
    for option, value in (("--fail-on", fail), ("--remove", remove if remove != default.remove else None)):
        if value in looser:
            raise UsageError(f"{option} {value}: --level {level} does not look for it", hint=f"--level {value}")
    if options.similar is not None and level != LEVELS[-1]:
        raise UsageError("--min-similarity is for --level similar", hint=f"{level} duplicates are found from pixels")


def _level(word: str, option: str) -> Level:
    if word not in LEVELS:
        raise UsageError(f"{option} cannot be {word!r}", hint="one of " + ", ".join(LEVELS))
    return word
