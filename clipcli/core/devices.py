"""Detect devices and cores without importing torch, which takes seconds, and limit the threads of numpy."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from threadpoolctl import ThreadpoolController

_MOST_LANES = 8


def accelerator() -> str | None:
    """Return `mps` on Apple silicon, `cuda` if the NVIDIA driver lists a device, else None; torch has the final say."""
    if sys.platform == "darwin":
        return "mps" if platform.machine() == "arm64" else None
    return "cuda" if _cuda_devices() else None


def _cuda_devices() -> int:
    """Return the number of devices that the NVIDIA driver lists under CUDA_VISIBLE_DEVICES; 0 without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def cpu_with_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the CPU's name if it computes in bfloat16; empty if it does not, or if that is unknown."""
    fields = _cpu_fields(cpuinfo)
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return cpu_name(cpuinfo) if flags & {"avx512_bf16", "amx_bf16", "bf16"} else ""


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the CPU's name; "CPU" where it is unknown."""
    fields = _cpu_fields(cpuinfo)
    part = f"{fields.get('CPU implementer', '')} {fields.get('CPU part', '')}".strip()
    return fields.get("model name") or part or "CPU"


def _cpu_fields(cpuinfo: Path) -> dict[str, str]:
    """Return the fields of /proc/cpuinfo for one core; empty where it cannot be read."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return dict(re.findall(r"^([\w ]+?)[ \t]*:[ \t]*(.+)$", text, re.MULTILINE))


def has_onnx_runtime() -> bool:
    """Return whether ONNX Runtime is installed; it is not imported."""
    return find_spec("onnxruntime") is not None


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of cores this process may use; `taskset`, batch schedulers and containers reduce it."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup, "cpu.max") or _quota(cgroup, "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")
    return min(allowed, quota) if quota else allowed


def model_threads() -> int:
    """Return the number of threads a model may use on the CPU: one per usable core, or `OMP_NUM_THREADS`.

    Torch reads the same variable, and Ray sets it for a worker that may use only some of the cores.
    """
    setting = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return max(1, int(setting)) if setting.isdigit() else usable_cores()


def cpu_lanes() -> tuple[int, int]:
    """Return how many batches are encoded in parallel on the CPU, and the number of threads of each.

    The threads of one batch wait for each other at the end of every layer; parallel batches keep the cores busy
    meanwhile (benchmarks/results/embed.md). Each batch takes memory, so their number is bounded.
    """
    threads = model_threads()
    threads_per_lane = -(-threads // _MOST_LANES)
    return threads // threads_per_lane, threads_per_lane


def _quota(cgroup: Path, *files: str) -> int | None:
    """Return a container's CPU quota in cores, rounded up; cgroups keep it in one file (v2) or two (v1)."""
    try:
        quota, period = " ".join((cgroup / name).read_text(encoding="ascii") for name in files).split()
        return max(0, -(-int(quota) // int(period))) or None
    except (OSError, ValueError, ZeroDivisionError):  # not here, or no bound: "max"
        return None


def single_threaded_blas() -> AbstractContextManager[object]:
    """Return a context in which numpy's products take one thread, for the whole process.

    OpenBLAS and MKL give even a small product to all cores, and threads that wait for each other spin. Where a pool of
    threads multiplies small matrices this took ten times the time of the products themselves (2 cores, 2 workers).
    """
    limited: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limited


@cache
def _controller() -> ThreadpoolController:
    import numpy as np  # noqa: F401 - whose library must be there to be found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
