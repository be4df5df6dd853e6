from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from clipcli.tasks.dedupe.likeness import NAMES, TURNS, compare, compare_all, sign, turn


def scene(seed: int) -> Image.Image:
    """Soft blobs of colour: as much structure as a photo has, a little detail on top."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (7, 9, 3), dtype=np.uint8)).resize((360, 280), Image.BICUBIC)
    fine = Image.fromarray(generator.integers(0, 256, (28, 36, 3), dtype=np.uint8)).resize((360, 280), Image.BICUBIC)
    return Image.blend(coarse, fine, 0.35)


def page(seed: int) -> Image.Image:
    """Lines of words, all with the same margins."""
    generator = np.random.default_rng(seed)
    paper = np.full((400, 300), 255, np.uint8)
    for top in range(30, 370, 10):
        left = 30
        while left < 260:
            width = int(generator.integers(5, 30))
            paper[top : top + 4, left : left + width] = generator.integers(0, 60)
            left += width + 4
    return Image.fromarray(paper)


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "smaller": lambda i: i.resize((60, 50)),
    "another shape": lambda i: i.resize((200, 200)),
    "blurred": lambda i: i.filter(ImageFilter.GaussianBlur(4)),
    "brighter": lambda i: ImageEnhance.Brightness(i).enhance(1.3),
    "grey": lambda i: i.convert("L"),
    "one bit": lambda i: i.convert("1"),
    "palette": lambda i: i.quantize(32),
    "CMYK": lambda i: i.convert("CMYK"),
    "cropped": lambda i: i.crop((12, 8, 345, 275)),
    "a corner cut": lambda i: i.crop((34, 26, 360, 280)),
    "a border": lambda i: ImageOps.expand(i, 10, "white"),
    "16 bits": lambda i: Image.fromarray(np.asarray(i.convert("L"), np.uint16) * 257),
}


@pytest.mark.thorough
@pytest.mark.parametrize("edit", EDITS)
def test_a_light_edit_is_the_same_picture(edit):
    for seed in range(5):
        first, second = sign(scene(seed)), sign(EDITS[edit](scene(seed)))
        assert compare(first, second).same
        assert compare(second, first).same


@pytest.mark.slow
def test_different_pictures_are_not():
    scenes = [sign(scene(seed)) for seed in range(12)]
    pages = [sign(page(seed)) for seed in range(12)]
    for drawn in (scenes, pages):
        assert not any(compare(a, b).same for n, a in enumerate(drawn) for b in drawn[:n])


def test_a_page_is_itself_when_its_margin_is_cut():
    assert compare(sign(page(1)), sign(page(1).crop((12, 16, 290, 395)))).same


def test_other_colours_are_another_picture():
    assert not compare(sign(scene(3)), sign(ImageOps.invert(scene(3)))).same
    shirt = Image.new("RGB", (200, 200), "white")
    other = shirt.copy()
    shirt.paste((200, 30, 30), (60, 40, 140, 180))
    other.paste((30, 60, 230), (60, 40, 140, 180))
    assert not compare(sign(shirt), sign(other)).same


@cache
def of_scene_7():
    return sign(scene(7)), sign(scene(7), turns=True)


@pytest.mark.parametrize("number", range(TURNS))
def test_turned_pictures_when_turns_are_asked_for(number):
    turned = Image.fromarray(turn(np.asarray(scene(7)), number))
    upright, with_turns = of_scene_7()
    assert compare(upright, sign(turned)).same == (number == 0)
    found = compare(sign(turned, turns=True), with_turns)
    assert (found.same, NAMES[found.turn]) == (True, NAMES[number])


def test_pairs_compare_together_as_they_do_alone():
    pictures = [scene(1), scene(1).resize((90, 70)), scene(2), page(1), Image.new("RGB", (50, 40), "white")]
    pictures += [scene(1).rotate(90, expand=True), page(1).crop((12, 16, 290, 395))]
    signatures = [sign(picture, turns=True) for picture in pictures]
    pairs = [(one, other) for one in signatures for other in signatures if one is not other]
    together = compare_all(pairs)
    assert together == [compare(*pair) for pair in pairs]
    assert {likeness.verdict for likeness in together} >= {"near", "other"}
    assert any(likeness.turn for likeness in together if likeness.same)


def test_flat_pictures_match_by_shade_alone():
    white, nearly, grey = (
        sign(Image.new("RGB", (50, 40), shade)) for shade in ("white", (254, 254, 254), (200, 200, 200))
    )
    assert compare(white, nearly).same
    assert not compare(white, grey).same
    assert not compare(white, sign(scene(1))).same


def test_what_is_transparent_counts_as_white():
    clear = Image.new("RGBA", (90, 80), (0, 0, 0, 0))
    clear.paste(scene(2).resize((60, 50)), (10, 10))
    solid = Image.new("RGB", (90, 80), "white")
    solid.paste(scene(2).resize((60, 50)), (10, 10))
    assert compare(sign(clear), sign(solid)).distance == 0
