from __future__ import annotations

import numpy as np
import pytest
from dedupe_pictures import CHANGES, EDITS, scene
from PIL import Image

from clipcli.tasks.dedupe.join import join_sets
from clipcli.tasks.dedupe.likeness import TURNS, turn
from clipcli.tasks.dedupe.sketch_join import SketchSet, WindowRows, candidate_pairs
from clipcli.tasks.dedupe.sketches import DIM, WINDOWS, describe, sketch_of

PHOTOS = [scene(np.random.default_rng(seed), (320, 240)) for seed in range(30)]


def sketch(image: Image.Image) -> np.ndarray:
    return sketch_of(np.asarray(image.convert("L"), np.uint8))


def found(one: list[np.ndarray], other: list[np.ndarray] | None = None, *, turns: bool = False) -> dict:
    """Pairs and their scores; of two sets the second is numbered behind the first."""
    every = SketchSet.of([*one, *(other or [])], [0.0] * (len(one) + len(other or [])))
    first = np.arange(len(every.drawn)) < len(one)
    sets = (every, every) if other is None else (every.only(first), every.only(~first))

    def join(queries, references, threshold, limit):
        return join_sets(queries, references, threshold, limit=limit)

    pairs = candidate_pairs(*sets, join, turns=turns)
    return dict(zip(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True), pairs.cosine.tolist(), strict=True))


@pytest.mark.thorough
@pytest.mark.parametrize("edit", sorted({**EDITS, **CHANGES}))
def test_an_edited_photo_is_a_candidate_and_strangers_are_not(edit):
    pairs = found([sketch(photo) for photo in PHOTOS], [sketch({**EDITS, **CHANGES}[edit](PHOTOS[4]))])
    assert set(pairs) == {(4, 30)}


def test_a_pair_has_one_score_from_either_side_and_in_any_set():
    two = [sketch(PHOTOS[0]), sketch(EDITS["crop6"](PHOTOS[0]))]
    others = [sketch(photo) for photo in PHOTOS[1:]]
    alone, back = found(two)[0, 1], found(two[::-1])[0, 1]
    assert alone == pytest.approx(back, abs=1e-6)
    assert found([*two, *others])[0, 1] == pytest.approx(alone, abs=1e-6)
    assert found(two[:1], two[1:])[0, 1] == pytest.approx(alone, abs=1e-6)


@pytest.mark.parametrize("number", range(TURNS))
def test_turned_pictures_only_where_they_are_asked_for(number):
    turned = sketch(Image.fromarray(turn(np.asarray(PHOTOS[3]), number)))
    assert found([sketch(PHOTOS[3])], [turned]).keys() == ({(0, 1)} if number == 0 else set())
    assert found([sketch(PHOTOS[3])], [turned], turns=True).keys() == {(0, 1)}


def test_flat_pictures_are_candidates_by_their_shade():
    white, nearly, grey = (np.full((60, 40), shade, np.uint8) for shade in (255, 253, 128))
    assert set(found([sketch_of(white), sketch_of(nearly), sketch_of(grey), sketch(PHOTOS[0])])) == {(0, 1)}


@pytest.mark.thorough
def test_each_picture_has_a_bounded_number_of_candidates():
    copies = [sketch(EDITS["noise"](PHOTOS[0]).crop((0, 0, 320 - n, 240))) for n in range(60)]
    pairs = found(copies)
    assert 60 * 16 / 2 <= len(pairs) <= 60 * 16


def test_descriptions_have_unit_length_and_rows_are_those_of_their_blocks():
    grey = np.concatenate([sketch(photo) for photo in PHOTOS[:5]])
    rows = WindowRows(grey)
    every = rows.block(0, len(rows))
    assert every.shape == (len(grey) * len(WINDOWS), DIM)
    assert np.linalg.norm(every, axis=1) == pytest.approx(np.ones(len(every)), abs=1e-5)
    assert rows.block(7, 20) == pytest.approx(every[7:20], abs=1e-6)
    assert rows.take(np.array([20, 3, 3])) == pytest.approx(every[[20, 3, 3]], abs=1e-6)
    assert WindowRows.of_wholes(grey).block(1, 3) == pytest.approx(describe(grey[1:3], WINDOWS[:1])[:, 0], abs=1e-6)


def test_no_pictures_have_no_candidates():
    assert found([]) == {}
    assert found([np.zeros((0, 32, 32), np.uint8), sketch(PHOTOS[0])]) == {}
