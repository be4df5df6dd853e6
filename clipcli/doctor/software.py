"""Versions and the machine; nothing heavy is imported to find out."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from clipcli import __version__
from clipcli.doctor.rows import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN = (
    "torch", "torchvision", "open_clip_torch", "timm", "transformers", "onnxruntime", "onnx", "tokenizers",
    "safetensors", "huggingface_hub", "pillow", "numpy", "scipy", "typer", "rich",
)  # fmt: skip
"""What answers depend on most."""
_NEEDED = (
    "filelock", "ftfy", "imagehash", "onnxscript", "pathspec", "platformdirs", "send2trash", "textual-image", "tqdm",
)  # fmt: skip
"""Shown where one is missing."""
_OPTIONAL = ("pyarrow", "usearch", "pillow-heif", "fsspec", "s3fs", "gcsfs", "ray")


def versions() -> Iterator[Finding]:
    """Of clipcli, Python and the libraries; a missing one that is needed is a fault, an optional one is not."""
    yield Finding("version", "clipcli", __version__)
    yield Finding("version", "python", f"{platform.python_version()} ({sys.executable})")
    for name in _SHOWN + _NEEDED:
        found = _version(name)
        if found is None or name in _SHOWN:
            yield Finding("version", name, found or "not installed", None if found else False)
    for name in _OPTIONAL:
        yield Finding("version", name, _version(name) or "not installed (optional)")


def machine() -> Iterator[Finding]:
    """System, processor, memory."""
    yield Finding("platform", "system", platform.platform())
    yield Finding("platform", "machine", platform.machine())
    yield Finding("platform", "cores", _cores())
    memory = _memory_bytes()
    yield Finding("platform", "memory", "unknown" if memory is None else f"{memory / 2**30:.1f} GiB")
    yield Finding("platform", "encoding", f"{sys.getfilesystemencoding()} file names, {sys.stdout.encoding} output")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cores() -> str:
    count = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    return str(count) if usable == count else f"{count}, of which this process may use {usable}"


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not a POSIX system, or one that does not tell
        return None
