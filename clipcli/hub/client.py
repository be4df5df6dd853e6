"""Where a model's files are: in huggingface_hub's cache, or still to be fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clipcli.errors import DownloadError, UnknownModelError
from clipcli.hub.download import OFFLINE_HINT, failure, network_errors
from clipcli.hub.local_files import CONFIG, preferred

if TYPE_CHECKING:
    from clipcli.core.console import Console

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

        from clipcli.hub.download import download

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
