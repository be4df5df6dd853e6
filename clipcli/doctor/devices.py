"""Which devices there are, and why one that is wished for is not; torch is not imported to ask."""

from __future__ import annotations

import ctypes
import os
import platform
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.devices import accelerator
from clipcli.doctor.rows import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

_CPU_FEATURES = (
    "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm"
)  # fmt: skip
"""Flags of /proc/cpuinfo that decide how fast a tower runs and in which precisions."""


def devices() -> Iterator[Finding]:
    """One line each for CUDA, MPS and the CPU, and the one that `--device auto` takes."""
    found = accelerator()
    yield Finding("device", "auto", _chosen(found))
    yield Finding("device", "cuda", _cuda(found == "cuda"))
    yield Finding("device", "mps", _mps())
    yield Finding("device", "cpu", _cpu(Path("/proc/cpuinfo")))


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
    """The CUDA that the installed torch was built for, empty for none, read from its own version.py."""
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
    """The processor's name, what it can do, and whether it computes in bfloat16."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    told: dict[str, str] = dict(re.findall(r"^([\w ]+?)\s*:\s*(.+)$", text, re.MULTILINE))
    flags = set((told.get("flags") or told.get("Features", "")).split())
    features = [name for name in _CPU_FEATURES if name in flags]
    bf16 = "computes in bf16" if flags & {"avx512_bf16", "amx_bf16", "bf16"} else "no bf16"
    name = told.get("model name") or platform.processor() or platform.machine()
    return f"{name}; {' '.join(features) or 'no known vector extensions'}; {bf16}"
