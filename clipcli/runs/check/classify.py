"""A check of labels, carried out by `classify`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.output.reports import Reporting
from clipcli.runs.classify import ClassifyRun, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.core.console import Console
    from clipcli.errors import ExitCode
    from clipcli.inputs.collect import ImageRef
    from clipcli.options.classify import CheckOptions, ScoreOptions
    from clipcli.options.shared import InputOptions, LabelOptions
    from clipcli.output.reports import CheckReport
    from clipcli.runs.base import Advance
    from clipcli.session.session import Session


@dataclass(frozen=True)
class LabelCheck:
    """A checked and planned check of labels."""

    job: ClassifyRun
    images: int

    @classmethod
    def of(  # noqa: PLR0917 - one group of options each
        cls, name: str, inputs: InputOptions, labels: LabelOptions, score: ScoreOptions, check: CheckOptions,
        family: Sequence[ImageRef], console: Console,
    ) -> LabelCheck:  # fmt: skip
        """Check the options; `family` is all images of the check, whose folders may name the labels.

        Raises:
            ClipcliError: as `classify`.
        """
        job = plan(inputs, labels, score, check, console, family=family)
        job.name, job.reporting = name, Reporting(collect=True)
        return cls(job, len(inputs.images or ()))

    def run(self, session: Session, advance: Advance) -> tuple[CheckReport, ExitCode]:
        """Read every image, and return the report and the exit code."""
        for _ in self.job.rows(session, advance):
            pass
        self.job.report.summarise()
        return self.job.check_report(session.info.name), self.job.exit_code
