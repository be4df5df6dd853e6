"""List the folders and devices, and why a device cannot be used, without importing torch."""

from __future__ import annotations

import ctypes
import os
import platform
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.cache import cache_folder
from clipcli.core.devices import accelerator
from clipcli.core.files import is_file, is_folder, is_there
from clipcli.runs.doctor.rows import DoctorRow

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOM = 100_000_000
"""Free bytes below which caches are likely to fail."""


def folders() -> Iterator[DoctorRow]:
    """Yield the path, the size and the state of each cache folder."""
    clipcli_cache = cache_folder()
    yield DoctorRow("cache", "clipcli", f"{clipcli_cache}, {_state(clipcli_cache)}", _is_usable(clipcli_cache))
    for name in ("vectors", "bundles", "models"):
        parts = [clipcli_cache / name]
        if name == "vectors":
            parts = list(clipcli_cache.glob("vectors-*")) if is_folder(clipcli_cache) else []
        yield DoctorRow("cache", f"clipcli {name}", _megabytes(sum(map(size_of, parts))))
    hub = hub_folder()
    models = sum(entry.name.startswith("models--") for entry in hub.iterdir()) if is_folder(hub) else 0
    yield DoctorRow("cache", "hub", f"{hub}, {_state(hub)}, {models} repositor{'y' if models == 1 else 'ies'}")


def hub_folder() -> Path:
    """Return huggingface_hub's cache folder."""
    from clipcli.hub.local_files import repository_folder

    return repository_folder("any/name", None).parent


def size_of(path: Path) -> int:
    """Return the size in bytes of a file, or of the files in a folder; links are not followed."""
    if is_file(path):
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                status = (Path(folder) / name).lstat()
            except OSError:
                continue
            total += status.st_size
    return total


def _state(folder: Path) -> str:
    return _megabytes(size_of(folder)) if is_folder(folder) else "does not exist yet"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _is_usable(folder: Path) -> bool:
    """Return whether files can be created in a folder, or in its nearest existing parent, and there is space."""
    existing_folder = next(parent for parent in (folder, *folder.absolute().parents) if is_there(parent))
    if not (is_folder(existing_folder) and os.access(existing_folder, os.W_OK | os.X_OK)):
        return False
    if not hasattr(os, "statvfs"):
        return True
    disk = os.statvfs(existing_folder)
    return disk.f_bavail * disk.f_frsize >= _ROOM


_CPU_FEATURES = (
    "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm"
)  # fmt: skip
"""Flags of /proc/cpuinfo that determine speed and precisions."""


def devices() -> Iterator[DoctorRow]:
    """Yield one row each for CUDA, MPS, the CPU, and the choice of `--device auto`."""
    device = accelerator()
    yield DoctorRow("device", "auto", _chosen(device))
    yield DoctorRow("device", "cuda", _cuda(device == "cuda"))
    yield DoctorRow("device", "mps", _mps())
    yield DoctorRow("device", "cpu", _cpu(Path("/proc/cpuinfo")))


def _chosen(found: str | None) -> str:
    build = _cuda_of_torch()
    if found == "cuda" and build == "":
        return "cpu: there is an NVIDIA device, but the installed torch is a build for the CPU"
    return found or "cpu"


def _cuda(found: bool) -> str:
    build = _cuda_of_torch()
    torch = {None: "torch is not installed", "": "torch is a build for the CPU"}.get(build, f"torch for CUDA {build}")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    limits = "" if visible is None else f", CUDA_VISIBLE_DEVICES={visible!r}"
    if found:
        return f"yes: the NVIDIA driver lists a device; {torch}{limits}"
    if platform.system() == "Darwin":
        return "no: there is no CUDA on macOS"
    library = "nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1"
    try:
        ctypes.CDLL(library)
    except OSError:
        return f"no: there is no NVIDIA driver ({library}); {torch}"
    return f"no: the NVIDIA driver is there but lists no device; {torch}{limits}"


def _cuda_of_torch() -> str | None:
    """Return the CUDA version of the installed torch; empty for a CPU build, None without torch."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return ""
    found = re.search(r"^cuda\b[^=\n]*=\s*['\"]([^'\"]+)", text, re.MULTILINE)
    return found[1] if found else ""


def _mps() -> str:
    if platform.system() != "Darwin":
        return "no: only on macOS"
    return "yes: Apple silicon" if platform.machine() == "arm64" else "no: needs Apple silicon"


def _cpu(cpuinfo: Path) -> str:
    """Return the processor's name, its vector extensions, and whether it supports bfloat16."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    fields: dict[str, str] = dict(re.findall(r"^([\w ]+?)\s*:\s*(.+)$", text, re.MULTILINE))
    flags = set((fields.get("flags") or fields.get("Features", "")).split())
    features = [name for name in _CPU_FEATURES if name in flags]
    bf16 = "computes in bf16" if flags & {"avx512_bf16", "amx_bf16", "bf16"} else "no bf16"
    name = fields.get("model name") or platform.processor() or platform.machine()
    return f"{name}; {' '.join(features) or 'no known vector extensions'}; {bf16}"
