"""Count the inputs of a run: one line per failure, a summary, and the exit code."""

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
    """The counts of one run, and the exit code that follows from them."""

    console: Console
    done: int = 0
    failed: int = 0
    checks_failed: int = 0
    failed_in_model: int = 0
    """Failed inputs that could be read, but for which the model gave no meaningful vector."""

    def ok(self) -> None:
        """Count an input with a result."""
        self.done += 1

    def fail(self, name: str, error: ImageError) -> None:
        """Count an input without a result, and name it on stderr."""
        self.failed += 1
        self.failed_in_model += error.stage == "encode"
        display_name = printable(name) if name.strip() == name else f"'{printable(name)}'"
        prefix = f"{display_name}: " if name else ""  # a row without a text: the reason says where it is
        self.console.line(f"{prefix}{error.reason} ({error.stage})")

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code.

        A failed check comes first, then "no usable input" (due to the model or the inputs), then "some inputs failed".
        """
        if self.checks_failed:
            return ExitCode.CHECK_FAILED
        if self.failed and not self.done:
            return ExitCode.MODEL if self.failed_in_model else ExitCode.INPUTS
        return ExitCode.SOME_FAILED if self.failed else ExitCode.OK

    def summarise(self, unit: str = "image") -> None:
        """Print one closing line if an input failed."""
        if not self.failed:
            return
        total = self.done + self.failed
        self.console.line(f"{self.failed} of {total} {unit}{'' if total == 1 else 's'} could not be used")
