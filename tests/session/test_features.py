"""Where features become vectors: what has a direction gets unit length, what has none is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from clipcli.core.console import Console
from clipcli.core.vectors import unit_length
from clipcli.errors import DeviceError
from clipcli.session.features import ALL_ZERO, NOT_FINITE, Features, NoVectorError, fault_of, require_vectors, scale
from clipcli.session.features import vectors_or_faults as told

ROW = np.array([3.0, -4.0, 12.0], np.float32)
INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize("factor", [1e-44, 1e-38, 1e-30, 1e-13, 1.0, 1e15, 1e19, 1e25, 2e37])
@pytest.mark.filterwarnings("error")
def test_any_length_becomes_one(factor: float):
    rows = np.array([ROW, ROW * np.float32(factor)], np.float32)
    vectors = scale(rows, raw=False)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    wide = rows.astype(np.float64)[1]
    np.testing.assert_allclose(vectors[1], wide / np.linalg.norm(wide), atol=1e-6)
    assert np.array_equal(vectors[0], unit_length(ROW[None])[0])


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize(
    ("row", "reason"),
    [([NAN, 1, 1], NOT_FINITE), ([INF, 1, 1], NOT_FINITE), ([1, -INF, NAN], NOT_FINITE), ([0, 0, 0], ALL_ZERO)],
)
@pytest.mark.filterwarnings("error")
def test_what_has_no_direction_is_a_fault(row: list[float], reason: str, *, raw: bool):
    good, bad = scale(np.array([ROW, row], np.float32), raw=raw)
    assert fault_of(good) is None
    fault = fault_of(bad)
    assert (fault.stage, fault.reason) == ("encode", reason)


@dataclass
class Tower:
    """Gives the square of each number, in a precision that overflows above 65,504."""

    precision: str
    most: float = INF
    rows: list[int] = field(default_factory=list)

    def encode(self, numbers: np.ndarray) -> np.ndarray:
        self.rows.append(len(numbers))
        squares = numbers**2
        return np.where(np.abs(squares) > self.most, INF, squares).astype(np.float32)


class Model:
    """A model in half precision, and the same in fp32 if there is one."""

    def __init__(self, wide: Tower | Exception | None) -> None:
        self.encoder = Tower("fp16", 65504.0)
        self.wide, self.asked = wide, 0

    @property
    def encoder_in_fp32(self) -> Tower | None:
        self.asked += 1
        if isinstance(self.wide, Exception):
            raise self.wide
        return self.wide


BATCH = np.array([[1, 2], [300, 1], [2, 1], [NAN, 1], [1, 400]], np.float32)


def vectors(model: Any) -> np.ndarray:
    return Features(model, raw=False, console=Console()).vectors(lambda encoder, rows: encoder.encode(BATCH[rows]))


def test_only_the_rows_that_failed_are_computed_again(capsys):
    model = Model(Tower("fp32"))
    found = vectors(model)
    assert (model.encoder.rows, model.wide.rows) == ([5], [3])
    np.testing.assert_array_equal(found[[0, 1, 2, 4]], unit_length(BATCH[[0, 1, 2, 4]] ** 2))
    assert [fault is not None for fault in map(fault_of, found)] == [False, False, False, True, False]
    assert capsys.readouterr().err.count("computed again in fp32") == 1


def test_nothing_is_said_twice_and_full_precision_is_not_tried_again(capsys):
    model = Model(Tower("fp32"))
    features = Features(model, raw=False, console=Console())
    for _ in range(3):
        features.vectors(lambda encoder, rows: encoder.encode(BATCH[rows]))
    assert capsys.readouterr().err.count("computed again in fp32") == 1
    model.encoder = Tower("fp32", 65504.0)
    before = model.asked
    features.vectors(lambda encoder, rows: encoder.encode(BATCH[rows]))
    assert model.asked == before


def test_no_room_for_a_second_model_is_no_end(capsys):
    model = Model(DeviceError("it does not fit into memory"))
    features = Features(model, raw=False, console=Console())
    for _ in range(2):
        found = features.vectors(lambda encoder, rows: encoder.encode(BATCH[rows]))
        assert [fault is not None for fault in map(fault_of, found)] == [False, True, False, True, True]
    assert model.asked == 1
    assert capsys.readouterr().err.count("fp32 cannot be loaded: it does not fit into memory") == 1


def test_a_bundle_has_no_other_precision(capsys):
    found = vectors(Model(None))
    assert fault_of(found[1]) is not None
    assert capsys.readouterr().err == ""


def test_texts_without_vectors_are_named():
    results = told(np.array([[1, 0], [NAN, 0], [0, 1], [0, 0]], np.float32))
    with pytest.raises(NoVectorError, match=f"{NOT_FINITE} for 'b' and 1 more") as caught:
        require_vectors(["a", "b", "c", "d"], results, 2)
    assert caught.value.results == results
    assert require_vectors(["a"], results[:1], 2).tolist() == [[1, 0]]
    assert require_vectors([], [], 2).shape == (0, 2)
