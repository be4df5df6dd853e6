"""Decode JPEG files on an NVIDIA GPU (nvJPEG, through torchvision); files it cannot decode are left to the CPU."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d

from clipcli.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable

_TAIL_BYTES = 64
"""Bytes at the end of a file in which the end marker is searched; some programs append a few bytes."""
_END = b"\xff\xd9"


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
