"""Where torch can run, and in which precision it runs best there."""

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


def resolve_device(asked: str) -> str:
    """`auto` → CUDA, then MPS, then the CPU; anything else must be there.

    Raises:
        DeviceError: the device asked for is not there.
    """
    if asked == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = asked.partition(":")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise DeviceError("no CUDA device here", hint="--device cpu, or check the driver with nvidia-smi")
        if index and int(index) >= count:
            there = "is 1 CUDA device, cuda:0" if count == 1 else f"are {count} CUDA devices, numbered from 0"
            raise DeviceError(f"no device {asked}: there {there}", hint="--device cuda")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("no MPS device here: it needs Apple silicon", hint="--device cpu or --device auto")
    return asked


def natural_precision(device: str) -> Precision:
    """What `--precision auto` means: fp32 on the CPU, bf16 on CUDA devices that have it, fp16 on other accelerators."""
    if device == "cpu":
        return "fp32"
    return "bf16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "fp16"


@contextmanager
def all_threads() -> Iterator[None]:
    """In the block, one batch has every thread that a model may use on the CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(model_threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Streams:
    """A CUDA stream of its own for each thread: what one copies goes on while another computes."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._of_thread = threading.local()

    def mine(self) -> AbstractContextManager[Any]:
        """Work in the block goes to this thread's stream; elsewhere than on CUDA there is nothing to choose."""
        if not self._device.startswith("cuda"):
            return nullcontext()
        if not hasattr(self._of_thread, "stream"):
            # The weights came on the default stream, which the others do not wait for.
            torch.cuda.synchronize(self._device)
            self._of_thread.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        return torch.cuda.stream(self._of_thread.stream)
