"""`clipcli detect`: boxes for labels, with any model."""

from __future__ import annotations

import typer

from clipcli.options.detect import DetectOptions
from clipcli.options.shared import InputOptions, LabelOptions, ModelOptions, OutputOptions, RunOptions

EVERYDAY = (
    "labels", "labels_file", "prompts", "threshold", "crops", "output", "format", "paths", "model", "device",
    "files_from", "include", "exclude", "quiet",
)  # fmt: skip
"""What `--help` shows."""
EXAMPLES = (
    'clipcli detect photos/ -l "a dog,a ball"',
    "clipcli detect photos/ -l dog --threshold 0.7 --crops dogs/",
)


def detect(
    inputs: InputOptions,
    labels: LabelOptions,
    options: DetectOptions,
    model: ModelOptions,
    out: OutputOptions,
    run: RunOptions,
) -> None:
    """Find where the labels are in each image, coarsely: the best of many windows, as boxes in pixels."""
    from clipcli.output import open_writer
    from clipcli.runs.base import execute
    from clipcli.runs.detect import plan
    from clipcli.session.session import open_session

    console = run.console()
    job, output = plan(inputs, labels, options, console), out.parse(null=inputs.null)
    opened = open_session(model.choice(), console, run.session(inputs), expected_images=None)
    raise typer.Exit(execute(job, opened, lambda _: open_writer(output), console))
