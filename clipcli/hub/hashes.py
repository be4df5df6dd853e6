"""Is a file what the hub says it is? Large files are kept under their sha256."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from clipcli.errors import DownloadError

if TYPE_CHECKING:
    from pathlib import Path

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1 << 20


def is_sha256(text: str | None) -> bool:
    """Whether a text is a hex sha256; the hub names large files so, and small ones by git's shorter hash."""
    return text is not None and _SHA256.fullmatch(text) is not None


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def expected_sha256(path: Path) -> str | None:
    """What the hub said the sha256 of a file in its cache is; None for any other file."""
    name = _blob(path).name
    return name if is_sha256(name) else None


def _blob(path: Path) -> Path:
    """What a file of a snapshot links to; one step only, for blobs may link on to a store with other names."""
    return path.parent / path.readlink() if path.is_symlink() else path


def check_file(path: Path) -> None:
    """Compare a file of the hub's cache with its hash; a damaged one is removed, so that it is fetched anew.

    Raises:
        DownloadError: the bytes are not those that the hub announced.
    """
    expected = expected_sha256(path)
    if expected is not None:
        refuse_damaged(_blob(path), expected, path.name)


def refuse_damaged(blob: Path, expected: str, name: str) -> None:
    """Remove a file whose sha256 is not the expected one; `name` is what it is called in the repository.

    Raises:
        DownloadError: it was removed.
    """
    found = sha256_of(blob)
    if found != expected:
        blob.unlink(missing_ok=True)
        raise DownloadError(
            f"{name} is damaged: sha256 {found[:12]}…, expected {expected[:12]}…; it was removed",
            hint="run the command again to fetch it anew",
        )
