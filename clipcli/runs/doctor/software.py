"""List versions, settings and the machine, without importing large packages."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from clipcli import __version__
from clipcli.config import NAME, foreign_config, load_config
from clipcli.config.defaults import config_values
from clipcli.config.environment import VARIABLES
from clipcli.core.optional_packages import has_packages, install_command
from clipcli.errors import ConfigError
from clipcli.runs.doctor.rows import DoctorRow

if TYPE_CHECKING:
    from collections.abc import Iterator


def environment() -> Iterator[DoctorRow]:
    """Yield the environment variables that are set, without values of secrets."""
    for variable in VARIABLES:
        value = os.environ.get(variable.name)
        if value is not None:
            yield DoctorRow("environment", variable.name, "set, not shown" if variable.secret else value)


def config_file() -> Iterator[DoctorRow]:
    """Yield the config file of the working folder, its defaults and its checks."""
    try:
        config = load_config()
    except ConfigError as error:
        yield DoctorRow("config", "file", error.message, ok=False)
        return
    if foreign := foreign_config():
        yield DoctorRow("config", "ignored", f"{foreign}: it belongs to another user")
    if config.path is None:
        yield DoctorRow("config", "file", f"none: no {NAME} and no [tool.clipcli] for this folder")
        return
    yield DoctorRow("config", "file", config.path)
    for name, value in config_values(config).items():
        yield DoctorRow("config", name, ", ".join(value) if isinstance(value, list) else str(value))
    yield DoctorRow("config", "checks", ", ".join(check.name for check in config.checks) or "none")


_SHOWN = ("onnxruntime", "tokenizers", "safetensors", "huggingface_hub", "pillow", "numpy", "typer", "rich")
"""Packages that affect answers the most."""
_NEEDED = ("filelock", "ftfy", "pathspec", "platformdirs", "send2trash", "textual-image", "threadpoolctl", "tqdm")
"""Packages listed only if one is missing."""
_TORCH = ("torch", "torchvision", "open_clip_torch", "timm", "transformers", "onnx", "onnxscript")
"""Packages of the extra `torch`."""
_OPTIONAL = ("pyarrow", "pillow-heif", "pillow-jxl-plugin", "rawpy", "fsspec", "s3fs", "gcsfs", "ray")


def versions() -> Iterator[DoctorRow]:
    """Yield the versions of clipcli, Python and the packages; a missing required package is a fault."""
    yield DoctorRow("version", "clipcli", __version__)
    yield DoctorRow("version", "python", f"{platform.python_version()} ({sys.executable})")
    for name in _SHOWN + _NEEDED:
        installed = _version(name)
        if installed is None or name in _SHOWN:
            yield DoctorRow("version", name, installed or "not installed", None if installed else False)
    for name in _TORCH + _OPTIONAL:
        yield DoctorRow("version", name, _version(name) or "not installed (optional)")
    yield DoctorRow("version", "models", _models())


def machine() -> Iterator[DoctorRow]:
    """Yield system, processor and memory."""
    yield DoctorRow("platform", "system", platform.platform())
    yield DoctorRow("platform", "machine", platform.machine())
    yield DoctorRow("platform", "cores", _cores())
    memory = _memory_bytes()
    yield DoctorRow("platform", "memory", "unknown" if memory is None else f"{memory / 2**30:.1f} GiB")
    yield DoctorRow("platform", "encoding", f"{sys.getfilesystemencoding()} file names, {sys.stdout.encoding} output")


def _models() -> str:
    """Return which models this installation can run, and the command to add the others."""
    if has_packages("torch"):
        return "all: through torch, and bundles through ONNX Runtime"
    return f"tiny and bundles; for all others: {install_command('torch')}"


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
    except (AttributeError, OSError, ValueError):  # not a POSIX system, or unknown
        return None
