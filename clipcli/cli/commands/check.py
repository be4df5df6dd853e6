"""`clipcli check`: run the checks of clipcli.toml, with one summary and one exit code."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from clipcli.options.check import CheckModelOptions, SelectionOptions
from clipcli.options.classify import CheckOptions, ScoreOptions
from clipcli.options.dedupe import DuplicateOptions
from clipcli.options.score import ScoreLimitOptions
from clipcli.options.shared import CachedRunOptions, OutputOptions, ReportOptions

if TYPE_CHECKING:
    from clipcli.config.schema import CheckSpec, Config

EVERYDAY = (
    "config", "only", "changed_since", "init", "report", "output", "format", "paths", "model", "device", "no_cache",
    "include", "exclude", "verbose", "quiet",
)  # fmt: skip
"""Options in `--help`."""
EXAMPLES = (
    "clipcli check --init",
    "clipcli check --report junit.xml",
    "clipcli check --changed-since origin/main",
)


def check(
    selection: SelectionOptions,
    model: CheckModelOptions,
    out: OutputOptions,
    reports: ReportOptions,
    run: CachedRunOptions,
) -> None:
    """Run the checks in clipcli.toml: labels that images should or must not have, scores, texts, and duplicates."""
    from clipcli.output import open_writer
    from clipcli.runs.check.rows import CheckRow, FailingPath
    from clipcli.runs.check.run import run_all, summary
    from clipcli.runs.check.validate import Groups, Planner

    console = run.console()
    if selection.init:
        from clipcli.runs.check.init_file import write_start

        console.line(f"wrote {write_start(selection.config)}: edit its checks, then run clipcli check")
        raise typer.Exit
    reporting = reports.parse()
    planner = Planner.of(selection, model, run, Groups(_score, _check, _duplicates, _pairs), console)
    output = _with_default(out, planner.config).parse(null=selection.null)
    with run_all(planner.plan(selection.only or []), planner.session_options, console) as outcome:
        with open_writer(output) as writer:
            failing = dict.fromkeys(finding.image for report in outcome.reports for finding in report.failed)
            for row in map(FailingPath, failing) if output.paths else map(CheckRow, outcome.reports):
                writer.write(row)
        say = console.info if all(report.holds for report in outcome.reports) else console.line
        say(summary(outcome.reports))
        reporting.write(outcome.reports)
    raise typer.Exit(outcome.exit_code)


def _with_default(out: OutputOptions, config: Config) -> OutputOptions:
    """Return the options with the file's format if neither the command line nor the environment sets one."""
    chosen = out.format != "auto" or out.output or out.paths
    return out if chosen else replace(out, format=config.defaults.format or "auto")


def _score(spec: CheckSpec, config: Config) -> ScoreOptions:
    """Return the options of scores; forbidden labels without others are each compared with a background."""
    alone = bool(spec.forbid) and not spec.has_labels
    return ScoreOptions(
        threshold=spec.threshold,
        thresholds=config.beside(spec.thresholds) if spec.thresholds else None,
        head=[config.head_beside(head) for head in spec.head] or None,
        multi_label=spec.multi_label or alone,
        none=spec.none,
        background=list(spec.background) or None,
        groups=config.beside(spec.groups) if spec.groups else None,
    )


def _check(spec: CheckSpec, config: Config) -> CheckOptions:
    from clipcli.inputs.text_files import tidy

    table = spec.expect_from if spec.expect_from in {None, "parent"} else config.beside(str(spec.expect_from))
    return CheckOptions(
        expect=tidy(spec.expect) if spec.expect else None,
        expect_from=table,
        min_accuracy=spec.min_accuracy,
        forbid=[tidy(label) for label in spec.forbid] or None,
    )


def _duplicates(spec: CheckSpec) -> DuplicateOptions:
    return DuplicateOptions(level=spec.duplicates or "exact")


def _pairs(spec: CheckSpec) -> ScoreLimitOptions:
    """Return the limits of a check of pairs; all of them have to reach the score unless it names a share."""
    return ScoreLimitOptions(min_score=spec.min_score, min_share=1.0 if spec.fail_under is None else spec.fail_under)
