"""One file from the hub into huggingface_hub's cache; an interrupted download is taken up where it ended.

huggingface_hub 2 drops what it has when a download fails or the process ends. Weights are gigabytes, so they are
fetched here, under the lock and the name that its earlier versions used, checked, and then handed over: it finds the
blob in its cache and only links it.
"""

from __future__ import annotations

import errno
import logging
import shutil
import socket
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from clipcli.cache import cache_folder, is_private, make_folder
from clipcli.core.files import is_there
from clipcli.errors import DownloadError
from clipcli.hub.local_files import is_sha256, refuse_damaged, repository_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.core.console import Console

OFFLINE_HINT = "run once with a network (clipcli models pull), or use --model tiny, which needs none"
_AGAIN_HINT = "try again (what was fetched is kept), or use --model tiny, which needs no download"
DISK_HINT = "free some space, or keep weights elsewhere with --weights-dir DIR"
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
_TOO_MANY_REQUESTS, _UNAUTHORIZED, _FORBIDDEN = 429, 401, 403


def network_errors() -> tuple[type[Exception], ...]:
    """What fetching may raise: the hub's own errors, those of the system, and those of the HTTP client it uses."""
    from huggingface_hub.errors import HfHubHTTPError

    clients = [sys.modules[name] for name in ("httpx2", "httpx") if name in sys.modules]
    return (HfHubHTTPError, OSError, *(client.HTTPError for client in clients))


def failure(error: Exception, filename: str, repo: str) -> DownloadError:
    """Return the error for the user, from any of `network_errors`."""
    cause = _innermost(error)
    hint = DISK_HINT if isinstance(cause, OSError) and cause.errno in _DISK else _AGAIN_HINT
    return DownloadError(f"cannot fetch {filename} of {repo}: {_reason(cause)}", hint=hint)


def _innermost(error: BaseException) -> BaseException:
    """Return the innermost cause: the hub's client wraps what happened several times."""
    cause = error
    while cause.__cause__ is not None or (cause.__context__ is not None and not cause.__suppress_context__):
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    return cause


def _reason(cause: BaseException) -> str:
    response = getattr(cause, "response", None)
    status = getattr(response, "status_code", None)
    if status == _TOO_MANY_REQUESTS:
        wait = getattr(response, "headers", {}).get("Retry-After", "")
        when = f"in {wait} s" if wait.isdigit() else "later"
        return f"too many requests, the hub refuses for now (HTTP 429); try {when}, or set HF_TOKEN"
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        return f"the hub refuses (HTTP {status}); HF_TOKEN says who you are"
    if status is not None:
        return f"the hub answered HTTP {status}"
    text = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
    if isinstance(cause, TimeoutError) or "timed out" in text:
        return "the hub does not answer (timed out)"
    if isinstance(cause, (ConnectionError, socket.gaierror)) or type(cause).__name__ == "ConnectError":
        return f"no connection to the hub ({text})"
    return text


_PATIENCE = 1.0
"""Seconds after which waiting is worth a word."""


def download(repo: str, filename: str, revision: str | None, cache_dir: str | None, console: Console) -> Path:
    """Fetch one file.

    Raises:
        DownloadError: it arrived damaged, or the disk is too small for it.
        HfHubHTTPError, EntryNotFoundError, OSError, …: huggingface_hub's own errors.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if console.quiet:
        disable_progress_bars()
    console.debug(f"fetching {filename} of {repo}")
    with suppress(EntryNotFoundError):  # asked again below, where huggingface_hub keeps the answer
        _fetch_large(repo, filename, revision, cache_dir, console)
    return Path(hf_hub_download(repo, filename, revision=revision, cache_dir=cache_dir))


def _fetch_large(repo: str, filename: str, revision: str | None, cache_dir: str | None, console: Console) -> None:
    """Put a file that the hub knows by its sha256 into the cache's blobs; leave any other to huggingface_hub."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repo, filename, revision=revision)
    metadata = get_hf_file_metadata(url)
    if metadata.etag is None or metadata.size is None or not is_sha256(metadata.etag):
        return
    folder = repository_folder(repo, cache_dir)
    blob = folder / "blobs" / metadata.etag
    blob.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock_folder(folder) / f"{metadata.etag}.lock"
    with _alone(lock, filename, console):
        if not is_there(blob):
            part = blob.with_name(f"{metadata.etag}.incomplete")
            _fetch_rest(url, part, metadata.size, filename, console)
            refuse_damaged(part, metadata.etag, filename)
            part.replace(blob)


def _lock_folder(folder: Path) -> Path:
    """Return where huggingface_hub has its locks, unless other users could make and hold them there."""
    theirs = folder.parent / ".locks" / folder.name
    if all(map(is_private, (folder.parent, theirs.parent, theirs))):
        theirs.mkdir(parents=True, exist_ok=True)
        return theirs
    return make_folder(cache_folder() / "locks" / folder.name)


@contextmanager
def _alone(lock: Path, filename: str, console: Console) -> Iterator[None]:
    """Only one process fetches a file; who waits for another says so."""
    turn = FileLock(lock, mode=0o600)  # who cannot open it cannot hold it
    try:
        turn.acquire(timeout=_PATIENCE)
    except Timeout:
        console.info(f"waiting for another program that is fetching {filename}")
        turn.acquire()
    try:
        yield
    finally:
        turn.release()


def _fetch_rest(url: str, part: Path, size: int, filename: str, console: Console) -> None:
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
                console.debug(f"going on with {filename} after {have / 1e6:.0f} MB")
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
