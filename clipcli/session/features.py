"""The one place where a tower's features become vectors: finite ones, or a reason why there is none."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from clipcli.core.vectors import stack, unit_length
from clipcli.errors import ClipcliError, ImageError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt

    from clipcli.core.console import Console
    from clipcli.core.encoder import Encoder
    from clipcli.core.vectors import Vector, Vectors
    from clipcli.models.model import Model

    Rows: TypeAlias = "slice | npt.NDArray[np.intp]"
    """Which rows of a batch."""

NOT_FINITE = "the model gave numbers that are not finite"
ALL_ZERO = "the model gave only zeros"
_HINT = "the weights may be damaged: fetch them again, or name another model with -m"
_SHORTEST = np.float32(1e-12)
"""Norms below this are lost in `unit_length`, as in `torch.nn.functional.normalize`."""


def fault_of(vector: Vector) -> ImageError | None:
    """Return why a row of `Features.vectors` is no vector; None where it is one."""
    if not np.isfinite(vector).all():
        return ImageError("encode", NOT_FINITE)
    return None if vector.any() else ImageError("encode", ALL_ZERO)


def vectors_or_faults(rows: Iterable[Vector]) -> list[Vector | ImageError]:
    """Return each row, or why it is no vector."""
    return [fault_of(row) or row for row in rows]


def scale(features: Vectors, *, raw: bool) -> Vectors:
    """Float32 (n, dim) features → unit length, or as they are; what has no direction stays without one.

    Rows so long or so short that their squares leave the range of float32 are scaled before they are measured.
    """
    features = np.asarray(features, np.float32)
    if raw:
        return features
    with np.errstate(invalid="ignore", over="ignore"):
        norms = np.linalg.norm(features, axis=-1)
        extreme = np.isfinite(features).all(axis=-1) & (np.isinf(norms) | (norms <= _SHORTEST))
        vectors = unit_length(features)
        if extreme.any():
            largest = np.abs(features[extreme]).max(axis=-1, keepdims=True).astype(np.float64)
            vectors[extreme] = unit_length(features[extreme] / np.where(largest > 0, largest, 1.0))
    return vectors


def _unusable(vectors: Vectors) -> npt.NDArray[np.bool_]:
    return np.asarray(~np.isfinite(vectors).all(axis=-1) | ~vectors.any(axis=-1))


class NoVectorError(ModelError):
    """Texts or labels to which the model gave no vector."""

    def __init__(self, message: str, results: list[Vector | ImageError]) -> None:
        super().__init__(message, hint=_HINT)
        self.results = results
        """Of all that were asked for, in order: a vector (dim,), or why there is none."""


@dataclass
class Features:
    """Asks the model for features, and in fp32 once more for rows that half precision cannot hold.

    Several threads may ask at the same time.
    """

    model: Model
    raw: bool
    """Whether vectors keep the length that the tower gave them."""
    console: Console
    _loading: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _gave_up: bool = False

    def vectors(self, encode: Callable[[Encoder, Rows], Vectors]) -> Vectors:
        """(n, dim) float32; rows that `fault_of` refuses are left as they came.

        Only the rows that failed are computed again, so that a vector does not depend on what else is in its batch.

        Args:
            encode: a model and rows of the batch → their features, (rows, dim).
        """
        vectors = scale(encode(self.model.encoder, slice(None)), raw=self.raw)
        again = np.flatnonzero(_unusable(vectors))
        if len(again) and (encoder := self._in_fp32()) is not None:
            vectors[again] = scale(encode(encoder, again), raw=self.raw)
        return vectors

    def _in_fp32(self) -> Encoder | None:
        """Return the same model in fp32, where it runs in half precision; None where that cannot help."""
        with self._loading:
            precision = self.model.encoder.precision
            if self._gave_up or precision == "fp32":
                return None
            try:
                encoder = self.model.encoder_in_fp32
            except ClipcliError as error:
                self._gave_up = True
                self.console.warning(
                    f"numbers are not finite in {precision}, and fp32 cannot be loaded: {error.message}"
                )
                return None
            if encoder is None:
                return None
            self.console.info_once(f"{NOT_FINITE} in {precision}; those inputs are computed again in fp32")
            return encoder


def require_vectors(names: Sequence[str], results: Sequence[Vector | ImageError], dim: int) -> Vectors:
    """(n, dim): the vectors of texts or labels that a run cannot do without; `names` are as the user wrote them.

    Raises:
        NoVectorError: names those that have none.
    """
    faulty = [(name, result) for name, result in zip(names, results, strict=True) if isinstance(result, ImageError)]
    if faulty:
        (name, fault), others = faulty[0], len(faulty) - 1
        more = f" and {others} more" if others else ""
        raise NoVectorError(f"{fault.reason} for {name!r}{more}", list(results))
    return stack([result for result in results if not isinstance(result, ImageError)], dim)
