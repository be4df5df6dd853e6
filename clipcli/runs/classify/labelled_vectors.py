"""Vectors of labelled images, from which `calibrate` and `fit` learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipcli.core.vectors import stack
from clipcli.errors import InputsError, ModelError

if TYPE_CHECKING:
    import numpy.typing as npt

    from clipcli.core.vectors import Vectors
    from clipcli.runs.base import Advance
    from clipcli.runs.classify.run import ClassifyRun
    from clipcli.session.session import Session

_NAMED = 5
_FEWEST = 2


@dataclass(frozen=True)
class LabelledVectors:
    """The images of a run that have a right label and could be read."""

    vectors: Vectors
    """(images, dim), unit length."""
    truth: npt.NDArray[np.int64]
    """(images,): index of the right label, -1 if it is not one of the run's labels."""


def read_labelled(job: ClassifyRun, session: Session, advance: Advance, purpose: str) -> LabelledVectors:
    """Embed the images of a run that have an expected label.

    Args:
        job: a run with expectations.
        session: the model.
        advance: moves the progress bar.
        purpose: a verb for the message about too few images, such as `calibrate`.

    Raises:
        ModelError: the model gave no image a usable vector.
        InputsError: fewer than two images, or none with one of the labels.
    """
    names = [label.name for label in job.labels]
    numbers = {name: number for number, name in enumerate(names)}
    vectors, truth, strangers, several = [], [], set(), 0
    for embedded in job.embedded(session):
        advance(1)
        right = job.expected.of(embedded.ref, names) if job.expected else ()
        if embedded.error is not None:
            job.report.fail(embedded.ref.name, embedded.error)
        elif embedded.vector is not None and right:
            job.report.ok()
            several += len(right) > 1
            vectors.append(embedded.vector)
            truth.append(numbers.get(right[0], -1))
            strangers |= {right[0]} - set(names)
    if not truth and job.report.failed_in_model:
        raise ModelError("the model gave no image a usable vector", hint="name another model with -m")
    if not set(truth) - {-1} or len(truth) < _FEWEST:
        raise InputsError(f"too few labelled images to {purpose}", hint="a folder per label, with images in each")
    if strangers:
        shown = ", ".join(sorted(strangers)[:_NAMED])
        job.report.console.info(f"{truth.count(-1)} images of no label count as none of these ({shown})")
    if several:
        job.report.console.info(f"{several} images have several right labels: the first of each counts here")
    return LabelledVectors(stack(vectors, session.info.dim), np.array(truth, np.int64))
