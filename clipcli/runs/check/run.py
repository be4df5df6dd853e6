"""Run all checks of a file model by model, and return one exit code. All are planned before a model is loaded."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from clipcli.core.console import printable
from clipcli.errors import ClipcliError, ExitCode
from clipcli.models.spec import Choice
from clipcli.output.reports import CheckReport
from clipcli.session.session import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.core.console import Console
    from clipcli.runs.base import Advance
    from clipcli.session.prepare import SessionOptions
    from clipcli.session.session import Session

_NO_CHOICE = Choice("tiny")
"""The choice for checks that need no model; it is not used."""
_WEIGHT = (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.INPUTS, ExitCode.MODEL, ExitCode.CHECK_FAILED)


class Check(Protocol):
    """One planned check."""

    @property
    def images(self) -> int:
        """Return the number of images to read."""
        ...

    def run(self, session: Session, advance: Advance) -> tuple[CheckReport, ExitCode]:
        """Run the check; `advance` is called for each image."""
        ...


@dataclass(frozen=True)
class Planned:
    """A check with its model."""

    name: str
    position: str
    """Its position for messages, such as `clipcli.toml:12: check shop`."""
    check: Check | None
    """The check; None if none of its images is selected."""
    choice: Choice | None
    """The model; None if none is needed."""


@dataclass(frozen=True)
class CheckOutcome:
    """The results of all checks."""

    reports: tuple[CheckReport, ...]
    """The reports, in the order of the file."""
    exit_code: ExitCode


@contextmanager
def run_all(planned: Sequence[Planned], options: SessionOptions, console: Console) -> Iterator[CheckOutcome]:
    """Run the checks model by model, so that each model is loaded once, and one at a time.

    Where a fast-starting copy of a model is due, it is made when its checks are done; that of the last model after the
    block, which writes the rows.

    Raises:
        ModelError: a model cannot be loaded.
    """
    results: dict[int, tuple[CheckReport, ExitCode]] = {}
    with ExitStack() as stack:
        session: Session | None = None
        with console.progress(sum(plan.check.images for plan in planned if plan.check)) as advance:
            for choice, checks in _by_model(planned):
                if session is not None:
                    session.finish()
                stack.close()
                images = sum(check.images for _, check in checks)
                with named(planned[checks[0][0]].position):
                    opened = open_session(
                        choice or _NO_CHOICE, console, options, expected_images=images, needs_model=choice is not None
                    )  # fmt: skip
                    session = stack.enter_context(opened)
                for index, check in checks:
                    results[index] = _run(planned[index], check, session, advance, console)
        reports = tuple(results[index][0] if index in results else _empty(plan) for index, plan in enumerate(planned))
        yield CheckOutcome(reports, max((code for _, code in results.values()), key=_WEIGHT.index, default=ExitCode.OK))
        if session is not None:
            session.finish()


def _by_model(planned: Sequence[Planned]) -> list[tuple[Choice | None, list[tuple[int, Check]]]]:
    """Return the checks with images, by model; those without a model come first."""
    groups: dict[Choice | None, list[tuple[int, Check]]] = {None: []}
    for index, plan in enumerate(planned):
        if plan.check is not None:
            groups.setdefault(plan.choice, []).append((index, plan.check))
    return [(choice, checks) for choice, checks in groups.items() if checks]


@contextmanager
def named(position: str) -> Iterator[None]:
    """Prefix errors inside the block with the position of their check."""
    try:
        yield
    except ClipcliError as error:
        error.message = f"{position}: {error.message}"
        raise


def _run(
    plan: Planned, check: Check, session: Session, advance: Advance, console: Console
) -> tuple[CheckReport, ExitCode]:
    with named(plan.position):
        report, code = check.run(session, advance)
    say = console.info if report.holds else console.line
    say(f"{printable(plan.name)} {'holds' if report.holds else 'fails'}: {report.outcome}")
    return report, code


def _empty(plan: Planned) -> CheckReport:
    return CheckReport(plan.name, (), holds=True, outcome="no image to check")


def summary(reports: Sequence[CheckReport]) -> str:
    """Return the summary in one line."""
    failing = sum(len(report.failed) for report in reports)
    holding = sum(report.holds for report in reports)
    images = sum(report.total for report in reports)
    checks = f"{holding} of {len(reports)} check{' holds' if len(reports) == 1 else 's hold'}"
    return f"{checks}; {failing} of {images} image{'' if images == 1 else 's'} not as expected"
