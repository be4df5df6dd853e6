"""The options of a session: how images are read, and the degree of parallelism."""

from __future__ import annotations

from dataclasses import dataclass

from clipcli.images import ON_WHITE, Rendering


@dataclass(frozen=True)
class SessionOptions:
    """How images are read, and the degree of parallelism."""

    batch_size: int | None = None
    """Images per batch; None chooses by device."""
    workers: int | None = None
    """Threads that read and decode; None takes one per core."""
    orient: bool = True
    """Rotate images by their EXIF orientation."""
    rendering: Rendering = ON_WHITE
    """The conversion of pixels to RGB."""
    max_pixels: int | None = None
    use_cache: bool = True
    refresh: bool = False
    fast_decode: bool = False
    """Let the JPEG decoder shrink large images, which is faster and changes vectors slightly."""
    gpu_decode: bool = False
    """Decode JPEG files on a CUDA device, which also shrinks them; the CPU decodes files that the device cannot."""
    raw: bool = False
    """Return the towers' own vectors of any length, instead of unit vectors."""

    @property
    def decoding(self) -> tuple[str, ...]:
        """Return the names of the non-default settings of decoding."""
        settings = {"unrotated": not self.orient, "fast": self.fast_decode, "gpu": self.gpu_decode}
        return tuple(name for name, is_set in settings.items() if is_set)
