"""Vector files for a URL: written to a folder of the cache, where `--resume` finds the parts, and then uploaded."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from clipcli.cache import cache_folder
from clipcli.core.files import is_there, make_private_folder
from clipcli.core.redaction import redact_url
from clipcli.errors import OutputError
from clipcli.inputs.sources.filesystems import delete, upload
from clipcli.vectorfiles.vector_file import description_path, errors_path

if TYPE_CHECKING:
    from pathlib import Path


def staging_path(url: str) -> Path:
    """Return the local path for the file of a URL; the same in every run on this machine.

    Raises:
        OutputError: the folder cannot be made.
    """
    digest = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    folder = cache_folder() / "outputs" / digest
    try:
        make_private_folder(folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {(error.strerror or str(error)).lower()}") from error
    return folder / redact_url(url).rpartition("/")[2]


def upload_vectors(path: Path, url: str, *, hint: str | None = None) -> None:
    """Upload a vector file and its companion files, the vector file last, and delete them locally.

    Raises:
        OutputError: the URL cannot be written; the error has the hint, and the local files stay.
    """
    description, errors = description_path(path), errors_path(path)
    files = [file for file in (description, errors, path) if is_there(file)]
    try:
        for file in files:
            upload(file, url + file.name.removeprefix(path.name))
    except OutputError as error:
        raise OutputError(error.message, hint=hint) from error
    if errors not in files:
        delete(url + errors.name.removeprefix(path.name))
    for file in files:
        file.unlink()


def remove_staging_folder(path: Path) -> None:
    """Delete the local folder if it is empty."""
    with suppress(OSError):
        path.parent.rmdir()
