"""`clipcli calibrate`: find thresholds from a few labelled images."""

from __future__ import annotations

import typer

from clipcli.options.calibrate import CalibrateOptions
from clipcli.options.shared import InputOptions, LabelOptions, ModelOptions, RunOptions, is_on_command_line

EVERYDAY = (
    "output", "labels", "labels_file", "prompts", "expect_from", "objective", "target_precision", "multi_label",
    "background", "report", "format", "model", "device", "include", "exclude", "verbose", "quiet",
)  # fmt: skip
"""Options in `--help`."""
EXAMPLES = (
    "clipcli calibrate labelled/ -o thresholds.json",
    "clipcli calibrate labelled/ -o thresholds.json --report curves.html",
    "clipcli classify new/ --thresholds thresholds.json",
)


def calibrate(
    context: typer.Context,
    inputs: InputOptions,
    labels: LabelOptions,
    options: CalibrateOptions,
    model: ModelOptions,
    run: RunOptions,
) -> None:
    """Find a temperature and a threshold for each label, from labelled images: one folder per label, or a table."""
    from clipcli.output import open_writer, parse_output
    from clipcli.runs.base import execute
    from clipcli.runs.calibrate import plan
    from clipcli.runs.classify import model_of_vectors
    from clipcli.session.session import open_session

    console = run.console()
    job, output = plan(inputs, labels, options, console), parse_output(options.format, None)
    is_named = is_on_command_line(context, "model")
    choice = model_of_vectors(job.job.stored, model, console, is_named=is_named).choice()
    opened = open_session(choice, console, run.session(inputs), expected_images=job.total)
    raise typer.Exit(execute(job, opened, lambda _: open_writer(output), console))
