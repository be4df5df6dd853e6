"""`clipcli calibrate`: thresholds that mean something, from a few labelled images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.commands.classify import CheckOptions, ScoreOptions
from clipcli.options import InputOptions, LabelOptions, ModelOptions, RunOptions

EPILOG = """Examples:

clipcli calibrate labelled/ -o thresholds.json

clipcli classify new/ --thresholds thresholds.json"""


@dataclass(frozen=True)
class CalibrateOptions:
    """What is looked for, and where it goes."""

    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="The thresholds, for classify --thresholds."),
    ]
    expect_from: Annotated[
        str,
        typer.Option(
            "--expect-from", metavar="parent|FILE",
            help="An image's label: its folder's name (parent), or a .csv or .jsonl of path and label.",
        ),
    ] = "parent"  # fmt: skip
    objective: Annotated[
        str,
        typer.Option("--objective", metavar="f1|decisions", help="Best F1, or most right acceptances and refusals."),
    ] = "f1"
    precision_target: Annotated[
        float | None,
        typer.Option(
            "--precision-target", metavar="P", min=0.0, max=1.0,
            help="The lowest thresholds of this precision, in place of that.",
        ),
    ] = None  # fmt: skip
    multi_label: Annotated[
        bool, typer.Option("--multi-label", help="For classify --multi-label: every label for itself.")
    ] = False
    background: Annotated[
        list[str] | None,
        typer.Option("--background", metavar="TEXT", help="What 'none of these' looks like, as in classify."),
    ] = None
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the folds and the bootstrap.")] = 0
    format: Annotated[
        str, typer.Option("--format", "-f", metavar="FORMAT", help="Of the rows: auto, table, tsv, csv, jsonl, json.")
    ] = "auto"


def calibrate(
    inputs: InputOptions, labels: LabelOptions, options: CalibrateOptions, model: ModelOptions, run: RunOptions
) -> None:
    """Find a temperature and a threshold a label from labelled images: a folder a label, or a table."""
    from clipcli.calibration import CalibratedRow, parse_goal, plan
    from clipcli.errors import UsageError
    from clipcli.output import open_writer, parse_output
    from clipcli.output.targets import open_target
    from clipcli.session import open_session
    from clipcli.thresholdfile import write_thresholds

    if options.output == "-":
        raise UsageError("rows go to stdout, so the thresholds need a file", hint="-o thresholds.json")
    talk, goal = run.talk(), parse_goal(options.objective, options.precision_target)
    score = ScoreOptions(multi_label=options.multi_label, background=options.background)
    job = plan(inputs, labels, score, CheckOptions(expect_from=options.expect_from), talk)
    output, choice, images = parse_output(options.format, None), model.choice(), job.job.expected_images
    with open_session(choice, talk, run.session(inputs), expected_images=images) as session:
        with open_target(options.output) as target:
            with talk.progress(images) as advance:
                found = job.run(session, advance, goal, options.seed)
            write_thresholds(found, target)
        with open_writer(output) as writer:
            for entry in found.labels:
                writer.write(CalibratedRow(entry))
        code = job.conclude()
        session.finish()
    raise typer.Exit(code)
