"""A session of a detection model, with a detector that has room for a few images."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pictures
import pytest

from clipcli.core.console import Console
from clipcli.errors import DeviceError, ImageError
from clipcli.inputs.collect import ImageRef
from clipcli.models.loader import OpenDetector
from clipcli.session.detector_session import DetectorSession
from clipcli.session.prepare import SessionOptions

if TYPE_CHECKING:
    from pathlib import Path


class SmallDetector:
    """Proposes one box for each image, with a score that depends on the image."""

    kind = SimpleNamespace(box_unit="edges")

    def __init__(self, room: int) -> None:
        self.room = room
        self.batches: list[int] = []

    def detect(self, images: list) -> list:
        self.batches.append(len(images))
        if len(images) > self.room:
            raise MemoryError("no room")
        box = np.array([[0.5, 0.5, 0.5, 0.5]], np.float32)
        return [SimpleNamespace(boxes=box, scores=np.array([[image.width / 100]], np.float32)) for image in images]


@pytest.fixture
def refs(tmp_path: Path) -> list[ImageRef]:
    paths = [tmp_path / f"{number}.png" for number in range(10)]
    for number, path in enumerate(paths):
        pictures.disc("red", (20 + number, 20)).save(path)
    paths[9].write_bytes(b"broken")
    return [ImageRef(str(path), path.name) for path in paths]


def session(detector: SmallDetector) -> DetectorSession:
    return DetectorSession(OpenDetector(detector, "small", "0" * 12, "cuda"), Console(), SessionOptions(batch_size=4))


def test_a_batch_that_does_not_fit_stays_halved_and_changes_no_box(refs, capsys):
    large, small = SmallDetector(10), SmallDetector(2)
    expected = list(session(large).detect(refs))
    results = list(session(small).detect(refs))
    assert [ref for ref, _ in results] == refs
    assert isinstance(results[9][1], ImageError)
    for (_, mine), (_, other) in zip(results, expected, strict=True):
        assert isinstance(mine, ImageError) or np.array_equal(mine.scores, other.scores)
    assert small.batches == [4, 2, 2, 2, 2, 1]
    assert capsys.readouterr().err.count("out of memory: continuing with batches of") == 1


def test_one_image_that_does_not_fit_is_an_error(refs):
    with pytest.raises(DeviceError, match="one image does not fit into the memory of cuda"):
        list(session(SmallDetector(0)).detect(refs))
