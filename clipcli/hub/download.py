"""One file from the hub into huggingface_hub's cache; an interrupted download is taken up where it ended.

huggingface_hub 2 drops what it has when a download fails or the process ends. Weights are gigabytes, so they are
fetched here, under the lock and the name that its earlier versions used, checked, and then handed over: it finds the
blob in its cache and only links it.
"""

from __future__ import annotations

import logging
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from clipcli.cache import cache_folder, is_private, make_folder
from clipcli.errors import DownloadError
from clipcli.files import is_there
from clipcli.hub.failures import DISK_HINT, network_errors
from clipcli.hub.hashes import is_sha256, refuse_damaged
from clipcli.hub.on_disk import repository_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.talk import Talk

_PATIENCE = 1.0
"""Seconds after which waiting is worth a word."""


def download(repo: str, filename: str, revision: str | None, cache_dir: str | None, talk: Talk) -> Path:
    """Fetch one file.

    Raises:
        DownloadError: it arrived damaged, or the disk is too small for it.
        HfHubHTTPError, EntryNotFoundError, OSError, …: huggingface_hub's own errors.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if talk.quiet:
        disable_progress_bars()
    talk.detail(f"fetching {filename} of {repo}")
    with suppress(EntryNotFoundError):  # asked again below, where huggingface_hub keeps the answer
        _fetch_large(repo, filename, revision, cache_dir, talk)
    return Path(hf_hub_download(repo, filename, revision=revision, cache_dir=cache_dir))


def _fetch_large(repo: str, filename: str, revision: str | None, cache_dir: str | None, talk: Talk) -> None:
    """Put a file that the hub knows by its sha256 into the cache's blobs; leave any other to huggingface_hub."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repo, filename, revision=revision)
    found = get_hf_file_metadata(url)
    if found.etag is None or found.size is None or not is_sha256(found.etag):
        return
    folder = repository_folder(repo, cache_dir)
    blob = folder / "blobs" / found.etag
    blob.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock_folder(folder) / f"{found.etag}.lock"
    with _alone(lock, filename, talk):
        if not is_there(blob):
            part = blob.with_name(f"{found.etag}.incomplete")
            _fetch_rest(url, part, found.size, filename, talk)
            refuse_damaged(part, found.etag, filename)
            part.replace(blob)


def _lock_folder(folder: Path) -> Path:
    """Where huggingface_hub has its locks, unless other users could make and hold them there."""
    theirs = folder.parent / ".locks" / folder.name
    if all(map(is_private, (folder.parent, theirs.parent, theirs))):
        theirs.mkdir(parents=True, exist_ok=True)
        return theirs
    return make_folder(cache_folder() / "locks" / folder.name)


@contextmanager
def _alone(lock: Path, filename: str, talk: Talk) -> Iterator[None]:
    """Only one process fetches a file; who waits for another says so."""
    turn = FileLock(lock, mode=0o600)  # who cannot open it cannot hold it
    try:
        turn.acquire(timeout=_PATIENCE)
    except Timeout:
        talk.note(f"waiting for another program that is fetching {filename}")
        turn.acquire()
    try:
        yield
    finally:
        turn.release()


def _fetch_rest(url: str, part: Path, size: int, filename: str, talk: Talk) -> None:
    """Append to `part` what it lacks; connections that break are taken up as long as each brings something."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    with part.open("ab") as stream:
        have = stream.tell()
        if have > size:
            have = stream.truncate(0)
        _check_space(size - have, part.parent, filename)
        while True:
            if have:
                talk.detail(f"going on with {filename} after {have / 1e6:.0f} MB")
            try:
                http_get(
                    url,
                    stream,
                    resume_size=have,
                    headers=build_hf_headers(),
                    expected_size=size,
                    displayed_filename=filename,
                )
            except network_errors():
                if stream.tell() <= have:
                    raise
                have = stream.tell()
            else:
                return


def _check_space(missing: int, folder: Path, filename: str) -> None:
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise DownloadError(
            f"{filename} needs {missing / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB left", hint=DISK_HINT
        )
