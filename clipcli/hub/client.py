"""Find a model's files in huggingface_hub's cache, or download them."""

from __future__ import annotations

import errno
import logging
import shutil
import socket
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clipcli.cache import cache_folder
from clipcli.core.files import is_private, is_sha256, is_there, make_private_folder
from clipcli.errors import DownloadError, UnknownModelError
from clipcli.hub.local_files import CONFIG, TOKENIZER_FILES, preferred, refuse_damaged, repository_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.core.console import Console


OFFLINE_HINT = "run once with a network (clipcli models pull), or use --model tiny, which needs none"
_RETRY_HINT = "try again (the download continues where it stopped), or use --model tiny, which needs no download"
DISK_HINT = "free some space, or store weights elsewhere with --weights-dir DIR"
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
_TOO_MANY_REQUESTS, _UNAUTHORIZED, _FORBIDDEN = 429, 401, 403


def network_errors() -> tuple[type[Exception], ...]:
    """Return the exception types of a download: the hub's own, OSError, and those of its HTTP client."""
    from huggingface_hub.errors import HfHubHTTPError

    clients = [sys.modules[name] for name in ("httpx2", "httpx") if name in sys.modules]
    return (HfHubHTTPError, OSError, *(client.HTTPError for client in clients))


def download_error(error: Exception, filename: str, repo: str) -> DownloadError:
    """Return the error for the user, from an exception of `network_errors`."""
    cause = _innermost(error)
    hint = DISK_HINT if isinstance(cause, OSError) and cause.errno in _DISK_ERRORS else _RETRY_HINT
    return DownloadError(f"cannot fetch {filename} of {repo}: {_reason(cause)}", hint=hint)


def _innermost(error: BaseException) -> BaseException:
    """Return the innermost cause of an error, which the hub's client wraps several times."""
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
        return f"too many requests (HTTP 429); try {when}, or set HF_TOKEN"
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        return f"the hub refuses access (HTTP {status}); set HF_TOKEN to log in"
    if status is not None:
        return f"the hub answered HTTP {status}"
    text = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
    if isinstance(cause, TimeoutError) or "timed out" in text:
        return "the hub does not answer (timed out)"
    if isinstance(cause, (ConnectionError, socket.gaierror)) or type(cause).__name__ == "ConnectError":
        return f"no connection to the hub ({text})"
    return text


_WAIT_SECONDS = 1.0
"""Seconds of waiting before a message is printed."""


def download(repo: str, filename: str, revision: str | None, cache_dir: str | None, console: Console) -> Path:
    """Download one file of a repository and return its path in the cache.

    Raises:
        DownloadError: it arrived damaged, or does not fit on the disk.
        HfHubHTTPError, EntryNotFoundError, OSError, …: huggingface_hub's own errors.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if console.quiet:
        disable_progress_bars()
    console.debug(f"fetching {filename} of {repo}")
    with suppress(EntryNotFoundError):  # the call below asks again, and huggingface_hub records the answer
        _fetch_large(repo, filename, revision, cache_dir, console)
    return Path(hf_hub_download(repo, filename, revision=revision, cache_dir=cache_dir))


def _fetch_large(repo: str, filename: str, revision: str | None, cache_dir: str | None, console: Console) -> None:
    """Download a file with a known SHA-256 into the cache's blobs; leave other files to huggingface_hub."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repo, filename, revision=revision)
    metadata = get_hf_file_metadata(url)
    if metadata.etag is None or metadata.size is None or not is_sha256(metadata.etag):
        return
    folder = repository_folder(repo, cache_dir)
    blob = folder / "blobs" / metadata.etag
    blob.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock_folder(folder) / f"{metadata.etag}.lock"
    with _exclusive_download(lock, filename, console):
        if not is_there(blob):
            part = blob.with_name(f"{metadata.etag}.incomplete")
            _fetch_missing(url, part, metadata.size, filename, console)
            refuse_damaged(part, metadata.etag, filename)
            part.replace(blob)


def _lock_folder(folder: Path) -> Path:
    """Return huggingface_hub's folder of locks, or a private one if other users could hold locks there."""
    hub_locks = folder.parent / ".locks" / folder.name
    if all(map(is_private, (folder.parent, hub_locks.parent, hub_locks))):
        hub_locks.mkdir(parents=True, exist_ok=True)
        return hub_locks
    return make_private_folder(cache_folder() / "locks" / folder.name)


@contextmanager
def _exclusive_download(lock: Path, filename: str, console: Console) -> Iterator[None]:
    """Let only one process download a file; print a message if this one has to wait."""
    from filelock import FileLock, Timeout

    file_lock = FileLock(lock, mode=0o600)  # other users cannot open it, so they cannot hold it
    try:
        file_lock.acquire(timeout=_WAIT_SECONDS)
    except Timeout:
        console.info(f"waiting for another program that is downloading {filename}")
        file_lock.acquire()
    try:
        yield
    finally:
        file_lock.release()


def _fetch_missing(url: str, part: Path, size: int, filename: str, console: Console) -> None:
    """Append the missing bytes to `part`; resume broken connections as long as each makes progress."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    with part.open("ab") as stream:
        received = stream.tell()
        if received > size:
            received = stream.truncate(0)
        _check_space(size - received, part.parent, filename)
        while True:
            if received:
                console.debug(f"continuing {filename} after {received / 1e6:.0f} MB")
            try:
                http_get(
                    url,
                    stream,
                    resume_size=received,
                    headers=build_hf_headers(),
                    expected_size=size,
                    displayed_filename=filename,
                )
            except network_errors():
                if stream.tell() <= received:
                    raise
                received = stream.tell()
            else:
                return


def _check_space(missing: int, folder: Path, filename: str) -> None:
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise DownloadError(
            f"{filename} needs {missing / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB left", hint=DISK_HINT
        )


_SUFFICIENT_FILES = frozenset(
    {"tokenizer.json", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "vocab.txt"}
)
"""Files that are each enough for a tokenizer."""


@dataclass(frozen=True)
class Hub:
    """Access to the hub: the folder of downloads, and whether the network may be used."""

    console: Console
    cache_dir: str | None = None
    """The folder of downloads; None is huggingface_hub's own cache, shared with other tools."""
    offline: bool = False

    def fetch(self, repo: str, filename: str, revision: str | None = None) -> Path | None:
        """Return the local copy of a repository's file, downloaded if necessary; None if the repository lacks it.

        A local file is used without a request. A new download is compared with the hub's hash; an interrupted one is
        resumed.

        Raises:
            DownloadError: no network, no such repository or revision, access refused, or a damaged download.
        """
        cached = self._look_up(repo, filename, revision)
        if cached is not None:
            return cached or None
        if self._is_offline:
            raise DownloadError(
                f"{filename} of {repo} is not on this disk and cannot be downloaded offline", hint=OFFLINE_HINT
            )
        return self._download(repo, filename, revision)

    def cached(self, repo: str, filename: str, revision: str | None = None) -> Path | None:
        """Return the local copy, or None, without the network."""
        return self._look_up(repo, filename, revision) or None

    def has_weights(self, repo: str, revision: str | None = None, filename: str = "") -> bool:
        """Return whether a repository's weights are on this disk, without the network."""
        return any(self.cached(repo, name, revision) for name in preferred(filename))

    def fetch_weights(self, repo: str, revision: str | None = None, filename: str = "") -> Path:
        """Return the path of a repository's weights, safetensors before pickles.

        Raises:
            DownloadError: as `fetch`, or the repository has no weights with a known name.
        """
        names = preferred(filename)
        for name in names:
            local = self.cached(repo, name, revision)
            if local is not None:
                return local
        for name in names:
            path = self.fetch(repo, name, revision)
            if path is not None:
                return path
        raise DownloadError(
            f"{repo} has no OpenCLIP weights ({' or '.join(names)})", hint="is it an OpenCLIP repository?"
        )

    def fetch_model(self, repo: str, revision: str | None) -> Path:
        """Return the path of an OpenCLIP repository's config; its weights are downloaded beside it.

        Raises:
            DownloadError: as `fetch_weights`, or the repository has no config.
        """
        config = self.fetch(repo, CONFIG, revision)
        if config is None:
            raise DownloadError(f"{repo} has no {CONFIG}", hint="hf-hub: takes OpenCLIP repositories")
        self.fetch_weights(repo, config.parent.name)  # by commit, since a branch may have moved
        return config

    def fetch_tokenizer(self, repo: str) -> str:
        """Return the folder of a repository's tokenizer files.

        Offline, the local files count as complete: other programs that filled the cache do not always record which
        files a repository lacks.

        Raises:
            DownloadError: as `fetch`, or the repository has no tokenizer.
        """
        cached_paths = [path for name in TOKENIZER_FILES if (path := self.cached(repo, name)) is not None]
        if self._is_offline and any(path.name in _SUFFICIENT_FILES for path in cached_paths):
            return str(cached_paths[0].parent)
        paths = [path for name in TOKENIZER_FILES if (path := self.fetch(repo, name)) is not None]
        if not paths:
            raise DownloadError(
                f"{repo} has no tokenizer files", hint="the model's config names it as hf_tokenizer_name"
            )
        return str(paths[0].parent)

    def fetch_beside(self, first: Path, repo: str, names: Sequence[str]) -> Path:
        """Return the folder of a file that was fetched, once others of its repository and commit are beside it.

        Files that the repository lacks are left out; offline, those that are not on this disk too.

        Raises:
            DownloadError: as `fetch`.
        """
        for name in names:
            if not self._is_offline:
                self.fetch(repo, name, first.parent.name)
        return first.parent

    @property
    def _is_offline(self) -> bool:
        from huggingface_hub import constants

        return self.offline or constants.HF_HUB_OFFLINE

    def _look_up(self, repo: str, filename: str, revision: str | None) -> Path | Literal[False] | None:
        """Return the local copy, False if the hub is known to have no such file, or None if nothing is known."""
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            cached = try_to_load_from_cache(repo, filename, cache_dir=self.cache_dir, revision=revision)
        except HFValidationError as error:
            raise UnknownModelError(
                f"not the name of a repository: {repo!r}", hint="hf-hub:org/name or hf-hub:org/name@revision"
            ) from error
        if isinstance(cached, str):
            return Path(cached)
        return None if cached is None else False

    def _download(self, repo: str, filename: str, revision: str | None) -> Path | None:
        from huggingface_hub import errors

        try:
            return download(repo, filename, revision, self.cache_dir, self.console)
        except errors.LocalEntryNotFoundError as error:
            raise download_error(error, filename, repo) from error
        except errors.GatedRepoError as error:
            hint = "accept its terms on the hub's website, then set HF_TOKEN"
            raise DownloadError(f"{repo} is gated", hint=hint) from error
        except errors.RepositoryNotFoundError as error:
            hint = "check the name; a private repository needs HF_TOKEN"
            raise DownloadError(f"the hub has no repository {repo}", hint=hint) from error
        except errors.RevisionNotFoundError as error:
            raise DownloadError(f"{repo} has no revision {revision}", hint="check the part after @") from error
        except errors.EntryNotFoundError:
            return None
        except network_errors() as error:
            raise download_error(error, filename, repo) from error
