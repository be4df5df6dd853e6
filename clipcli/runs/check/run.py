"""All checks of a file: planned before any model is touched, run model by model, added up to one exit code."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from clipcli.core.console import printable
from clipcli.errors import ClipcliError, ExitCode
from clipcli.models.choice import Choice
from clipcli.output.reports import CheckReport
from clipcli.session.session import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.core.console import Console
    from clipcli.runs.base import Advance
    from clipcli.session.session import Session
    from clipcli.session.session_options import SessionOptions

_NO_CHOICE = Choice("tiny")
"""Of checks that need no model: nothing of it is looked at."""
_WEIGHT = (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.INPUTS, ExitCode.MODEL, ExitCode.CHECK_FAILED)


class Check(Protocol):
    """One check, ready to go."""

    @property
    def images(self) -> int:
        """Return how many images it reads."""
        ...

    def run(self, session: Session, advance: Advance) -> tuple[CheckReport, ExitCode]:
        """Carry the check out; `advance` is told of each image."""
        ...


@dataclass(frozen=True)
class Planned:
    """A check with the model that it needs."""

    name: str
    place: str
    """Where it stands, for messages: `clipcli.toml:12: check shop`."""
    check: Check | None
    """None where none of its images is among those that this run is about."""
    choice: Choice | None
    """None where no model is needed."""


@dataclass(frozen=True)
class CheckOutcome:
    """What all checks came to."""

    reports: tuple[CheckReport, ...]
    """In the order of the file."""
    exit_code: ExitCode


@contextmanager
def run_all(planned: Sequence[Planned], options: SessionOptions, console: Console) -> Iterator[CheckOutcome]:
    """Run the checks, each model loaded once; all its images go through before the next one takes its place.

    Where a fast-starting copy of a model is due, it is made when its checks are done; that of the last model after the
    block, which writes the rows.

    Raises:
        ModelError: a model cannot be had.
    """
    done: dict[int, tuple[CheckReport, ExitCode]] = {}
    with ExitStack() as stack:
        session: Session | None = None
        with console.progress(sum(plan.check.images for plan in planned if plan.check)) as advance:
            for choice, checks in _by_model(planned):
                if session is not None:
                    session.finish()
                stack.close()
                images = sum(check.images for _, check in checks)
                with named(planned[checks[0][0]].place):
                    opened = open_session(
                        choice or _NO_CHOICE, console, options, expected_images=images, needs_model=choice is not None
                    )  # fmt: skip
                    session = stack.enter_context(opened)
                for place, check in checks:
                    done[place] = _run(planned[place], check, session, advance, console)
        reports = tuple(done[place][0] if place in done else _empty(plan) for place, plan in enumerate(planned))
        yield CheckOutcome(reports, max((code for _, code in done.values()), key=_WEIGHT.index, default=ExitCode.OK))
        if session is not None:
            session.finish()


def _by_model(planned: Sequence[Planned]) -> list[tuple[Choice | None, list[tuple[int, Check]]]]:
    """Checks that have something to do, by model; those that need none come first."""
    groups: dict[Choice | None, list[tuple[int, Check]]] = {None: []}
    for place, plan in enumerate(planned):
        if plan.check is not None:
            groups.setdefault(plan.choice, []).append((place, plan.check))
    return [(choice, checks) for choice, checks in groups.items() if checks]


@contextmanager
def named(place: str) -> Iterator[None]:
    """Say of an error which check it is of."""
    try:
        yield
    except ClipcliError as error:
        error.message = f"{place}: {error.message}"
        raise


def _run(
    plan: Planned, check: Check, session: Session, advance: Advance, console: Console
) -> tuple[CheckReport, ExitCode]:
    with named(plan.place):
        report, code = check.run(session, advance)
    say = console.info if report.holds else console.line
    say(f"{printable(plan.name)} {'holds' if report.holds else 'fails'}: {report.outcome}")
    return report, code


def _empty(plan: Planned) -> CheckReport:
    return CheckReport(plan.name, (), holds=True, outcome="no image to check")


def summary(reports: Sequence[CheckReport]) -> str:
    """Return the one line at the end."""
    failing = sum(len(report.failed) for report in reports)
    holding = sum(report.holds for report in reports)
    images = sum(report.total for report in reports)
    checks = f"{holding} of {len(reports)} check{' holds' if len(reports) == 1 else 's hold'}"
    return f"{checks}; {failing} of {images} image{'' if images == 1 else 's'} not as expected"
