"""Whole files to a URL: made here first, sent when they are done, so that a reader never sees half of one."""

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
"""A folder that is not there is made by writing into it; and who may write need not be allowed to list."""


def check_place(url: str) -> None:
    """Find out before the work what would keep its result from being written.

    Raises:
        UsageError: nothing is written to such URLs, or the network is not to be used.
        InputsError: a driver is missing.
        OutputError: there is no such bucket, or nobody answers.
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
    """Put a file there, in the place of what is there.

    Raises:
        OutputError: all tries failed.
    """

    def once() -> None:
        system, path = file_system(url)
        system.put_file(str(file), path)

    try:
        attempt(once)
    except ImageError as error:
        raise OutputError(f"cannot write {redact(url)}: {error.reason}") from error


def remove(url: str) -> None:
    """Take away what may be there."""
    system, path = file_system(url)
    with suppress(ImageError):
        attempt(lambda: system.rm_file(path))
