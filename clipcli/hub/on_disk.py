"""What huggingface_hub's cache holds, told from its folders alone, so that hundreds of models can be asked at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.files import is_folder, is_there

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = "open_clip_config.json"
"""What makes a repository or a folder an OpenCLIP model."""
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names of weights in a repository, in the order they are tried."""


def repository_folder(repo: str, cache_dir: str | None) -> Path:
    """Where the files of a repository are kept: `blobs`, `refs` and `snapshots`."""
    return _root(cache_dir) / f"models--{repo.replace('/', '--')}"


def is_cached(repo: str, filename: str, cache_dir: str | None) -> bool:
    """Whether a repository's weights are on this disk; no filename stands for the usual ones."""
    return any(_weights(repository_folder(repo, cache_dir), filename))


def cached_models(cache_dir: str | None) -> Iterator[str]:
    """Repositories of OpenCLIP models that are on this disk with config and weights."""
    for folder in _folders(_root(cache_dir)):
        kind, *parts = folder.name.split("--")
        if kind == "models" and any(is_there(snapshot / CONFIG) for snapshot in _weights(folder, "")):
            yield "/".join(parts)


def preferred(filename: str) -> tuple[str, ...]:
    """Names that weights may have, safetensors before pickles."""
    if not filename:
        return WEIGHTS
    stem, suffix = os.path.splitext(filename)  # noqa: PTH122 - a name inside a repository, not a path here
    return (f"{stem}.safetensors", filename) if suffix in {".bin", ".pt", ".pth"} else (filename,)


def _weights(repository: Path, filename: str) -> Iterator[Path]:
    """Snapshots that hold weights."""
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
