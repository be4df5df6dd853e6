"""What clipcli says to a person: everything on stderr, so that stdout stays data."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clipcli.core.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tqdm import tqdm

_DELAY = 0.5
"""Seconds before a bar shows: shorter work needs none."""
_BARS: list[tqdm[None]] = []
"""The bars of this process, one within the other; a terminal has them in its last lines."""
_HASH_COMMAND = re.compile(r"##(?=[\w.-]*\[)")
_COLON_COMMAND = re.compile(r"(^|[\r\n])(\s*)::")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SUSPECT = re.compile(rb"##|::|[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")
_NO = {"", "0", "false", "no", "off"}
_BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def printable(text: str) -> str:
    r"""Return a text that cannot steer a terminal: control, bidirectional and undecodable characters become escapes.

    `\\n` and `\\t` are spelt so, undecodable bytes as `\\xff`, anything else by its code point.
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
    r"""A text in which no line can command the server of a build that reads the log, such as `::error::` or `##[…]`.

    GitHub's runner obeys lines that begin with two colons, Azure's, TeamCity's and older runners of GitHub two hashes
    and a word before a bracket. A backslash goes between the marks.
    """
    if "##" in text:
        text = _HASH_COMMAND.sub(r"#\\#", text)
    return _COLON_COMMAND.sub(r"\1\2:\\:", text) if "::" in text else text


def disarm_log(data: bytes) -> bytes:
    """Return the same for bytes that go into a log, where control characters are escapes too; lines and tabs stay."""
    if not _SUSPECT.search(data):
        return data
    text = _CONTROL.sub(lambda match: _escape(match[0]), data.decode("utf-8", "surrogateescape"))
    return disarm(text).encode("utf-8", "surrogateescape")


def is_build_log() -> bool:
    """Return whether the output of this process is likely to become the log of a build, which a server reads."""
    return any(os.environ.get(name, "").strip().casefold() not in _NO for name in ("CI", "GITHUB_ACTIONS", "TF_BUILD"))


@contextmanager
def above_bars() -> Iterator[None]:
    """Bars step aside while something is written to their terminal, and come back below it."""
    if not _BARS:
        yield
        return
    with _BARS[0].get_lock():
        shown = [bar for bar in _BARS if bar.last_print_t >= bar.start_t + bar.delay]
        for bar in shown:
            bar.clear(nolock=True)
        yield
        for bar in shown:
            bar.refresh(nolock=True)


@dataclass
class Console:
    """How much to say. Failures and warnings are always said; notes not with `-q`; details only with `-v`."""

    quiet: bool = False
    verbose: bool = False
    _said: set[str] = field(default_factory=set, repr=False)

    def line(self, text: str) -> None:
        """Write one line to stderr, above the progress bar if there is one; where that takes nothing, say nothing."""
        safe = disarm("clipcli: " + "\n".join(printable(part) for part in redact(text).split("\n")))
        with suppress(OSError), above_bars():
            sys.stderr.write(safe + "\n")
            sys.stderr.flush()

    def warning(self, text: str) -> None:
        """Something the user should know even with `-q`."""
        self.line(f"warning: {text}")

    def info(self, text: str) -> None:
        """Something worth a line in an ordinary run."""
        if not self.quiet:
            self.line(text)

    def info_once(self, text: str) -> None:
        """A note that is not repeated within one run."""
        if text not in self._said:
            self._said.add(text)
            self.info(text)

    def debug(self, text: str) -> None:
        """Something for who asked with `-v`."""
        if self.verbose:
            self.line(text)

    def debug_once(self, text: str) -> None:
        """A detail that is not repeated within one run."""
        if text not in self._said:
            self._said.add(text)
            self.debug(text)

    def meanwhile(self, text: str) -> None:
        """Say why nothing moves for seconds, on a terminal or with `-v`."""
        if self.verbose or (not self.quiet and sys.stderr.isatty()):
            self.line(text)

    @contextmanager
    def progress(self, total: int | None, unit: str = "image", *, doing: str = "") -> Iterator[Callable[[int], object]]:
        """A bar on stderr when that is a terminal that can redraw a line; yields the function that moves it on by n.

        `doing` names the step where a run has several.
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
