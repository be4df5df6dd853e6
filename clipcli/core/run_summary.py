"""What happened to each input: the one line a failure gets, the summary, and the exit code they add up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.core.console import printable
from clipcli.errors import ExitCode

if TYPE_CHECKING:
    from clipcli.core.console import Console
    from clipcli.errors import ImageError


@dataclass
class RunSummary:
    """Counts of one run. `exit_code` follows from them, so a run with failures never ends in 0."""

    console: Console
    done: int = 0
    failed: int = 0
    checks_failed: int = 0
    failed_in_model: int = 0
    """Of the failed: inputs that are good, and to which the model had no meaningful answer."""

    def ok(self) -> None:
        """Count an input that gave a result."""
        self.done += 1

    def fail(self, name: str, error: ImageError) -> None:
        """Count an input that gave none, and name it on stderr."""
        self.failed += 1
        self.failed_in_model += error.stage == "encode"
        shown = printable(name) if name.strip() == name else f"'{printable(name)}'"
        which = f"{shown}: " if name else ""  # a row without a text: the reason says where it is
        self.console.line(f"{which}{error.reason} ({error.stage})")

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code: a failed check weighs most, then nothing usable (the model's fault or the inputs').

        Then some failures.
        """
        if self.checks_failed:
            return ExitCode.CHECK_FAILED
        if self.failed and not self.done:
            return ExitCode.MODEL if self.failed_in_model else ExitCode.INPUTS
        return ExitCode.SOME_FAILED if self.failed else ExitCode.OK

    def summarise(self, unit: str = "image") -> None:
        """Close the run with one line when something failed; a clean run needs no word."""
        if not self.failed:
            return
        total = self.done + self.failed
        self.console.line(f"{self.failed} of {total} {unit}{'' if total == 1 else 's'} could not be used")
