"""Upload complete files to a URL. They are written locally first, so a reader never sees half a file."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from clipcli.core.redaction import redact
from clipcli.errors import ImageError, OutputError, UsageError
from clipcli.inputs.sources.fetch import attempt
from clipcli.inputs.sources.filesystems import file_system, scheme

if TYPE_CHECKING:
    from pathlib import Path

_BEARABLE = ("no such object", "access denied")
"""Reasons that do not prevent an upload: writing creates the folder, and a writer may lack the right to list."""


def check_place(url: str) -> None:
    """Check before the work that the result can be written to a URL.

    Raises:
        UsageError: such URLs are read-only, or the network is switched off.
        InputsError: a driver is missing.
        OutputError: the bucket does not exist, or the server does not answer.
    """
    if scheme(url) in {"http", "https"}:
        raise UsageError(
            f"{scheme(url)}:// can only be read", hint="-o takes a file, s3://, gs:// or another of fsspec"
        )
    system, path = file_system(url)
    try:
        attempt(lambda: system.ls(path.rpartition("/")[0], detail=False))
    except ImageError as error:
        if not error.reason.startswith(_BEARABLE):
            raise OutputError(f"cannot write {redact(url)}: {error.reason}") from error


def send(file: Path, url: str) -> None:
    """Upload a file, replacing an existing object.

    Raises:
        OutputError: all tries failed.
    """

    def put_file() -> None:
        system, path = file_system(url)
        system.put_file(str(file), path)

    try:
        attempt(put_file)
    except ImageError as error:
        raise OutputError(f"cannot write {redact(url)}: {error.reason}") from error


def remove(url: str) -> None:
    """Delete the object at a URL, if it exists."""
    system, path = file_system(url)
    with suppress(ImageError):
        attempt(lambda: system.rm_file(path))
