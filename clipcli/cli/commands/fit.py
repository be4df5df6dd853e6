"""`clipcli fit`: learn a head for `classify` from a few pictures of each label."""

from __future__ import annotations

import typer

from clipcli.options.fit import FitOptions
from clipcli.options.shared import InputOptions, LabelOptions, ModelOptions, RunOptions, is_on_command_line

EVERYDAY = (
    "output", "labels", "labels_file", "prompts", "expect_from", "method", "force", "format", "model", "device",
    "include", "quiet",
)  # fmt: skip
"""Options in `--help`."""
EXAMPLES = (
    "clipcli fit shoes/ -o shoes.head",
    "clipcli classify new/ --head shoes.head --none other",
)


def fit(
    context: typer.Context,
    inputs: InputOptions,
    labels: LabelOptions,
    options: FitOptions,
    model: ModelOptions,
    run: RunOptions,
) -> None:
    """Learn labels from a few pictures of each, and write a head for classify --head.

    If the head is not better than the labels' texts alone, nothing is written and the exit code is 1.
    """
    from clipcli.output import open_writer, parse_output
    from clipcli.runs.base import execute
    from clipcli.runs.classify import model_of_vectors
    from clipcli.runs.fit import plan
    from clipcli.session.session import open_session

    console = run.console()
    job, output = plan(inputs, labels, options, console), parse_output(options.format, None)
    is_named = is_on_command_line(context, "model")
    choice = model_of_vectors(job.job.stored, model, console, is_named=is_named).choice()
    opened = open_session(choice, console, run.session(inputs), expected_images=job.total)
    raise typer.Exit(execute(job, opened, lambda _: open_writer(output), console))
