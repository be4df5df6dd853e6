"""The pictures that README's demo names: drawn by a script that anyone can run again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageChops

EXAMPLES = Path(__file__).parent.parent / "examples"
PICTURES = sorted(path.name for path in EXAMPLES.glob("*.png"))


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("redrawn")
    subprocess.run([sys.executable, str(EXAMPLES / "draw.py"), str(folder)], check=True, stdout=subprocess.DEVNULL)
    return folder


def test_the_script_draws_exactly_the_pictures_that_are_here(redrawn):
    assert len(PICTURES) >= 10
    assert sorted(path.name for path in redrawn.iterdir()) == PICTURES


@pytest.mark.parametrize("name", PICTURES)
def test_drawing_again_gives_the_same_pixels(redrawn, name):
    with Image.open(EXAMPLES / name) as kept, Image.open(redrawn / name) as drawn:
        assert (kept.mode, kept.size) == (drawn.mode, drawn.size) == ("RGB", (256, 256))
        difference = ImageChops.difference(kept, drawn)
    # Releases of Pillow differ in a sub-pixel of a slanted line; nothing that an eye or a model could notice.
    assert max(high for _, high in difference.getextrema()) <= 4
    assert sum(difference.convert("L").histogram()[1:]) <= 20


def test_no_two_pictures_are_alike():
    assert len({(EXAMPLES / name).read_bytes() for name in PICTURES}) == len(PICTURES)


def test_they_stay_small():
    assert sum((EXAMPLES / name).stat().st_size for name in PICTURES) < 150_000
