"""How a session reads images, and how much it does at once."""

from __future__ import annotations

from dataclasses import dataclass

from clipcli.images import ON_WHITE, Rendering


@dataclass(frozen=True)
class SessionOptions:
    """How images are read and how much is done at once."""

    batch_size: int | None = None
    """Images a step; None chooses by device."""
    workers: int | None = None
    """Threads that read and decode; None takes one a core."""
    orient: bool = True
    """Turn images as their EXIF orientation says."""
    rendering: Rendering = ON_WHITE
    """How pixels of any mode become RGB."""
    max_pixels: int | None = None
    use_cache: bool = True
    refresh: bool = False
    fast_decode: bool = False
    """Let the JPEG decoder shrink large images on the way: faster, and not quite the same vectors."""
    gpu_decode: bool = False
    """Decode JPEGs on a CUDA device, which shrinks them too; what it does not take is decoded on the CPU."""
    raw: bool = False
    """The towers' own vectors, of any length, in place of unit vectors."""

    @property
    def decoding(self) -> tuple[str, ...]:
        """Return what makes an image's pixels other than usual."""
        wishes = {"unrotated": not self.orient, "fast": self.fast_decode, "gpu": self.gpu_decode}
        return tuple(name for name, is_wished in wishes.items() if is_wished)

    @property
    def image_parts(self) -> tuple[str, ...]:
        """Return what the cache's key of an image's vector has beside the model: everything that changes its pixels.

        Nothing is added for a bare rendering: vectors of earlier versions were all made so.
        """
        return self.decoding if self.rendering.bare else (*self.decoding, self.rendering.name)
