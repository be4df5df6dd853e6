"""A check of images and their own texts, carried out by `score`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.options.score import PairOptions
from clipcli.output.reports import Reporting
from clipcli.runs.check.selection import canonical
from clipcli.runs.score.run import ScoreRun, ScoreSessions
from clipcli.runs.score.validate import plan

if TYPE_CHECKING:
    from collections.abc import Collection

    from clipcli.config import CheckSpec, Config
    from clipcli.core.console import Console
    from clipcli.errors import ExitCode
    from clipcli.inputs.image_texts import Pair
    from clipcli.inputs.sources.patterns import Globs
    from clipcli.options.score import ScoreLimitOptions
    from clipcli.output.reports import CheckReport
    from clipcli.runs.base import Advance
    from clipcli.session.session import Session


@dataclass(frozen=True)
class PairCheck:
    """A planned check of pairs: each image should be like its text."""

    job: ScoreRun
    images: int

    @classmethod
    def of(
        cls,
        spec: CheckSpec,
        config: Config,
        limits: ScoreLimitOptions,
        console: Console,
        *,
        only: Collection[str] | None,
        globs: Globs,
    ) -> PairCheck | None:
        """Read the pairs; None if none of them is selected.

        Args:
            spec: the check.
            config: its file, whose folder the names are relative to.
            limits: the score that pairs should reach, and the share of them that has to.
            console: gets notes and failures.
            only: canonical paths of the files to check; None means all. A pair is checked for its image or its text.
            globs: the filter of the command line.

        Raises:
            InputsError: a table or a list cannot be used, or there are no pairs at all.
        """
        inputs = PairOptions(
            images=[config.beside(name) for name in spec.pairs], column=spec.image, text=spec.text,
            include=list(globs.include) or None, exclude=list(globs.exclude) or None,
            prompts=[config.beside(name) for name in spec.prompts] or None,
        )  # fmt: skip
        job = plan(inputs, (), limits, console)
        pairs = list(job.pairs)
        if only is not None:
            stems = {os.path.splitext(path)[0] for path in only}  # noqa: PTH122 - any bytes
            pairs = [pair for pair in pairs if _stem(pair) in stems]
        if not pairs:
            return None
        job.pairs, job.expected, job.name, job.reporting = pairs, len(pairs), spec.name, Reporting(collect=True)
        return cls(job, len(pairs))

    def run(self, session: Session, advance: Advance) -> tuple[CheckReport, ExitCode]:
        """Score every pair, and return the report and the exit code."""
        for _ in self.job.rows(ScoreSessions({session.info.name: session}), advance):
            pass
        self.job.report.summarise("pair")
        return self.job.check_report(session.info.name), self.job.exit_code


def _stem(pair: Pair) -> str:
    """Return the canonical path of a pair's image without its suffix, which its text file shares."""
    return os.path.splitext(canonical(pair.ref.path))[0]  # noqa: PTH122
