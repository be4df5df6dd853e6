"""Different pictures of one template are never copies, and light edits of them mostly are."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from dedupe_pictures import CHANGES, EDITS, TEMPLATES, family, scene
from PIL import Image

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


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_in_one_place_is_an_edit(change, photo):
    assert compare(sign(photo), sign(CHANGES[change](photo))).verdict == "edited"
    assert compare(sign(CHANGES[change](photo)), sign(photo)).verdict == "edited"


@pytest.mark.parametrize("edit", ["resize25", "q10", "crop10", "border12", "screen", "turn3", "bright130", "sharp"])
def test_a_copy_is_near_in_either_order(edit, photo):
    assert compare(sign(photo), sign(EDITS[edit](photo))).verdict == "near"
    assert compare(sign(EDITS[edit](photo)), sign(photo)).verdict == "near"


@pytest.mark.thorough
@pytest.mark.parametrize("folder", ["blank", "forms", "icons_white", "signed", "walls"])
def test_templates_of_shared(shared, folder):
    signed = [sign(Image.open(file)) for file in sorted((shared / "data/faults/templates" / folder).iterdir())]
    assert [pair for pair in combinations(signed, 2) if compare(*pair).verdict == "near"] == []


@pytest.fixture
def photo() -> Image.Image:
    """As much structure as a photo has."""
    return scene(np.random.default_rng(9), (400, 300))
