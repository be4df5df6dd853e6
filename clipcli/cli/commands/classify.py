"""`clipcli classify`: each image gets the label that fits it."""

from __future__ import annotations

import typer

from clipcli.options.classify import CheckOptions, ScoreOptions
from clipcli.options.shared import (
    InputOptions,
    LabelOptions,
    ModelOptions,
    OutputOptions,
    ReportOptions,
    RunOptions,
)

EPILOG = """Examples:

clipcli classify photos/ -l cat,dog,"red car"

find . -name '*.jpg' -print0 | clipcli classify - -0 -l cat,dog --format jsonl

clipcli classify shop/ --expect-from parent --min-accuracy 0.95 --report junit.xml"""


def classify(
    inputs: InputOptions,
    labels: LabelOptions,
    score: ScoreOptions,
    check: CheckOptions,
    model: ModelOptions,
    out: OutputOptions,
    reports: ReportOptions,
    run: RunOptions,
) -> None:
    """Give each image the label that fits it best. No training: any labels, any images."""
    from clipcli.output import open_writer
    from clipcli.runs.base import execute
    from clipcli.runs.classify import plan
    from clipcli.session.session import open_session

    talk = run.talk()
    job = plan(inputs, labels, score, check, talk)
    output, choice, job.reporting = out.parse(null=inputs.null), model.choice(), reports.parse()
    opened = open_session(choice, talk, run.session(inputs), expected_images=job.total)
    raise typer.Exit(execute(job, opened, lambda _: open_writer(output), talk))
