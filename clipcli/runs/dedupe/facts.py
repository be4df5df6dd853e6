"""What is cached: facts of a picture (size, format, the sketch that finds candidates), and verdicts on pairs."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from clipcli.tasks.dedupe.likeness import Likeness
from clipcli.tasks.dedupe.sketches import SIDE

if TYPE_CHECKING:
    import numpy.typing as npt

    from clipcli.tasks.dedupe.likeness import Verdict

_HEAD: Final = struct.Struct("<IIIBf")
_COLOURED: Final = 1
_CAMERA: Final = 2
_FORMAT_BYTES: Final = 16
VERDICTS: Final[tuple[Verdict, ...]] = ("other", "edited", "near")
"""From the least alike to the most; a verdict is cached as its index."""
_LIKENESS: Final = struct.Struct("<BHdBd")


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
    """(regions, 32, 32), see `sketch_of`."""

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


def pack_likeness(likeness: Likeness) -> bytes:
    """Return the bytes to cache for a comparison."""
    verdict = VERDICTS.index(likeness.verdict)
    return _LIKENESS.pack(verdict, likeness.distance, likeness.structure, likeness.turn, likeness.peak)


def unpack_likeness(data: bytes | None) -> Likeness | None:
    """Return the comparison from the bytes of `pack_likeness`; None for other bytes."""
    if data is None or len(data) != _LIKENESS.size:
        return None
    verdict, distance, structure, turn, peak = _LIKENESS.unpack(data)
    return Likeness(VERDICTS[verdict], distance, structure, turn, peak) if verdict < len(VERDICTS) else None
