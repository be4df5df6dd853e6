"""Draw the difference of two pictures as a small picture, black where they are equal."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageChops

from clipcli.tasks.dedupe.likeness import TURNS, turn
from clipcli.tasks.dedupe.sheets import grounded

if TYPE_CHECKING:
    import numpy.typing as npt

_EDGE: Final = 128
_STRONGER: Final = 4
_QUALITY: Final = 60
_GLANCE: Final = 32


def difference(kept: Image.Image, other: Image.Image, *, turned: bool = False) -> str:
    """A JPEG data URI of two to four kB: absolute differences of the colours at 128 pixels, four times as strong.

    The other picture is stretched to the kept one's shape, and first laid down as it fits best where it was `turned`.
    """
    shrink = min(1.0, _EDGE / max(kept.size))
    size = max(1, round(kept.width * shrink)), max(1, round(kept.height * shrink))
    one, two = grounded(kept), grounded(other)
    if turned:
        two = Image.fromarray(turn(np.asarray(two), _best_turn(one, two)))
    shown = ImageChops.difference(one.resize(size, reducing_gap=2.0), two.resize(size, reducing_gap=2.0)).point(
        lambda value: min(255, _STRONGER * value)
    )
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _best_turn(kept: Image.Image, other: Image.Image) -> int:
    one, two = _small(kept), _small(other)
    return min(range(TURNS), key=lambda number: float(np.abs(one - turn(two, number)).mean()))


def _small(image: Image.Image) -> npt.NDArray[np.float32]:
    return np.asarray(image.convert("L").resize((_GLANCE, _GLANCE), Image.Resampling.BOX), np.float32)
