"""JPEG decoding on an NVIDIA GPU (nvJPEG, through torchvision), as far as it goes: the CPU has the rest."""

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
"""Where the end of a whole file is looked for: some programs leave a few bytes behind it."""
_END = b"\xff\xd9"


class JpegDecoder:
    """Decodes and shrinks on the GPU, so that what comes back to the CPU is small."""

    def __init__(self, device: str) -> None:
        """Take the decoder of `device`.

        Raises:
            DeviceError: this torchvision has none.
        """
        self._device = device
        self._decode = _decoder()

    def __call__(self, data: bytes, least: tuple[int, int]) -> Image.Image | None:
        """Decode a JPEG file → an RGB image, smaller where it is large, or None where the CPU has to do it.

        The mean of a few by a few pixels becomes one, so that no less than `least` is left.

        Args:
            data: the whole file. One without an end is not taken: nvJPEG would fill up what is missing.
            least: width and height.
        """
        if _END not in data[-_TAIL_BYTES:]:
            return None
        try:
            with torch.inference_mode():
                # A copy: torch warns of memory that it may not write, and shares it.
                pixels = self._decode(torch.frombuffer(bytearray(data), dtype=torch.uint8), self._device)
                _, height, width = pixels.shape
                factor = min(width // least[0], height // least[1])
                if factor > 1:
                    # Boxes of even widths, to the last pixel: cut off or half filled ones would move the picture.
                    means = adaptive_avg_pool2d(pixels.float(), (height // factor, width // factor))
                    pixels = means.round_().to(torch.uint8)
                return Image.fromarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy())
        except RuntimeError:  # a kind of JPEG that it does not know, a damaged one, no memory left
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
