"""Different pictures of one template are never copies, and light edits of them mostly are."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from dedupe_pictures import CHANGES, EDITS, TEMPLATES, family, font, scene
from PIL import Image, ImageDraw, ImageEnhance

from clipcli.tasks.dedupe.likeness import compare, sign


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["forms", "walls", "letters", "scans", "cameras", "icons"])
def test_what_differs_in_one_place_is_no_copy(kind):
    first, second = family(kind, 3, 2)
    assert compare(sign(first), sign(second)).verdict != "near"


@pytest.mark.slow
@pytest.mark.parametrize("kind", TEMPLATES)
def test_no_two_of_a_template_are_copies(kind):
    for seed in (4, 5):
        signed = [sign(image) for image in family(kind, seed, 5)]
        assert [pair for pair in combinations(signed, 2) if compare(*pair).verdict == "near"] == []


@pytest.fixture(scope="module")
def signed(photo):
    return sign(photo)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_in_one_place_is_an_edit(change, photo, signed):
    changed = sign(CHANGES[change](photo))
    assert compare(signed, changed).verdict == "edited"
    assert compare(changed, signed).verdict == "edited"


@pytest.mark.parametrize("edit", ["resize25", "q10", "crop10", "border12", "screen", "turn3", "bright130", "sharp"])
def test_a_copy_is_near_in_either_order(edit, photo, signed):
    edited = sign(EDITS[edit](photo))
    assert compare(signed, edited).verdict == "near"
    assert compare(edited, signed).verdict == "near"


@pytest.mark.parametrize(("one", "other"), [("border12", "border5"), ("border2", "border12")])
def test_copies_with_borders_of_two_shades_are_near(one, other, photo):
    first, second = sign(EDITS[one](photo)), sign(EDITS[other](photo))
    assert compare(first, second).verdict == "near"
    assert compare(second, first).verdict == "near"


@pytest.mark.parametrize("kind", ["forms", "tickets", "slides"])
def test_borders_of_two_shades_hide_no_difference(kind):
    first, second = family(kind, 3, 2)
    assert compare(sign(EDITS["border12"](first)), sign(EDITS["border5"](second))).verdict != "near"


@pytest.mark.parametrize("edit", ["crop3", "crop6", "corner10", "turn1", "border2"])
def test_a_thing_on_plain_ground_that_reaches_the_edge_can_be_cropped(edit, thing):
    whole, cut = sign(thing), sign(EDITS[edit](thing))
    assert compare(whole, cut).verdict == "near"
    assert compare(cut, whole).verdict == "near"


def test_colours_whose_tones_were_cut_off_are_a_copy_and_other_colours_are_not():
    own = np.random.default_rng(5)
    photo = ImageEnhance.Color(scene(own, (400, 300))).enhance(1.5)
    bright = ImageEnhance.Brightness(photo).enhance(1.8)
    assert compare(sign(photo), sign(bright)).verdict == "near"
    shirt = bright.copy()
    shirt.paste((255, 40, 40), (120, 90, 280, 210))
    other = bright.copy()
    other.paste((40, 120, 255), (120, 90, 280, 210))
    assert compare(sign(shirt), sign(other)).verdict != "near"


@pytest.mark.parametrize("edit", ["crop3", "turn1", "border2"])
def test_a_caption_below_a_strip_that_was_cut_off_is_seen(edit, photo):
    captioned, cropped = sign(CHANGES["caption"](photo)), sign(EDITS[edit](photo))
    assert compare(captioned, cropped).verdict == "edited"
    assert compare(cropped, captioned).verdict == "edited"


def test_what_was_written_in_a_margin_that_is_cut_off_is_an_edit():
    page = TEMPLATES["letters"](np.random.default_rng(9), 0)
    ImageDraw.Draw(page).text((420, 1050), "page 7", fill="#202020", font=font(18))
    cut = page.crop((0, 0, 850, 1020))
    assert compare(sign(page), sign(cut)).verdict == "edited"
    assert compare(sign(cut), sign(page)).verdict == "edited"


def test_one_digit_of_a_clock_is_an_edit_where_nothing_else_differs():
    first, _, third = family("screenshots", 4, 3)  # 09:05 and 09:08
    assert compare(sign(first), sign(third)).verdict == "edited"
    assert compare(sign(third), sign(third)).verdict == "near"


@pytest.fixture(scope="module")
def thing(photo) -> Image.Image:
    """A photo of a thing on smooth ground, which goes on at its foot."""
    image = Image.new("RGB", (400, 400), "#b8b0a4")
    light = Image.linear_gradient("L").resize((400, 400)).point(lambda value: value // 12)
    image = Image.blend(image, Image.merge("RGB", [light] * 3), 0.08)
    shape = Image.new("L", image.size, 0)
    ImageDraw.Draw(shape).polygon([(120, 60), (280, 60), (330, 250), (240, 400), (160, 400), (70, 250)], 255)
    image.paste(photo.resize(image.size), (0, 0), shape)
    return image


@pytest.mark.thorough
@pytest.mark.parametrize("folder", ["blank", "forms", "icons_white", "signed", "walls"])
def test_templates_of_shared(shared, folder):
    signed = [sign(Image.open(file)) for file in sorted((shared / "data/faults/templates" / folder).iterdir())]
    assert [pair for pair in combinations(signed, 2) if compare(*pair).verdict == "near"] == []


@pytest.mark.thorough
def test_templates_of_shared_together(shared):
    signed = [sign(Image.open(file)) for file in sorted((shared / "data/faults/templates").glob("*/*"))]
    assert [pair for pair in combinations(signed, 2) if compare(*pair).verdict == "near"] == []


@pytest.mark.parametrize("side", [20, 60])
def test_a_mark_on_a_large_ground_is_not_the_icon_of_its_shape(side, photo):
    icon = Image.new("RGB", (256, 256), "black")
    ImageDraw.Draw(icon).ellipse((40, 40, 216, 216), fill="white")
    wall = Image.new("RGB", (1200, 800), "black")
    wall.paste(icon.resize((side, side)), (600 - side // 2, 400 - side // 2))
    assert compare(sign(icon), sign(wall)).verdict != "near"
    letterboxed = Image.new("RGB", (800, 900), "black")
    letterboxed.paste(photo, (200, 300))
    assert compare(sign(photo), sign(letterboxed)).verdict == "near"


@pytest.mark.parametrize("kind", ["ellipse", "rectangle"])
@pytest.mark.parametrize("other", [(760, 150, 32), (300, 480, 40), (900, 560, 64)])
def test_small_marks_at_different_positions_are_not_copies(kind, other):
    first, second = _mark_on_ground(kind, 420, 400, 32), _mark_on_ground(kind, *other)
    assert compare(sign(first), sign(second)).verdict != "near"
    assert compare(sign(second), sign(first)).verdict != "near"
    assert compare(sign(first), sign(first.resize((640, 360)))).verdict == "near"


def _mark_on_ground(kind: str, x: int, y: int, side: int) -> Image.Image:
    image = Image.new("RGB", (1280, 720), "#42544e")
    getattr(ImageDraw.Draw(image), kind)((x, y, x + side, y + side), fill="#bcd7e6")
    return image


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """As much structure as a photo has."""
    return scene(np.random.default_rng(9), (400, 300))
