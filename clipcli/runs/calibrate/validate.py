"""Check the options of `calibrate` before a model is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from clipcli.core.files import STDOUT, descriptor_of
from clipcli.errors import UsageError
from clipcli.options.classify import CheckOptions, ScoreOptions
from clipcli.output.reports import parse_reporting
from clipcli.runs import classify
from clipcli.runs.calibrate.run import CalibrateRun
from clipcli.tasks.calibrate import Goal, Objective

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.core.console import Console
    from clipcli.options.calibrate import CalibrateOptions
    from clipcli.options.shared import InputOptions, LabelOptions


def plan(inputs: InputOptions, labels: LabelOptions, options: CalibrateOptions, console: Console) -> CalibrateRun:
    """Check the options before a model is loaded.

    Raises:
        UsageError: an unknown objective, or stdout for both rows and thresholds.
        ClipcliError: as `classify`.
    """
    if options.output == "-" or descriptor_of(options.output) == STDOUT:
        raise UsageError("rows go to stdout, so the thresholds need a file", hint="-o thresholds.json")
    goal = parse_goal(options.objective, options.target_precision)
    score = ScoreOptions(multi_label=options.multi_label, background=options.background)
    check = CheckOptions(expect_from=options.expect_from)
    pages = parse_pages(options.report or [])
    return CalibrateRun(classify.plan(inputs, labels, score, check, console), goal, options.seed, options.output, pages)


def parse_pages(paths: Sequence[str]) -> tuple[str, ...]:
    """Return the pages to write. Raises UsageError for other kinds of report."""
    reporting = parse_reporting(paths, "none")
    other_reports = reporting.without_pages().paths
    if other_reports:
        raise UsageError(f"calibrate writes pages only, not {other_reports[0]}", hint="--report curves.html")
    return reporting.pages


def parse_goal(objective: str, precision: float | None) -> Goal:
    """Return the objective of the thresholds. Raises UsageError."""
    objectives: tuple[Objective, ...] = get_args(Objective)
    for name in objectives:
        if objective == name:
            return Goal(name, precision)
    raise UsageError(f"no objective {objective!r}", hint=f"one of {', '.join(objectives)}")
