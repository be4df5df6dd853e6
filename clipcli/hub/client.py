"""Where a model's files are: in huggingface_hub's cache, or still to be fetched."""

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

from filelock import FileLock, Timeout

from clipcli.cache import cache_folder, is_private, make_folder
from clipcli.core.files import is_there
from clipcli.errors import DownloadError, UnknownModelError
from clipcli.hub.local_files import CONFIG, is_sha256, preferred, refuse_damaged, repository_folder

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


TOKENIZER_FILES = (
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "config.json",
)
"""What transformers looks for; a repository has some of them."""
_WORDS = frozenset({"tokenizer.json", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "vocab.txt"})
"""Each is enough to make a tokenizer of."""


@dataclass(frozen=True)
class Hub:
    """How files are fetched: where they are kept, and whether the network may be used."""

    console: Console
    cache_dir: str | None = None
    """None: huggingface_hub's own cache, shared with the user's other tools."""
    offline: bool = False

    def fetch(self, repo: str, filename: str, revision: str | None = None) -> Path | None:
        """The local copy of a repository's file, downloaded when it is not there; None when the repository has none.

        A file that is there is used without asking the network. A fresh download is compared with the hash that the hub
        gave for it; an interrupted one is taken up where it ended.

        Raises:
            DownloadError: no network, no such repository or revision, refused, or damaged on the way.
        """
        cached = self._look_up(repo, filename, revision)
        if cached is not None:
            return cached or None
        if self._is_offline:
            raise DownloadError(
                f"{filename} of {repo} is not on this disk, and offline it cannot be fetched", hint=OFFLINE_HINT
            )
        return self._download(repo, filename, revision)

    def cached(self, repo: str, filename: str, revision: str | None = None) -> Path | None:
        """Return the local copy if there is one; no network."""
        return self._look_up(repo, filename, revision) or None

    def has_weights(self, repo: str, revision: str | None = None, filename: str = "") -> bool:
        """Return whether a repository's weights of a revision are on this disk; no network."""
        return any(self.cached(repo, name, revision) for name in preferred(filename))

    def fetch_weights(self, repo: str, revision: str | None = None, filename: str = "") -> Path:
        """Return a repository's weights, safetensors before pickles.

        Raises:
            DownloadError: as `fetch`, and when the repository has no weights of a known name.
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
        """Return the config of an OpenCLIP repository, its weights beside it.

        Raises:
            DownloadError: as `fetch_weights`, and when it has no config.
        """
        config = self.fetch(repo, CONFIG, revision)
        if config is None:
            raise DownloadError(f"{repo} has no {CONFIG}", hint="hf-hub: takes OpenCLIP repositories")
        self.fetch_weights(repo, config.parent.name)  # by commit: a branch may have moved on since
        return config

    def fetch_tokenizer(self, repo: str) -> str:
        """Return the folder of a repository's tokenizer files.

        Offline, the files that are there are taken as all there are: other programs that filled the cache do not
        always leave a note of those that a repository lacks.

        Raises:
            DownloadError: as `fetch`, and when the repository has no tokenizer.
        """
        here = [path for name in TOKENIZER_FILES if (path := self.cached(repo, name)) is not None]
        if self._is_offline and any(path.name in _WORDS for path in here):
            return str(here[0].parent)
        paths = [path for name in TOKENIZER_FILES if (path := self.fetch(repo, name)) is not None]
        if not paths:
            raise DownloadError(
                f"{repo} has no tokenizer files", hint="the model's config names it as hf_tokenizer_name"
            )
        return str(paths[0].parent)

    @property
    def _is_offline(self) -> bool:
        from huggingface_hub import constants

        return self.offline or constants.HF_HUB_OFFLINE

    def _look_up(self, repo: str, filename: str, revision: str | None) -> Path | Literal[False] | None:
        """Return the local copy; False where the hub said before that there is no such file.

        None when nothing is known.
        """
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

        from clipcli.hub.client import download

        try:
            return download(repo, filename, revision, self.cache_dir, self.console)
        except errors.LocalEntryNotFoundError as error:
            raise failure(error, filename, repo) from error
        except errors.GatedRepoError as error:
            hint = "accept its terms on the hub, then set HF_TOKEN"
            raise DownloadError(f"{repo} is gated", hint=hint) from error
        except errors.RepositoryNotFoundError as error:
            hint = "check the name; a private one needs HF_TOKEN"
            raise DownloadError(f"the hub has no repository {repo}", hint=hint) from error
        except errors.RevisionNotFoundError as error:
            raise DownloadError(f"{repo} has no revision {revision}", hint="check the part behind @") from error
        except errors.EntryNotFoundError:
            return None
        except network_errors() as error:
            raise failure(error, filename, repo) from error
