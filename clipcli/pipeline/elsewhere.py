"""JPEG decoding on the GPU, found and loaded when the first image asks for it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from clipcli.devices import accelerator
from clipcli.errors import DeviceError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from clipcli.engines.nvjpeg import JpegDecoder

_HINT = "--fast-decode is the CPU's way to decode large photos faster"


def gpu_decoder(device: str) -> GpuDecoder:
    """A decoder for the device that a model was asked to run on; nothing is loaded yet.

    Raises:
        UsageError: that is another kind of device.
        DeviceError: there is no CUDA device here.
    """
    if device.partition(":")[0] not in {"auto", "cuda"}:
        raise UsageError(f"--gpu-decode decodes on a CUDA device, and --device says {device}", hint=_HINT)
    if accelerator() != "cuda":
        raise DeviceError("--gpu-decode: no CUDA device here", hint=_HINT)
    return GpuDecoder("cuda" if device == "auto" else device)


class GpuDecoder:
    """See `clipcli.engines.nvjpeg.JpegDecoder`, which it becomes at the first use: a run from the cache needs none."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._decoder: JpegDecoder | None = None
        self._changing = threading.Lock()
        self.asked = self.taken = 0
        """JPEGs that came here, and those of them that were decoded here."""

    def __call__(self, data: bytes, least: tuple[int, int]) -> Image | None:
        """A JPEG file → an image of no less than `least`, or None."""
        with self._changing:
            if self._decoder is None:
                from clipcli.engines.nvjpeg import JpegDecoder

                self._decoder = JpegDecoder(self._device)
        found = self._decoder(data, least)
        with self._changing:
            self.asked += 1
            self.taken += found is not None
        return found
