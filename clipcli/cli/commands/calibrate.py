"""`clipcli calibrate`: thresholds that mean something, from a few labelled images."""

from __future__ import annotations

import typer

from clipcli.options.calibrate import CalibrateOptions
from clipcli.options.classify import CheckOptions, ScoreOptions
from clipcli.options.shared import LabelledInputOptions, LabelOptions, ModelOptions, RunOptions

EPILOG = """Examples:

clipcli calibrate labelled/ -o thresholds.json

clipcli classify new/ --thresholds thresholds.json"""


def calibrate(
    inputs: LabelledInputOptions, labels: LabelOptions, options: CalibrateOptions, model: ModelOptions, run: RunOptions
) -> None:
    """Find a temperature and a threshold a label from labelled images: a folder a label, or a table."""
    from clipcli.errors import UsageError
    from clipcli.output import open_writer, parse_output
    from clipcli.output.targets import open_target
    from clipcli.runs.calibrate import CalibratedRow, parse_goal, plan
    from clipcli.runs.classify.threshold_file import write_thresholds
    from clipcli.session.session import open_session

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
