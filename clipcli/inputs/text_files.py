"""Read text files that people write by hand; faults are reported with file and line."""

from __future__ import annotations

import re
import sys
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from clipcli.core.files import open_file
from clipcli.core.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.errors import InputsError

STDIN = "-"
_LARGEST = 64 << 20
"""Limit in bytes. A list of a million labels has 20 MB; a larger file is a mistake, and /dev/zero is endless."""
_SHOWN = 60
"""Most characters of a faulty line that a message repeats."""

_BOM = "\ufeff"
_ESCAPABLE = "\\:;#,@"
_PROTECT = {character: chr(code) for code, character in enumerate(_ESCAPABLE, start=1)}
_RESTORE = dict(enumerate(_ESCAPABLE, start=1))
_ESCAPE = re.compile(r"\\([\\:;#,@])")
_COMMENT = r"^#|(?<=\s)#(?=\s|$)"
_UNUSABLE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")
"""Control characters other than white space, and lone surrogates; no tokenizer can read them."""


class Fault(NamedTuple):
    """A fault in a file, and what to do about it."""

    source: str
    """The file as the user named it; `<stdin>` for `-`."""
    line: int | None
    """Line number from 1; None for a fault of the whole file."""
    problem: str
    suggestion: str = ""

    def __str__(self) -> str:
        """Return `file:line: problem`, a form that editors can jump to."""
        location = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{location}: {self.problem}"


@dataclass(frozen=True)
class Faults:
    """Collects the faults of one file."""

    source: str
    entries: list[Fault] = field(default_factory=list)

    def add(self, line: int | None, problem: str, suggestion: str = "") -> None:
        """Add a fault."""
        self.entries.append(Fault(self.source, line, problem, suggestion))

    def in_order(self) -> list[Fault]:
        """Return the faults by line, those of the whole file first."""
        return sorted(self.entries, key=lambda fault: fault.line or 0)


def refuse(faults: Sequence[Fault], error: type[InputsError], *, see_all: str = "") -> NoReturn:
    """Raise `error` for the first fault, with the number of further ones; `see_all` tells how to list them."""
    first, remaining = faults[0], len(faults) - 1
    message = f"{first} (and {remaining} more fault{'' if remaining == 1 else 's'})" if remaining else str(first)
    hints = [first.suggestion, see_all if remaining else ""]
    raise error(message, hint="; ".join(hint for hint in hints if hint) or None)


def shown_name(path: str) -> str:
    """Return the name of a file in messages."""
    return "<stdin>" if path == STDIN else path


def read_text(path: str, *, errors: str = "strict") -> str | Fault:
    r"""Return the text of a UTF-8 file (`-` is stdin) without byte order mark and with `\n` line ends, or its fault.

    Args:
        path: as the user wrote it.
        errors: handling of bytes that are not UTF-8; `surrogateescape` preserves file names.
    """
    source = shown_name(path)
    try:
        data = _read_bytes(path)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        return Fault(source, None, f"cannot be read: {reason}")
    if len(data) > _LARGEST:
        return Fault(source, None, f"is larger than {_LARGEST >> 20} MB; is it the right file?")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Fault(source, None, "is UTF-16 text", f"save it as UTF-8 (iconv -f UTF-16 -t UTF-8 {source})")
    if b"\0" in data:
        return Fault(source, data[: data.index(b"\0")].count(b"\n") + 1, "holds a NUL byte; it is not a text file")
    try:
        text = data.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        save = f"save it as UTF-8 (western text: iconv -f WINDOWS-1252 -t UTF-8 {source})"
        return Fault(source, line, f"byte 0x{data[error.start]:02x} is not UTF-8", save)
    return text.removeprefix(_BOM).replace("\r\n", "\n").replace("\r", "\n")


def _read_bytes(path: str) -> bytes:
    if path == STDIN:
        return sys.stdin.buffer.read(_LARGEST + 1)
    with open_file(path) as stream:
        pieces: list[bytes] = []
        while sum(map(len, pieces)) <= _LARGEST and (piece := stream.read(_LARGEST + 1)):
            pieces.append(piece)
    return b"".join(pieces)[: _LARGEST + 1]


def content_lines(text: str, faults: Faults) -> Iterator[tuple[int, str]]:
    """Yield number and content of each line that is neither blank nor a comment.

    A comment starts with `#` at the beginning of a line, or with `#` between white space. Backslash escapes are
    protected, so that the caller can split at separators; `plain` turns the pieces into text. Lines with characters
    that no tokenizer can read are added to `faults` instead.
    """
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.replace(_BOM, "").strip()  # files joined with cat keep their inner byte order marks
        if not line or line.startswith("#"):
            continue
        if problem := unusable(line):
            faults.add(number, problem)
            continue
        line = protect(line)
        if comment := re.search(_COMMENT, line):
            line = line[: comment.start()].rstrip()
        if line:
            yield number, line


def unusable(text: str) -> str | None:
    """Return the problem with a text as label or prompt, or None."""
    match = _UNUSABLE.search(text)
    return f"character U+{ord(match[0]):04X} is not allowed in a text" if match else None


def protect(text: str) -> str:
    """Replace backslash escapes with control characters, so that the text can be split at separators."""
    return _ESCAPE.sub(lambda match: _PROTECT[match[1]], text) if "\\" in text else text


def plain(piece: str) -> str:
    """Return the text of a piece of a protected line."""
    return tidy(piece.translate(_RESTORE))


def tidy(text: str) -> str:
    """Return the text with single spaces, stripped and in composed form (NFC), so that equal names are equal texts."""
    joined = " ".join(text.replace(_BOM, "").split())
    return joined if joined.isascii() else unicodedata.normalize("NFC", joined)


def escape(text: str, separators: str = "") -> str:
    """Escape tidy text, the reverse of `plain`; `separators` is a regular expression of the line's separators."""
    special = f"{_COMMENT}|{separators}" if separators else _COMMENT
    return re.sub(special, lambda match: "\\" + match[0], text.replace("\\", "\\\\"))


def quoted(text: str) -> str:
    """Return a piece of the user's text for a message, shortened if it is long."""
    text = redact(text)
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
