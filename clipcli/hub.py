"""Files of models from the hub: fetched once into huggingface_hub's own cache, checked by hash, found again offline."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clipcli.errors import DownloadError

if TYPE_CHECKING:
    from clipcli.talk import Talk

WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names of weights in a repository, in the order they are tried."""
TOKENIZER_FILES = (
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
    "vocab.txt",
    "config.json",
)
"""What transformers looks for; a repository has some of them."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1 << 20
_OFFLINE_HINT = "run once with a network (clipcli models pull), or use --model tiny, which needs none"


@dataclass(frozen=True)
class Hub:
    """How files are fetched: where they are kept, and whether the network may be used."""

    talk: Talk
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
        found = self._look_up(repo, filename, revision)
        if found is not None:
            return found or None
        if self.offline:
            raise DownloadError(
                f"{repo} is not on this disk ({filename}), and --offline forbids to fetch it", hint=_OFFLINE_HINT
            )
        path = self._download(repo, filename, revision)
        if path is not None:
            check_blob(path)
        return path

    def cached(self, repo: str, filename: str, revision: str | None = None) -> Path | None:
        """The local copy if there is one; no network."""
        return self._look_up(repo, filename, revision) or None

    def _look_up(self, repo: str, filename: str, revision: str | None) -> Path | Literal[False] | None:
        """The local copy; False where the hub said before that there is no such file; None when nothing is known."""
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(repo, filename, cache_dir=self.cache_dir, revision=revision)
        if isinstance(found, str):
            return Path(found)
        return None if found is None else False

    def fetch_weights(self, repo: str, revision: str | None = None, filename: str = "") -> Path:
        """A repository's weights, safetensors before pickles.

        Raises:
            DownloadError: as `fetch`, and when the repository has no weights of a known name.
        """
        names = _preferred(filename)
        for name in names:
            found = self.cached(repo, name, revision)
            if found is not None:
                return found
        for name in names:
            path = self.fetch(repo, name, revision)
            if path is not None:
                return path
        raise DownloadError(
            f"{repo} has no OpenCLIP weights ({' or '.join(names)})", hint="is it an OpenCLIP repository?"
        )

    def fetch_tokenizer(self, repo: str) -> str:
        """The folder of a repository's tokenizer files.

        Raises:
            DownloadError: as `fetch`, and when the repository has no tokenizer.
        """
        found = [path for name in TOKENIZER_FILES if (path := self.fetch(repo, name)) is not None]
        if not found:
            raise DownloadError(
                f"{repo} has no tokenizer files", hint="the model's config names it as hf_tokenizer_name"
            )
        return str(found[0].parent)

    def _download(self, repo: str, filename: str, revision: str | None) -> Path | None:
        from huggingface_hub import errors, hf_hub_download
        from huggingface_hub.utils.tqdm import disable_progress_bars

        if self.talk.quiet:
            disable_progress_bars()
        self.talk.detail(f"fetching {filename} of {repo}")
        try:
            return Path(hf_hub_download(repo, filename, revision=revision, cache_dir=self.cache_dir))
        except errors.LocalEntryNotFoundError as error:
            raise DownloadError(f"cannot fetch {repo}: {_reason(error)}", hint=_OFFLINE_HINT) from error
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
        except (errors.HfHubHTTPError, OSError) as error:
            raise DownloadError(f"cannot fetch {filename} of {repo}: {_reason(error)}", hint=_OFFLINE_HINT) from error


def is_cached(repo: str, filename: str, cache_dir: str | None) -> bool:
    """Whether a repository's weights are on this disk; looks at folders only, so that hundreds can be asked at once."""
    root = Path(cache_dir) if cache_dir else _hub_cache()
    snapshots = root / f"models--{repo.replace('/', '--')}" / "snapshots"
    return any((folder / name).exists() for folder in _folders(snapshots) for name in _preferred(filename))


def _folders(parent: Path) -> list[Path]:
    return [entry for entry in parent.iterdir() if entry.is_dir()] if parent.is_dir() else []


def _hub_cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _preferred(filename: str) -> tuple[str, ...]:
    if not filename:
        return WEIGHTS
    stem, suffix = os.path.splitext(filename)  # noqa: PTH122 - a name inside a repository, not a path here
    return (f"{stem}.safetensors", filename) if suffix in {".bin", ".pt", ".pth"} else (filename,)


def _reason(error: BaseException) -> str:
    """The innermost cause in one line: the hub's client wraps what happened several times."""
    cause = error
    while cause.__cause__ is not None or (cause.__context__ is not None and not cause.__suppress_context__):
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    status = getattr(getattr(cause, "response", None), "status_code", None)
    if status == 429:  # noqa: PLR2004 - HTTP's "too many requests"
        return "the hub refuses for now, too many requests (HTTP 429); try later or set HF_TOKEN"
    if status is not None:
        return f"the hub answered HTTP {status}"
    text = str(cause).strip().splitlines()
    return text[0] if text else type(cause).__name__


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def expected_sha256(path: Path) -> str | None:
    """What the hub said the file's sha256 is: large files are kept under that name; None for any other file."""
    name = path.resolve().name
    return name if _SHA256.fullmatch(name) else None


def check_blob(path: Path) -> None:
    """Compare a file of the hub's cache with its hash; a damaged one is removed, so that the next try fetches it anew.

    Raises:
        DownloadError: the bytes are not those that the hub announced.
    """
    expected = expected_sha256(path)
    if expected is None:
        return
    found = sha256_of(path)
    if found != expected:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise DownloadError(
            f"{path.name} arrived damaged: sha256 {found[:12]}…, expected {expected[:12]}…; it was removed",
            hint="run the command again to fetch it anew",
        )
