"""Read lists of paths from files, URLs and stdin. Stdin may also hold one image; its first bytes decide."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, TYPE_CHECKING, ClassVar, Final

from clipcli.core.files import LineTooLongError, Utf16Error, reason_of, refuse_utf16
from clipcli.core.redaction import redact
from clipcli.errors import ImageError, InputsError
from clipcli.inputs.sources.fetch import open_list
from clipcli.inputs.sources.refs import LONGEST_NAME, MAX_BYTES, ImageRef
from clipcli.inputs.text_files import STDIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_READ_SIZE: Final = 1 << 16
_ENDLESS: Final = 64 << 20
"""Bytes of one line after which the input is not taken for a list any more."""
_IMAGE: Final = re.compile(
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|BM....\0\0\0\0|II\*\0|MM\0\*|II\+\0|MM\0\+|\0\0\0.ftyp|"
    rb"\0\0\0\x0c(JXL|jP) |\xff\x0a|\xff\x4f\xff\x51|8BPS\0|\0\0[\x01\x02]\0|qoif\0|DDS |icns\0|"
    rb"P[1-7]\s+(#[^\n]*\n\s*)?(\d+\s+\d+|WIDTH )",
    re.DOTALL,
)
"""First bytes of image files; no list of paths begins with them."""
_LIST: Final = re.compile(
    rb"(?!\x89P|\xff[\xd8\x0a\x4f]|GI|RI|BM|II|MM|\0|8B|qo|DD|ic|P[1-7])..|[ -~]{3,}\n", re.DOTALL
)
"""First bytes that no image has, so reading can stop early."""
_ENOUGH: Final = 32
"""Number of bytes that always decide between image and list."""


@dataclass(frozen=True)
class StdinImage:
    """The bytes of one image."""

    data: bytes = field(repr=False)
    is_remote: ClassVar[bool] = False

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return len(self.data)

    def read(self) -> bytes:
        """Return the bytes."""
        return self.data


def read_list(source: str, *, null: bool) -> Iterator[str | ImageRef]:
    """Yield the paths of a list as they arrive, or the one image that stdin holds.

    Args:
        source: a file or URL; `-` is stdin.
        null: paths are separated by NUL instead of newlines.

    Raises:
        InputsError: it cannot be read, or it is separated by NUL and `null` is not set.
    """
    try:
        if source == STDIN:
            yield from _stdin_inputs(_stdin(), null=null)
            return
        with open_list(source) as stream:
            yield from _split(_blocks(stream), source, null=null)
    except (OSError, ValueError, ImageError) as error:
        reason = error.reason if isinstance(error, ImageError) else reason_of(error)
        hint = error.hint if isinstance(error, Utf16Error) else "--files-from takes a file of paths"
        raise InputsError(f"cannot read the list {redact(source)}: {reason}", hint=hint) from error


def _stdin() -> IO[bytes]:
    """Return stdin without a buffer: a thread that still waits at exit would hold the lock of a buffer."""
    try:
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    except (OSError, ValueError):  # stdin is not a file, as in a program that runs the command line itself
        return sys.stdin.buffer


def _stdin_inputs(stream: IO[bytes], *, null: bool) -> Iterator[str | ImageRef]:
    blocks, first = _blocks(stream), b""
    for block in blocks:
        first += block
        if _IMAGE.match(first) or len(first) >= _ENOUGH or _LIST.match(first):
            break
    if _IMAGE.match(first):
        yield _image_of(first, blocks)
    else:
        yield from _split(chain([first], blocks), "standard input", null=null)


def _image_of(first: bytes, blocks: Iterable[bytes]) -> ImageRef:
    pieces, size = [first], len(first)
    for block in blocks:
        size += len(block)
        if size > MAX_BYTES:
            return ImageRef(STDIN, STDIN, f"more than {MAX_BYTES / 1e9:.1f} GB, too large for an image")
        pieces.append(block)
    return ImageRef(STDIN, STDIN, source=StdinImage(b"".join(pieces)))


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    read_block: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    while block := read_block(_READ_SIZE):
        yield block


def _split(blocks: Iterable[bytes], source: str, *, null: bool) -> Iterator[str]:
    """Yield the paths of a list as they arrive, the first before the last has been written."""
    for raw in _pieces(blocks, b"\0" if null else b"\n"):
        if not null and b"\0" in raw:
            refuse_utf16(raw)
            raise InputsError(
                f"{redact(source)}: the paths are separated by NUL bytes", hint="add -0 to read such a list"
            )
        if not null and raw.startswith(b'{"'):
            hint = "write them to a file first: -o rows.jsonl, or embed -o vectors.npy"
            raise InputsError(f"{redact(source)}: JSON objects, not paths", hint=hint)
        piece = raw if null else raw.removesuffix(b"\r")
        if piece:
            yield os.fsdecode(piece)


def _pieces(blocks: Iterable[bytes], separator: bytes) -> Iterator[bytes]:
    tail, skipped = b"", 0
    for block in blocks:
        *pieces, tail = (tail + block).split(separator)
        yield from pieces
        if len(tail) > LONGEST_NAME * 4:
            skipped += len(tail) - LONGEST_NAME * 4
            tail = tail[: LONGEST_NAME * 4]  # enough of an endless line to refuse it
            if skipped > _ENDLESS:
                raise LineTooLongError(_ENDLESS)
        else:
            skipped = 0
    if tail:
        yield tail
