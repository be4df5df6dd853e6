"""A check of labels: what `classify` would be asked, and what it found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.classification import Classification, plan
from clipcli.reports import Reporting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clipcli.errors import ExitCode
    from clipcli.inputs import ImageRef
    from clipcli.options import InputOptions, LabelOptions
    from clipcli.options.classify import CheckOptions, ScoreOptions
    from clipcli.reports import CheckReport
    from clipcli.session import Session
    from clipcli.talk import Talk


@dataclass(frozen=True)
class LabelCheck:
    """Planned, and ready to go."""

    job: Classification
    images: int

    @classmethod
    def of(  # noqa: PLR0917 - a group of options each
        cls, name: str, inputs: InputOptions, labels: LabelOptions, score: ScoreOptions, check: CheckOptions,
        family: Sequence[ImageRef], talk: Talk,
    ) -> LabelCheck:  # fmt: skip
        """Check everything that was asked; `family` is all images of the check, whose folders may name the labels.

        Raises:
            ClipcliError: as `classify` would.
        """
        job = plan(inputs, labels, score, check, talk, family=family)
        job.name, job.reporting = name, Reporting(collect=True)
        return cls(job, len(inputs.images or ()))

    def run(self, session: Session | None, advance: Callable[[int], object]) -> tuple[CheckReport, ExitCode]:
        """Every image, then the verdict."""
        assert session is not None  # noqa: S101 - labels need a model
        for _ in self.job.rows(session):
            advance(1)
        self.job.report.summarise()
        return self.job.check_report(session.info.name), self.job.exit_code
