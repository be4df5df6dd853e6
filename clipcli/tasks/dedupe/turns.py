"""The eight ways to lay a picture down: four turns, each also mirrored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

NAMES: Final = (
    "upright", "turned 90°", "turned 180°", "turned 270°",
    "mirrored", "mirrored, turned 90°", "mirrored, turned 180°", "mirrored, turned 270°",
)  # fmt: skip
TURNS: Final = len(NAMES)


def turn(array: npt.NDArray[Any], number: int) -> npt.NDArray[Any]:
    """The picture (height, width, …) in one of the eight ways, by its place in `NAMES`; quarter turns are clockwise."""
    mirrored = array[:, ::-1] if number >= TURNS // 2 else array
    return np.ascontiguousarray(np.rot90(mirrored, -(number % 4)))
