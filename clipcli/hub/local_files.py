"""List the content of huggingface_hub's cache from its folders alone, fast enough for hundreds of models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.core.files import is_folder, is_sha256, is_there, sha256_of
from clipcli.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Iterator


def expected_sha256(path: Path) -> str | None:
    """Return the hub's SHA-256 of a large file in its cache; None for other files, which have git's shorter hash."""
    name = _blob(path).name
    return name if is_sha256(name) else None


def _blob(path: Path) -> Path:
    """Return the target of a file in a snapshot; follow one link only, since blobs may link to other stores."""
    return path.parent / path.readlink() if path.is_symlink() else path


def check_file(path: Path) -> None:
    """Compare a file of the hub's cache with its hash; delete a damaged one, so that it is downloaded again.

    Raises:
        DownloadError: the hash differs from the hub's.
    """
    expected = expected_sha256(path)
    if expected is not None:
        refuse_damaged(_blob(path), expected, path.name)


def refuse_damaged(blob: Path, expected: str, name: str) -> None:
    """Delete a file whose SHA-256 differs from the expected one; `name` is its name in the repository.

    Raises:
        DownloadError: the file was deleted.
    """
    actual = sha256_of(blob)
    if actual != expected:
        blob.unlink(missing_ok=True)
        raise DownloadError(
            f"{name} is damaged: sha256 {actual[:12]}…, expected {expected[:12]}…; it was deleted",
            hint="run the command again to download it again",
        )


CONFIG = "open_clip_config.json"
"""The file that marks a repository or folder as an OpenCLIP model."""
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""File names of weights, in the order they are tried."""
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
"""The tokenizer files that transformers reads; a repository has some of them."""


def repository_folder(repo: str, cache_dir: str | None) -> Path:
    """Return the cache folder of a repository, with `blobs`, `refs` and `snapshots`."""
    return _root(cache_dir) / f"models--{repo.replace('/', '--')}"


def is_cached(repo: str, filename: str, cache_dir: str | None) -> bool:
    """Return whether a repository's weights are on this disk; an empty filename means the usual names."""
    return any(_weights(repository_folder(repo, cache_dir), filename))


def cached_models(cache_dir: str | None) -> Iterator[str]:
    """Yield the OpenCLIP repositories that are on this disk with config and weights."""
    for folder in _folders(_root(cache_dir)):
        kind, *parts = folder.name.split("--")
        if kind == "models" and any(is_there(snapshot / CONFIG) for snapshot in _weights(folder, "")):
            yield "/".join(parts)


def preferred(filename: str) -> tuple[str, ...]:
    """Return the possible file names of weights, safetensors before pickles."""
    if not filename:
        return WEIGHTS
    stem, suffix = os.path.splitext(filename)  # noqa: PTH122 - a name inside a repository, not a path here
    return (f"{stem}.safetensors", filename) if suffix in {".bin", ".pt", ".pth"} else (filename,)


def _weights(repository: Path, filename: str) -> Iterator[Path]:
    """Yield the snapshots that hold weights."""
    for snapshot in _folders(repository / "snapshots"):
        if any(is_there(snapshot / name) for name in preferred(filename)):
            yield snapshot


def _folders(parent: Path) -> list[Path]:
    return sorted(entry for entry in parent.iterdir() if is_folder(entry)) if is_folder(parent) else []


def _root(cache_dir: str | None) -> Path:
    if cache_dir:
        return Path(cache_dir)
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)
