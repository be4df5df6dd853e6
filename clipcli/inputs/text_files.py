"""Text files that people write by hand: bytes become lines, and what is wrong is named with file and line."""

from __future__ import annotations

import re
import sys
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from clipcli.core.files import open_file
from clipcli.core.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.errors import InputsError

STDIN = "-"
_LARGEST = 64 << 20
"""Bytes. A list of a million labels has 20 MB; a file above this is a mistake, and /dev/zero has no end."""
_SHOWN = 60
"""Characters of a faulty line that a message repeats."""

_BOM = "\ufeff"
_ESCAPABLE = "\\:;#,@"
_PROTECT = {character: chr(code) for code, character in enumerate(_ESCAPABLE, start=1)}
_RESTORE = dict(enumerate(_ESCAPABLE, start=1))
_ESCAPE = re.compile(r"\\([\\:;#,@])")
_COMMENT = r"^#|(?<=\s)#(?=\s|$)"
_UNUSABLE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")
"""Control characters that are not white space, and halves of surrogate pairs: no tokenizer can read them."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a file, and what to do about it."""

    source: str
    """The file as the user named it; `<stdin>` for `-`."""
    line: int | None
    """Counted from 1; None when the fault is the file's, not a line's."""
    problem: str
    suggestion: str = ""

    def __str__(self) -> str:
        """`file:line: problem`, the form that editors jump to."""
        where = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{where}: {self.problem}"


@dataclass(frozen=True)
class Faults:
    """What is found wrong with one file, as it is read."""

    source: str
    found: list[Fault] = field(default_factory=list)

    def add(self, line: int | None, problem: str, suggestion: str = "") -> None:
        """Note one more."""
        self.found.append(Fault(self.source, line, problem, suggestion))

    def in_order(self) -> list[Fault]:
        """By line; those of the whole file first."""
        return sorted(self.found, key=lambda fault: fault.line or 0)


def refuse(faults: Sequence[Fault], error: type[InputsError], *, see_all: str = "") -> NoReturn:
    """Raise `error` for the first fault, with the number of the others; `see_all` says how to list them."""
    first, others = faults[0], len(faults) - 1
    message = f"{first} (and {others} more fault{'' if others == 1 else 's'})" if others else str(first)
    hints = [first.suggestion, see_all if others else ""]
    raise error(message, hint="; ".join(hint for hint in hints if hint) or None)


def shown_name(path: str) -> str:
    """Return how a file is called in messages."""
    return "<stdin>" if path == STDIN else path


def read_text(path: str, *, errors: str = "strict") -> str | Fault:
    """The whole of a UTF-8 file (`-` is stdin), with or without byte order mark, its lines ended by newlines alone.

    Args:
        path: as the user wrote it.
        errors: how bytes that are not UTF-8 are taken; with `surrogateescape` file names survive.
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
    """Number and content of each line that is neither blank nor a comment.

    A comment starts with `#` at the beginning of a line, or with a `#` that stands alone between white space. Backslash
    escapes are protected, so that the caller may split at separators; `plain` turns its pieces into text.
    Lines that hold characters no tokenizer can read are added to `faults` instead.
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
    """Return what cannot stand in a label or prompt, if anything does."""
    found = _UNUSABLE.search(text)
    return f"character U+{ord(found[0]):04X} cannot stand in a text" if found else None


def protect(text: str) -> str:
    """Put control characters in the place of backslash escapes, so that splitting does not see them."""
    return _ESCAPE.sub(lambda match: _PROTECT[match[1]], text) if "\\" in text else text


def plain(piece: str) -> str:
    """Return the text of a piece of a protected line."""
    return tidy(piece.translate(_RESTORE))


def tidy(text: str) -> str:
    """Single spaces for white space, none at the ends; composed form (NFC), so that equal names are equal texts."""
    joined = " ".join(text.replace(_BOM, "").split())
    return joined if joined.isascii() else unicodedata.normalize("NFC", joined)


def escape(text: str, separators: str = "") -> str:
    """Return the reverse of `plain` for tidy text.

    `separators` is a regular expression of what the line is split at.
    """
    special = f"{_COMMENT}|{separators}" if separators else _COMMENT
    return re.sub(special, lambda match: "\\" + match[0], text.replace("\\", "\\\\"))


def quoted(text: str) -> str:
    """Return a piece of the user's text for a message, cut when it is long."""
    text = redact(text)
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
