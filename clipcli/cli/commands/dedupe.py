"""`clipcli dedupe`: copies, near copies and look-alikes; only a report, which is also a plan."""

from __future__ import annotations

import typer

from clipcli.options.dedupe import ActionWords, DuplicateOptions, DuplicateReportOptions
from clipcli.options.shared import InputOptions, ModelOptions, OutputOptions, RunOptions

EPILOG = """Examples:

clipcli dedupe photos/

clipcli dedupe photos/ -o plan.jsonl && clipcli apply plan.jsonl --action trash

clipcli dedupe photos/ -o plan.jsonl --report plan.html

clipcli dedupe test/ --against train/ --fail-found near

clipcli dedupe photos/ --keep in:photos/best,most-pixels --protect photos/originals"""


def dedupe(
    inputs: InputOptions,
    asked: DuplicateOptions,
    model: ModelOptions,
    out: OutputOptions,
    reports: DuplicateReportOptions,
    run: RunOptions,
    elsewhere: ActionWords,
) -> None:
    """Find copies, near copies and look-alikes. Touches nothing: `clipcli apply` acts on the plan that this writes."""
    from clipcli.output import open_writer, parse_output
    from clipcli.runs.dedupe.report import Findings, page_of, plan_of, refuse_actions, say_next_step
    from clipcli.runs.dedupe.review_page import ReviewPage
    from clipcli.runs.dedupe.run import plan

    refuse_actions(elsewhere)
    job, choice = plan(inputs, asked, run, run.talk()), model.choice()
    output = parse_output(
        out.format, out.output, paths=out.paths, null=inputs.null, also=("groups",), escape_formulas=out.escape_formulas
    )
    reporting = reports.parse()
    pages = [ReviewPage(file, not inputs.no_orient, inputs.rendering(), plan_of(output)) for file in reporting.pages]
    job.page = page_of(reporting.pages, output)
    findings = Findings(job, reporting.without_pages())
    with job.open(choice) as (session, cache):
        with open_writer(output) as writer:
            for row in job.rows(session, cache):
                writer.write(row)
                findings.add(row)
                for page in pages:
                    page.add(row)
        for page in pages:
            page.write()
        code = job.conclude()
        say_next_step(job, output, reporting.pages)
        findings.write(session.info.name if session is not None else "")
        if session is not None:
            session.finish()
    raise typer.Exit(code)
