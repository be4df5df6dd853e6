"""`clipcli classify`: give each image the label that fits it best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from clipcli.options.classify import CheckOptions, RegionOptions, ScoreOptions
from clipcli.options.shared import (
    CarriedOptions,
    InputOptions,
    LabelOptions,
    ModelOptions,
    OutputOptions,
    ReportOptions,
    RunOptions,
    is_on_command_line,
)

if TYPE_CHECKING:
    from clipcli.output import Row, RowBlock
    from clipcli.runs.base import Run
    from clipcli.runs.classify.boxes import BoxesRun
    from clipcli.runs.classify.predictors import PredictorRun
    from clipcli.runs.classify.run import ClassifyRun
    from clipcli.session.session import Session

EVERYDAY = (
    "labels", "labels_file", "prompts", "head", "top_k", "threshold", "multi_label", "none", "groups", "expect_from",
    "min_accuracy", "report", "output", "format", "paths", "model", "device", "files_from", "null", "include",
    "exclude", "quiet",
)  # fmt: skip
"""Options in `--help`."""
EXAMPLES = (
    'clipcli classify photos/ -l cat,dog,"red car"',
    "clipcli classify photos/ -l cat,dog -o rows.csv",
    'find . -name "*.jpg" -print0 | clipcli classify - -0 -l cat,dog -f jsonl',
    "clipcli classify shop/ --expect-from parent --min-accuracy 0.95",
)


def classify(
    context: typer.Context,
    inputs: InputOptions,
    carried: CarriedOptions,
    regions: RegionOptions,
    labels: LabelOptions,
    score: ScoreOptions,
    check: CheckOptions,
    model: ModelOptions,
    out: OutputOptions,
    reports: ReportOptions,
    run: RunOptions,
) -> None:
    """Give each image the label that fits it best, without any training."""
    from clipcli.output import open_writer
    from clipcli.runs.base import execute
    from clipcli.runs.classify import model_of_vectors, plan_boxes, plan_command
    from clipcli.session.session import open_session

    console = run.console()
    job: ClassifyRun | PredictorRun | BoxesRun
    if regions.boxes is not None:
        job = plan_boxes(regions.boxes, inputs, labels, score, check, console=console, carried=carried)
    else:
        job = plan_command(inputs, labels, score, check, console, keep=carried.names, where=carried.condition())
    is_named = is_on_command_line(context, "model")
    choice = model_of_vectors(job.stored, model, console, is_named=is_named).choice()
    output, job.reporting = out.parse(null=inputs.null), reports.parse()
    opened = open_session(choice, console, run.session(inputs), expected_images=job.total)
    run_of: Run[Session, Row | RowBlock] = job
    raise typer.Exit(execute(run_of, opened, lambda _: open_writer(output), console))
