"""A check of the scores of predictors, carried out by `classify --head`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.core.console import RunSummary
from clipcli.errors import UsageError
from clipcli.output.reports import Reporting
from clipcli.runs.classify.predictors import PredictorRun, ScoreLimit, read_heads, require_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.config import CheckSpec, Config
    from clipcli.core.console import Console
    from clipcli.errors import ExitCode
    from clipcli.inputs.collect import ImageRef
    from clipcli.output.reports import CheckReport
    from clipcli.runs.base import Advance
    from clipcli.session.session import Session


@dataclass(frozen=True)
class LimitCheck:
    """A planned check of scores: every image should keep every limit."""

    job: PredictorRun
    images: int

    @classmethod
    def of(cls, spec: CheckSpec, config: Config, images: Sequence[ImageRef], console: Console) -> LimitCheck:
        """Read the predictors, and check that they give the scores that the limits name.

        Raises:
            LabelsError: a file of a predictor cannot be used.
            UsageError: a limit of a score that no predictor gives, or a head of `fit`, which gives labels.
        """
        heads, predictors = read_heads([config.head_beside(head) for head in spec.head])
        if heads:
            hint = "check its labels with expect, expect_from or forbid"
            raise UsageError("a head of clipcli fit has no scores for min and max", hint=hint)
        limits = []
        for key, bounds in (("min", spec.min), ("max", spec.max)):
            for name, bound in bounds.items():
                require_score(name, key, predictors)
                limits.append(ScoreLimit(name, bound, key == "min"))
        summary, reporting = RunSummary(console), Reporting(collect=True)
        job = PredictorRun(list(images), predictors, tuple(limits), summary, reporting, name=spec.name)
        return cls(job, len(images))

    def run(self, session: Session, advance: Advance) -> tuple[CheckReport, ExitCode]:
        """Read every image, and return the report and the exit code."""
        for _ in self.job.rows(session, advance):
            pass
        self.job.report.summarise()
        return self.job.check_report(session.info.name), self.job.exit_code
