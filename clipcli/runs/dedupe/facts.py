"""Facts of a picture, which are cached: size, format, and the sketch by which candidates are found."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from clipcli.tasks.dedupe.sketches import SIDE

if TYPE_CHECKING:
    import numpy.typing as npt

_HEAD: Final = struct.Struct("<IIIBf")
_COLOURED: Final = 1
_CAMERA: Final = 2
_FORMAT_BYTES: Final = 16


@dataclass(frozen=True)
class Facts:
    """The facts of one picture, 1 to 3 kB."""

    width: int
    """Width in pixels, after EXIF orientation."""
    height: int
    frames: int
    """Number of frames of an animation, or of pages of a document."""
    format: str
    """Pillow's name, in lower case."""
    coloured: bool
    camera: bool
    """True if its metadata names the camera."""
    drawn: float
    """The flat share of the picture: near 0 for a photo."""
    sketch: npt.NDArray[np.uint8]
    """(stretches, 32, 32), see `sketch_of`."""

    @property
    def size(self) -> tuple[int, int, int]:
        """Return width, height and frames, which are equal for exact copies in other containers."""
        return self.width, self.height, self.frames

    @cached_property
    def digest(self) -> bytes:
        """Return the sha256 of all that the search for candidates uses."""
        return hashlib.sha256(struct.pack("<f", self.drawn) + self.sketch.tobytes()).digest()

    def pack(self) -> bytes:
        """Return the facts as bytes for the cache."""
        flags = _COLOURED * self.coloured + _CAMERA * self.camera
        head = _HEAD.pack(self.width, self.height, self.frames, flags, self.drawn)
        return head + self.format.encode()[:_FORMAT_BYTES].ljust(_FORMAT_BYTES) + self.sketch.tobytes()

    @classmethod
    def unpack(cls, data: bytes) -> Facts | None:
        """Return the facts from the bytes of `pack`; None for other bytes."""
        start = _HEAD.size + _FORMAT_BYTES
        if len(data) <= start or (len(data) - start) % SIDE**2:
            return None
        width, height, frames, flags, drawn = _HEAD.unpack_from(data)
        name = data[_HEAD.size : start].decode("ascii", "replace").strip()
        sketch = np.frombuffer(data, np.uint8, offset=start).reshape(-1, SIDE, SIDE)
        return cls(width, height, frames, name, bool(flags & _COLOURED), bool(flags & _CAMERA), drawn, sketch)
