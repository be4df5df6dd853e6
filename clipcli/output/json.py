"""Write JSON Lines, one line per row as it comes, or one JSON array."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.output.rows import Row, RowBlock
    from clipcli.output.targets import Target

_UNSAFE = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]|#(?=#[\\w.-]*\\[)")
"""Characters that JSON allows but that are unsafe for a terminal, an encoder or a CI server: C1 controls, line
separators, bidi overrides, lone surrogates, the beginning of a workflow command."""

_PLAIN = re.compile(r"[ !$-\[\]-~\n]*")
"""Characters that JSON has as they are; without those that begin a log command of a build's server."""


def dumps(record: object, *, indent: int | None = None) -> str:
    """Return a JSON text with readable Unicode, but without characters that control a terminal."""
    text = json.dumps(record, ensure_ascii=False, indent=indent, allow_nan=False)
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def json_strings(texts: Sequence[str]) -> list[str]:
    """Return each text as JSON has it; quick where all of them are plain."""
    joined = "\n".join(texts)
    if _PLAIN.fullmatch(joined) and joined.count("\n") == max(0, len(texts) - 1):
        return [f'"{text}"' for text in texts]
    return [dumps(text) for text in texts]


@dataclass
class JsonLinesWriter:
    """Writes one line per row and flushes it."""

    target: Target

    def write(self, row: Row) -> None:
        """Write one line."""
        self.target.write(dumps(row.record()).encode("utf-8") + b"\n")
        self.target.flush()

    def write_block(self, block: RowBlock) -> None:
        """Write many lines."""
        self.target.write("".join([f"{text}\n" for text in block.json_texts()]).encode("utf-8"))
        self.target.flush()

    def close(self) -> None:
        """Do nothing: all rows are written."""


@dataclass
class JsonArrayWriter:
    """Writes one array of all rows, one element per line, each flushed."""

    target: Target
    _opened: bool = field(default=False)

    def write(self, row: Row) -> None:
        """Write one element."""
        before = b",\n " if self._opened else b"[\n "
        self._opened = True
        self.target.write(before + dumps(row.record()).encode("utf-8"))
        self.target.flush()

    def close(self) -> None:
        """Close the array; without rows, write an empty one."""
        self.target.write(b"\n]\n" if self._opened else b"[]\n")
