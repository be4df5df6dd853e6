"""What every command that uses a model has in common: a checked run, a session, rows as they come, an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from clipcli.core.console import Console
    from clipcli.errors import ExitCode

    Advance = Callable[[int], object]
    """Moves the progress bar on by so many inputs."""


class Finishable(Protocol):
    """A session, as far as the loop knows it."""

    def finish(self) -> None:
        """Do what was put off so that no answer came later for it."""
        ...


SessionT = TypeVar("SessionT", bound=Finishable)
SessionT_contra = TypeVar("SessionT_contra", bound=Finishable, contravariant=True)
RowT = TypeVar("RowT")
RowT_co = TypeVar("RowT_co", covariant=True)
RowT_contra = TypeVar("RowT_contra", contravariant=True)


class Sink(Protocol[RowT_contra]):
    """Where rows go: a writer of `clipcli.output`, or a file of vectors."""

    def write(self, row: RowT_contra) -> None:
        """Take one row. Raises OutputError."""
        ...


class Run(Protocol[SessionT_contra, RowT_co]):
    """One run of a command. Making it checks everything that was asked, before a model is touched."""

    @property
    def total(self) -> int | None:
        """Return how many inputs there are, for the progress bar; None for a list that is still coming."""
        ...

    @property
    def unit(self) -> str:
        """Return what an input is called: `image` or `text`."""
        ...

    def rows(self, session: SessionT_contra, advance: Advance) -> Iterator[RowT_co]:
        """Yield rows as they come. An input that fails is a row too, is counted, and is named on stderr."""
        ...

    def finish(self, session: SessionT_contra) -> ExitCode:
        """Say how it went, write the reports, and return the exit code."""
        ...


def execute(
    run: Run[SessionT, RowT],
    opened: AbstractContextManager[SessionT],
    open_sink: Callable[[SessionT], AbstractContextManager[Sink[RowT]]],
    console: Console,
) -> ExitCode:
    """Carry out a run, and return its exit code.

    Args:
        run: checked and ready.
        opened: its session, entered here.
        open_sink: makes the output; it is finished after the last row, before the run says how it went.
        console: shows the progress.

    Raises:
        ClipcliError: what ends a run as a whole: no model, no output, nothing in the inputs.
    """
    with opened as session:
        with open_sink(session) as sink, console.progress(run.total, run.unit) as advance:
            for row in run.rows(session, advance):
                sink.write(row)
        code = run.finish(session)
        session.finish()
    return code
