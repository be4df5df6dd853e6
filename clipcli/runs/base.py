"""The common structure of commands that use a model: a checked run, a session, streamed rows, an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from clipcli.core.garbage import collect_as_usual

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from clipcli.core.console import Console
    from clipcli.errors import ExitCode

    Advance = Callable[[int], object]
    """Moves the progress bar on by so many inputs."""


class Finishable(Protocol):
    """The part of a session that `execute` needs."""

    def finish(self) -> None:
        """Do the work that was deferred until after the last row."""
        ...


SessionT = TypeVar("SessionT", bound=Finishable)
SessionT_contra = TypeVar("SessionT_contra", bound=Finishable, contravariant=True)
RowT = TypeVar("RowT")
RowT_co = TypeVar("RowT_co", covariant=True)
RowT_contra = TypeVar("RowT_contra", contravariant=True)


class Sink(Protocol[RowT_contra]):
    """The target of rows: a writer of `clipcli.output`, or a file of vectors."""

    def write(self, row: RowT_contra) -> None:
        """Write one row. Raises OutputError."""
        ...


class Run(Protocol[SessionT_contra, RowT_co]):
    """One run of a command. Its options are checked on creation, before a model is loaded."""

    @property
    def total(self) -> int | None:
        """Return the number of inputs for the progress bar, or None if unknown."""
        ...

    @property
    def unit(self) -> str:
        """Return the name of an input: `image` or `text`."""
        ...

    def rows(self, session: SessionT_contra, advance: Advance) -> Iterator[RowT_co]:
        """Yield rows as they come. An input that fails is a row too, is counted, and is named on stderr."""
        ...

    def finish(self, session: SessionT_contra) -> ExitCode:
        """Print the summary, write the reports, and return the exit code."""
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
        opened: its session, which is entered here.
        open_sink: opens the output, which is finished after the last row, before the summary.
        console: shows the progress.

    Raises:
        ClipcliError: the whole run fails: no model, no output, or no usable inputs.
    """
    collect_as_usual()
    with opened as session:
        with open_sink(session) as sink, console.progress(run.total, run.unit) as advance:
            for row in run.rows(session, advance):
                sink.write(row)
        code = run.finish(session)
        session.finish()
    return code
