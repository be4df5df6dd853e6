"""Messages and the summary of a run, for the user. They all go to stderr, so that stdout holds data only."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clipcli.core.redaction import redact
from clipcli.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tqdm import tqdm

    from clipcli.errors import ImageError

_DELAY = 0.5
"""Seconds before a progress bar appears; shorter work needs none."""
_BARS: list[tqdm[None]] = []
"""The open progress bars of this process, outermost first; a terminal shows them in its last lines."""
_HASH_COMMAND = re.compile(r"##(?=[\w.-]*\[)")
_COLON_COMMAND = re.compile(r"(^|[\r\n])(\s*)::")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SUSPECT = re.compile(rb"##|::|[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")
_NO = {"", "0", "false", "no", "off"}
_BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def printable(text: str) -> str:
    r"""Return a text without terminal control: control, bidirectional and undecodable characters become escapes.

    Newline and tab become `\\n` and `\\t`, undecodable bytes `\\xff`, other characters their code point.
    """
    if text.isprintable():
        return text
    return "".join(_escape(character) for character in text)


def _escape(character: str) -> str:
    if character.isprintable() and unicodedata.bidirectional(character) not in _BIDIRECTIONAL:
        return character
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    if unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")


def disarm(text: str) -> str:
    r"""Return a text without workflow commands, such as `::error::` or `##[…]`, that a CI server would run.

    GitHub's runner executes lines that begin with two colons; Azure, TeamCity and older GitHub runners execute two
    hashes and a word before a bracket. This function puts a backslash between the marks.
    """
    if "##" in text:
        text = _HASH_COMMAND.sub(r"#\\#", text)
    return _COLON_COMMAND.sub(r"\1\2:\\:", text) if "::" in text else text


def disarm_log(data: bytes) -> bytes:
    """Return the bytes of a log without workflow commands and control characters; newlines and tabs stay."""
    if not _SUSPECT.search(data):
        return data
    text = _CONTROL.sub(lambda match: _escape(match[0]), data.decode("utf-8", "surrogateescape"))
    return disarm(text).encode("utf-8", "surrogateescape")


def is_build_log() -> bool:
    """Return whether the output of this process probably goes to the log of a CI server."""
    return any(os.environ.get(name, "").strip().casefold() not in _NO for name in ("CI", "GITHUB_ACTIONS", "TF_BUILD"))


@contextmanager
def above_bars() -> Iterator[None]:
    """Clear the progress bars while something is written to their terminal, then draw them again below it."""
    if not _BARS:
        yield
        return
    with _BARS[0].get_lock():
        visible = [bar for bar in _BARS if bar.last_print_t >= bar.start_t + bar.delay]
        for bar in visible:
            bar.clear(nolock=True)
        yield
        for bar in visible:
            bar.refresh(nolock=True)


@dataclass
class Console:
    """Print messages: failures and warnings always, notes unless `-q`, details only with `-v`."""

    quiet: bool = False
    verbose: bool = False
    _printed: set[str] = field(default_factory=set, repr=False)

    def line(self, text: str) -> None:
        """Write one line to stderr, above the progress bar if there is one; ignore a stderr that cannot be written."""
        safe = disarm("clipcli: " + "\n".join(printable(part) for part in redact(text).split("\n")))
        with suppress(OSError), above_bars():
            sys.stderr.write(safe + "\n")
            sys.stderr.flush()

    def warning(self, text: str) -> None:
        """Print what the user should know even with `-q`."""
        self.line(f"warning: {text}")

    def info(self, text: str) -> None:
        """Print a note, unless `-q` was given."""
        if not self.quiet:
            self.line(text)

    def info_once(self, text: str) -> None:
        """Print a note the first time only."""
        if text not in self._printed:
            self._printed.add(text)
            self.info(text)

    def debug(self, text: str) -> None:
        """Print a detail if `-v` was given."""
        if self.verbose:
            self.line(text)

    def debug_once(self, text: str) -> None:
        """Print a detail the first time only."""
        if text not in self._printed:
            self._printed.add(text)
            self.debug(text)

    def meanwhile(self, text: str) -> None:
        """Print why the program is busy for some seconds, on a terminal or with `-v`."""
        if self.verbose or (not self.quiet and sys.stderr.isatty()):
            self.line(text)

    @contextmanager
    def progress(self, total: int | None, unit: str = "image", *, doing: str = "") -> Iterator[Callable[[int], object]]:
        """Show a progress bar if stderr is a terminal; yield the function that advances it by n.

        Args:
            total: number of units, or None where it is unknown.
            unit: what is counted, singular.
            doing: name of the step, in a run of several steps.
        """
        if self.quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            yield lambda _steps: None
            return
        from tqdm import tqdm

        with tqdm(
            total=total,
            desc=doing or None,
            unit=f" {unit}",
            file=sys.stderr,
            dynamic_ncols=True,
            leave=False,
            delay=_DELAY,
        ) as bar:
            _BARS.append(bar)
            try:
                yield bar.update
            finally:
                _BARS.remove(bar)


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
