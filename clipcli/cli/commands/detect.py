"""`clipcli detect`: boxes for labels, with any model."""

from __future__ import annotations

from functools import partial

import typer

from clipcli.options.detect import BoxOutputOptions, DetectModelOptions, DetectOptions
from clipcli.options.shared import InputOptions, LabelOptions, RunOptions

EVERYDAY = (
    "labels", "labels_file", "prompts", "threshold", "multi_label", "crops", "report", "output", "format", "paths",
    "model", "device", "include", "exclude", "quiet",
)  # fmt: skip
"""Options in `--help`."""
EXAMPLES = (
    'clipcli detect photos/ -l "a dog,a ball"',
    "clipcli detect photos/ -l dog -m owlv2 -f coco -o boxes.json",
    "clipcli detect photos/ -l dog -m owlvit --crops dogs/",
)


def detect(
    inputs: InputOptions,
    labels: LabelOptions,
    options: DetectOptions,
    model: DetectModelOptions,
    out: BoxOutputOptions,
    run: RunOptions,
) -> None:
    """Find the labels in each image, as boxes in pixels.

    Detection models (-m owlv2, owlvit, grounding-dino) give tight boxes; other models give coarse ones.
    """
    from clipcli.models.loader import parse_detector
    from clipcli.runs.base import execute
    from clipcli.runs.detect import open_sink, plan, plan_detector
    from clipcli.session.detector_session import open_detector_session
    from clipcli.session.session import open_session

    console, output = run.console(), out.parse(null=inputs.null)
    choice, reading = model.choice(), run.session(inputs)
    detector = parse_detector(choice, console)
    if detector is not None:
        job = plan_detector(inputs, labels, options, console)
        opened = open_detector_session(detector, choice, console, reading)
        raise typer.Exit(execute(job, opened, partial(open_sink, output, job), console))
    coarse = plan(inputs, labels, options, console)
    session = open_session(choice, console, reading, expected_images=None)
    raise typer.Exit(execute(coarse, session, partial(open_sink, output, coarse), console))
