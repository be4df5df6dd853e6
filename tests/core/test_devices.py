"""What this machine can do, told without torch, and the threads of numpy; the engine has the last word."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from clipcli.core.devices import (
    accelerator,
    cpu_lanes,
    cpu_with_bf16,
    has_onnx_runtime,
    model_threads,
    single_threaded_blas,
    usable_cores,
)
from clipcli.errors import DeviceError


class Driver:
    """NVIDIA's driver library, as far as it is asked."""

    def __init__(self, status: int, devices: int) -> None:
        self.status, self.devices = status, devices

    def cuInit(self, _flags: int) -> int:  # noqa: N802 - the library's own name
        return self.status

    def cuDeviceGetCount(self, count: object) -> int:  # noqa: N802 - the same
        count._obj.value = self.devices  # type: ignore[attr-defined]
        return 0


@pytest.mark.parametrize(
    ("driver", "expected"), [(None, None), (Driver(0, 2), "cuda"), (Driver(0, 0), None), (Driver(100, 2), None)]
)
def test_cuda_is_there_when_the_driver_lists_a_device(
    monkeypatch: pytest.MonkeyPatch, driver: Driver | None, expected: str | None
):
    def load(_name: str) -> Driver:
        if driver is None:
            raise OSError("no such library")
        return driver

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", load)
    assert accelerator() == expected


@pytest.mark.parametrize(("machine", "expected"), [("arm64", "mps"), ("x86_64", None)])
def test_mps_is_there_on_apple_silicon(monkeypatch: pytest.MonkeyPatch, machine: str, expected: str | None):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert accelerator() == expected


XEON = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Some Xeon @ 2.00GHz
flags\t\t: fpu sse2 avx512f avx512_bf16 amx_tile
power management:

processor\t: 1
model name\t: Some Xeon @ 2.00GHz
flags\t\t: fpu sse2 avx512f avx512_bf16 amx_tile
power management:
"""
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (XEON, "Some Xeon @ 2.00GHz"),
        (XEON.replace("avx512_bf16", "amx_bf16"), "Some Xeon @ 2.00GHz"),
        (XEON.replace("avx512_bf16", "avx512bw"), ""),
        (GRAVITON, "0x41 0xd40"),
        (GRAVITON.replace(" bf16", ""), ""),
        ("flags : bf16", "CPU"),
        ("", ""),
    ],
)
def test_bf16_is_there_when_the_cpu_says_so(tmp_path: Path, text: str, expected: str):
    path = tmp_path / "cpuinfo"
    path.write_text(text, encoding="utf-8")
    assert cpu_with_bf16(path) == expected


def test_a_system_that_does_not_tell_has_no_bf16(tmp_path: Path):
    assert cpu_with_bf16(tmp_path / "none") == ""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """torch, as it would see a machine with these devices."""
    import torch

    def make(*, cuda: int = 0, mps: bool = False, bf16: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
        monkeypatch.setattr(torch.backends, "mps", SimpleNamespace(is_available=lambda: mps))

    return make


@pytest.mark.parametrize(
    ("asked", "there", "found"),
    [
        ("auto", {"cuda": 1, "mps": True}, "cuda"),
        ("auto", {"mps": True}, "mps"),
        ("auto", {}, "cpu"),
        ("cpu", {"cuda": 1}, "cpu"),
        ("cuda", {"cuda": 1}, "cuda"),
        ("cuda:1", {"cuda": 2}, "cuda:1"),
        ("mps", {"mps": True}, "mps"),
    ],
)
def test_devices_in_their_order(machine, asked: str, there: dict[str, int], found: str):
    from clipcli.engines.torch_devices import resolve_device

    machine(**there)
    assert resolve_device(asked) == found


@pytest.mark.parametrize(
    ("asked", "there", "message", "hint"),
    [
        ("cuda", {}, "no CUDA device here", "--device cpu"),
        ("cuda:7", {}, "no CUDA device here", "nvidia-smi"),
        ("cuda:7", {"cuda": 2}, "no device cuda:7: there are 2 CUDA devices, numbered from 0", "--device cuda"),
        ("cuda:1", {"cuda": 1}, "no device cuda:1: there is 1 CUDA device, cuda:0", "--device cuda"),
        ("mps", {"cuda": 1}, "no MPS device here: it needs Apple silicon", "--device auto"),
    ],
)
def test_a_device_that_is_absent_is_an_error(machine, asked: str, there: dict[str, int], message: str, hint: str):
    from clipcli.engines.torch_devices import resolve_device

    machine(**there)
    with pytest.raises(DeviceError) as caught:
        resolve_device(asked)
    assert caught.value.message == message
    assert caught.value.hint is not None
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("device", "there", "precision"),
    [
        ("cpu", {}, "fp32"),
        ("cuda", {"cuda": 1}, "bf16"),
        ("cuda:1", {"cuda": 2, "bf16": False}, "fp16"),
        ("mps", {"mps": True}, "fp16"),
    ],
)
def test_the_natural_precision_of_a_device(machine, device: str, there: dict[str, int], precision: str):
    from clipcli.engines.torch_devices import natural_precision

    machine(**there)
    assert natural_precision(device) == precision


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "5000 100000"}, 1),
        ({"cpu.max": "6400000 100000"}, 8),
        ({"cpu.max": "nonsense"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "300000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "0"}, 8),
    ],
)
def test_cores_are_those_that_a_container_may_use(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert usable_cores(tmp_path) == cores


def test_cores_are_those_that_a_scheduler_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {5, 6, 7}, raising=False)
    assert usable_cores(tmp_path) == 3


def test_onnx_runtime_is_looked_for_without_importing_it(monkeypatch: pytest.MonkeyPatch):
    assert has_onnx_runtime()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert not has_onnx_runtime()


@pytest.mark.parametrize(
    ("asked", "cores", "threads", "lanes"),
    [
        (None, 1, 1, (1, 1)),
        (None, 2, 2, (2, 1)),
        (None, 8, 8, (8, 1)),
        (None, 12, 12, (6, 2)),
        (None, 20, 20, (6, 3)),
        (None, 64, 64, (8, 8)),
        ("1", 64, 1, (1, 1)),
        ("16,2", 64, 16, (8, 2)),
        ("0", 4, 1, (1, 1)),
        ("all", 4, 4, (4, 1)),
    ],
)
def test_lanes_share_the_threads_that_a_model_may_use(monkeypatch, asked, cores, threads, lanes):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr("clipcli.core.devices.usable_cores", lambda: cores)
    assert (model_threads(), cpu_lanes()) == (threads, lanes)


def test_every_thread_has_a_cuda_stream_that_waits_for_the_weights(monkeypatch):
    import torch

    from clipcli.engines.torch_devices import Streams

    done: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: done.append(f"wait for {device}"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: done.append("stream") or object())
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    streams = Streams("cuda:1")

    def twice() -> list[object]:
        found = []
        for _ in range(2):
            with streams.own_stream() as stream:
                found.append(stream)
        return found

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        (a, b), (c, d) = one.submit(twice).result(), other.submit(twice).result()
    assert (a is b, c is d, a is c) == (True, True, False)
    assert done == ["wait for cuda:1", "stream"] * 2
    with Streams("cpu").own_stream() as nothing:
        assert nothing is None


def threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_products_take_one_thread_inside_and_as_many_as_before_afterwards() -> None:
    before = threads()
    if not before:
        pytest.skip("numpy brings no BLAS that can be limited (Accelerate)")
    with single_threaded_blas():
        assert threads() == {1}
        assert np.allclose(np.eye(64) @ np.eye(64), np.eye(64))
    assert threads() == before
