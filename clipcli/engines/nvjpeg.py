"""Decode JPEG files on an NVIDIA GPU (nvJPEG, through torchvision); files it cannot decode are left to the CPU.

torch is imported with the first image.
"""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING, Any

from PIL import Image

from clipcli.core.devices import accelerator
from clipcli.core.optional_packages import require_torch
from clipcli.errors import DeviceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

_TAIL_BYTES = 64
"""Bytes at the end of a file in which the end marker is searched; some programs append a few bytes."""
_END = b"\xff\xd9"

_FAST_DECODE_HINT = "--fast-decode decodes large photos faster on the CPU"


def gpu_decoder(device: str) -> GpuDecoder:
    """Return a decoder for the model's device; nothing is loaded yet.

    Raises:
        UsageError: the device is not a CUDA device.
        TorchMissingError: torch is not installed.
        DeviceError: there is no CUDA device here.
    """
    if device.partition(":")[0] not in {"auto", "cuda"}:
        raise UsageError(f"--gpu-decode needs a CUDA device, but --device is {device}", hint=_FAST_DECODE_HINT)
    require_torch("--gpu-decode")
    if accelerator() != "cuda":
        raise DeviceError("--gpu-decode: no CUDA device here", hint=_FAST_DECODE_HINT)
    return GpuDecoder("cuda" if device == "auto" else device)


class GpuDecoder:
    """A `JpegDecoder` that is loaded on first use, since a run from the cache needs none."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._decoder: JpegDecoder | None = None
        self._lock = threading.Lock()
        self.received = self.decoded = 0
        """Number of JPEG files received, and of those decoded on the GPU."""

    def __call__(self, data: bytes, min_size: tuple[int, int]) -> Image.Image | None:
        """Decode a JPEG file to an image of no less than `min_size`, or return None."""
        with self._lock:
            if self._decoder is None:
                self._decoder = JpegDecoder(self._device)
        image = self._decoder(data, min_size)
        with self._lock:
            self.received += 1
            self.decoded += image is not None
        return image


class JpegDecoder:
    """Decodes and shrinks on the GPU, so that little data is copied back."""

    def __init__(self, device: str) -> None:
        """Create a decoder for `device`.

        Raises:
            DeviceError: this torchvision has no JPEG decoder.
        """
        self._device = device
        self._decode = _decoder()

    def __call__(self, data: bytes, min_size: tuple[int, int]) -> Image.Image | None:
        """Decode a JPEG file to an RGB image, shrunk if it is large; return None if the CPU must decode it.

        Blocks of pixels are averaged, so that the image is at least `min_size`.

        Args:
            data: the whole file. None is returned for a truncated file, since nvJPEG would fill the missing part.
            min_size: width and height.
        """
        if _END not in data[-_TAIL_BYTES:]:
            return None
        import torch
        from torch.nn.functional import adaptive_avg_pool2d

        try:
            with torch.inference_mode():
                # A copy, since torch warns about read-only memory.
                pixels = self._decode(torch.frombuffer(bytearray(data), dtype=torch.uint8), self._device)
                _, height, width = pixels.shape
                factor = min(width // min_size[0], height // min_size[1])
                if factor > 1:
                    # Blocks that cover the picture exactly; partial ones would shift it.
                    means = adaptive_avg_pool2d(pixels.float(), (height // factor, width // factor))
                    pixels = means.round_().to(torch.uint8)
                return Image.fromarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy())
        except RuntimeError:  # an unsupported or damaged JPEG, or no memory left
            return None


def _decoder() -> Callable[[torch.Tensor, str], Any]:
    try:
        from torchvision.io import ImageReadMode, decode_jpeg
    except ImportError as error:
        raise DeviceError(
            f"--gpu-decode needs torchvision's JPEG decoder: {error}", hint="leave out --gpu-decode"
        ) from error
    warnings.filterwarnings("ignore", "The image decoding", DeprecationWarning)
    return lambda data, device: decode_jpeg(data, ImageReadMode.RGB, device)
