"""`clipcli dedupe`: find copies, near copies and look-alikes, and write a report or a plan."""

from __future__ import annotations

import typer

from clipcli.options.dedupe import ActionWords, DuplicateOptions, DuplicateReportOptions, PlanOutputOptions
from clipcli.options.shared import InputOptions, ModelOptions, RunOptions

EVERYDAY = (
    "level", "similar", "against", "rotations", "keep", "protect", "remove", "ignore_file", "fail_on", "report",
    "output", "format", "paths", "model", "device", "include", "exclude", "quiet",
)  # fmt: skip
"""Options in `--help`."""
EXAMPLES = (
    "clipcli dedupe photos/",
    "clipcli dedupe photos/ -o plan.jsonl && clipcli apply plan.jsonl",
    "clipcli dedupe photos/ -o plan.jsonl --report plan.html",
    "clipcli dedupe test/ --against train/ --fail-on near",
    "clipcli dedupe photos.npy --target-share 0.2 --paths",
)


def dedupe(
    inputs: InputOptions,
    options: DuplicateOptions,
    model: ModelOptions,
    out: PlanOutputOptions,
    reports: DuplicateReportOptions,
    run: RunOptions,
    elsewhere: ActionWords,
) -> None:
    """Find copies, near copies and look-alikes. Changes no file."""
    from contextlib import nullcontext

    from clipcli.errors import UsageError
    from clipcli.output import open_writer
    from clipcli.runs.base import execute
    from clipcli.runs.dedupe.report import ReportedRun, plan_of, refuse_actions
    from clipcli.runs.dedupe.review_page import ReviewPage
    from clipcli.runs.dedupe.validate import plan
    from clipcli.runs.dedupe.vector_run import NoSession, plan_vectors

    refuse_actions(elsewhere)
    if (stored := plan_vectors(inputs, options, run.console())) is not None:
        output = out.parse(null=inputs.null)
        if reports.report:
            raise UsageError("--report is for images", hint="vectors have no pictures to review: leave out --report")
        raise typer.Exit(
            execute(stored, nullcontext(NoSession()), lambda _: open_writer(output), stored.report.console)
        )
    job, choice = plan(inputs, options, run, run.console()), model.choice()
    output = out.parse(null=inputs.null)
    reporting = reports.parse()
    pages = [ReviewPage(file, not inputs.no_orient, inputs.rendering(), plan_of(output)) for file in reporting.pages]
    reported = ReportedRun(job, output, reporting, pages)
    raise typer.Exit(execute(reported, job.open(choice), lambda _: open_writer(output), job.console))
