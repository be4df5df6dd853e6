"""Vector files with a URL for their place: made in a folder of the cache, where a stopped run finds its parts again."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from clipcli.cache import cache_folder, make_folder
from clipcli.core.files import is_there
from clipcli.core.redaction import redact_url
from clipcli.errors import OutputError
from clipcli.inputs.sources.upload import remove, send
from clipcli.vectorfiles.vector_file import description_path, errors_path

if TYPE_CHECKING:
    from pathlib import Path


def workshop(url: str) -> Path:
    """Return where the file of a URL is made; the same in every run on this machine.

    Raises:
        OutputError: the folder cannot be made.
    """
    digest = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    folder = cache_folder() / "outputs" / digest
    try:
        make_folder(folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {(error.strerror or str(error)).lower()}") from error
    return folder / redact_url(url).rpartition("/")[2]


def deliver(path: Path, url: str, *, hint: str | None = None) -> None:
    """Send a vector file and its companion files, the vector file last, and remove them here.

    Raises:
        OutputError: the place cannot be written, with the hint; the files stay here.
    """
    description, errors = description_path(path), errors_path(path)
    made = [file for file in (description, errors, path) if is_there(file)]
    try:
        for file in made:
            send(file, url + file.name.removeprefix(path.name))
    except OutputError as error:
        raise OutputError(error.message, hint=hint) from error
    if errors not in made:
        remove(url + errors.name.removeprefix(path.name))
    for file in made:
        file.unlink()


def close_workshop(path: Path) -> None:
    """Take the folder away where nothing is left in it."""
    with suppress(OSError):
        path.parent.rmdir()
