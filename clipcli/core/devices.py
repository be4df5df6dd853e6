"""What this machine can do, asked before torch is imported, since importing it to hear "no" costs seconds."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from importlib.util import find_spec
from pathlib import Path

_MOST_LANES = 8


def accelerator() -> str | None:
    """`mps` on Apple silicon, `cuda` where the NVIDIA driver lists a device, else None; torch has the last word."""
    if sys.platform == "darwin":
        return "mps" if platform.machine() == "arm64" else None
    return "cuda" if _cuda_devices() else None


def _cuda_devices() -> int:
    """Devices that the NVIDIA driver sees, honouring CUDA_VISIBLE_DEVICES; 0 without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def cpu_with_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the CPU's name where it says that it computes in bfloat16, empty where it does not or cannot be asked."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    told = dict(re.findall(r"^([\w ]+?)[ \t]*:[ \t]*(.+)$", text, re.MULTILINE))
    flags = set((told.get("flags") or told.get("Features") or "").split())
    name = told.get("model name") or f"{told.get('CPU implementer', '')} {told.get('CPU part', '')}".strip() or "CPU"
    return name if flags & {"avx512_bf16", "amx_bf16", "bf16"} else ""


def has_onnx_runtime() -> bool:
    """Return whether ONNX Runtime is installed; it is not imported."""
    return find_spec("onnxruntime") is not None


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use: fewer than there are under `taskset`, a batch scheduler or in a container."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = _quota(cgroup, "cpu.max") or _quota(cgroup, "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")
    return min(allowed, given) if given else allowed


def model_threads() -> int:
    """Threads that a model may use on the CPU: every usable core.

    `OMP_NUM_THREADS` says otherwise; torch listens to it as well, and Ray gives it to a worker that may use a part of
    the cores.
    """
    setting = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return max(1, int(setting)) if setting.isdigit() else usable_cores()


def cpu_lanes() -> tuple[int, int]:
    """Return how many batches go through a model side by side on the CPU, and the threads of each.

    Batches side by side keep the cores busy where the threads of one batch wait for each other at the end of every
    layer (benchmarks/results/embed.md). Each takes memory of its own, so that there are not as many as a server has
    cores.
    """
    threads = model_threads()
    each = -(-threads // _MOST_LANES)
    return threads // each, each


def _quota(cgroup: Path, *files: str) -> int | None:
    """Cores' worth of time that a container is given, rounded up; version 2 says so in one file, version 1 in two."""
    try:
        quota, period = " ".join((cgroup / name).read_text(encoding="ascii") for name in files).split()
        return max(0, -(-int(quota) // int(period))) or None
    except (OSError, ValueError, ZeroDivisionError):  # not here, or no bound: "max"
        return None
