"""The device for torch: its choice, its precision, its threads and streams, and its errors when memory runs out."""

from __future__ import annotations

import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from clipcli.core.devices import model_threads
from clipcli.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from clipcli.core.encoder import Precision

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def resolve_device(device: str) -> str:
    """Return the device; `auto` takes CUDA, then MPS, then the CPU.

    Raises:
        DeviceError: the requested device does not exist.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = device.partition(":")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise DeviceError("no CUDA device here", hint="use --device cpu, or check the driver with nvidia-smi")
        if index and int(index) >= count:
            devices = "is 1 CUDA device, cuda:0" if count == 1 else f"are {count} CUDA devices, numbered from 0"
            raise DeviceError(f"no device {device}: there {devices}", hint="--device cuda")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("no MPS device here: it needs Apple silicon", hint="--device cpu or --device auto")
    return device


def natural_precision(device: str) -> Precision:
    """Return the precision for `auto`: fp32 on the CPU, bf16 on CUDA devices with bf16, fp16 on other accelerators."""
    if device == "cpu":
        return "fp32"
    return "bf16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "fp16"


@contextmanager
def one_kind_of_memory_error() -> Iterator[None]:
    """Turn every "out of memory" error, of CUDA, MPS and the host, into a MemoryError."""
    try:
        yield
    except RuntimeError as error:
        if any(words in str(error) for words in _OUT_OF_MEMORY):
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            raise MemoryError(str(error).splitlines()[0]) from error
        raise


@contextmanager
def all_threads() -> Iterator[None]:
    """Let one batch use every thread that a model may use on the CPU, inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(model_threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Streams:
    """One CUDA stream per thread, so that one thread copies while another computes."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._of_thread = threading.local()

    def own_stream(self) -> AbstractContextManager[Any]:
        """Use this thread's stream inside the block; no effect without CUDA."""
        if not self._device.startswith("cuda"):
            return nullcontext()
        if not hasattr(self._of_thread, "stream"):
            # The weights were copied on the default stream, for which other streams do not wait.
            torch.cuda.synchronize(self._device)
            self._of_thread.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        return torch.cuda.stream(self._of_thread.stream)
