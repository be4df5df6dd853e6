"""Check the options of `fit` before a model is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipcli.core.optional_packages import require_packages
from clipcli.errors import UsageError, did_you_mean
from clipcli.options.classify import CheckOptions, ScoreOptions
from clipcli.runs import classify
from clipcli.runs.fit.run import FEWEST_LABELS, FitRun
from clipcli.tasks.fit import METHODS

if TYPE_CHECKING:
    from clipcli.core.console import Console
    from clipcli.options.fit import FitOptions
    from clipcli.options.shared import InputOptions, LabelOptions


def plan(inputs: InputOptions, labels: LabelOptions, options: FitOptions, console: Console) -> FitRun:
    """Check the options before a model is loaded.

    Raises:
        UsageError: an unknown method, stdout for both rows and head, or a single label.
        PackageMissingError: scipy is not installed.
        ClipcliError: as `classify`.
    """
    if options.output == "-":
        raise UsageError("rows go to stdout, so the head needs a file", hint="-o shoes.head")
    if options.method not in METHODS:
        known = ", ".join(METHODS)
        hint = did_you_mean(options.method, METHODS) or f"one of {known}"
        raise UsageError(f"no method {options.method!r}", hint=hint)
    require_packages("fit", "learning a head")
    check = CheckOptions(expect_from=options.expect_from)
    job = classify.plan(inputs, labels, ScoreOptions(), check, console)
    if len(job.labels) < FEWEST_LABELS:
        hint = "add a folder with other pictures"
        raise UsageError(f"a single label, {job.labels[0].name}, cannot be learned", hint=hint)
    return FitRun(job, options.method, options.seed, options.output, force=options.force)
