"""Turn a tower's features into finite vectors, or into the reason why there is none."""

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
_HINT = "the weights may be damaged: download them again, or name another model with -m"
_SHORTEST = np.float32(1e-12)
"""`unit_length` does not normalise shorter vectors, as `torch.nn.functional.normalize`."""


def fault_of(vector: Vector) -> ImageError | None:
    """Return why a row of `Features.vectors` is not a valid vector, or None."""
    if not np.isfinite(vector).all():
        return ImageError("encode", NOT_FINITE)
    return None if vector.any() else ImageError("encode", ALL_ZERO)


def vectors_or_faults(rows: Iterable[Vector]) -> list[Vector | ImageError]:
    """Return each row, or its fault."""
    return [fault_of(row) or row for row in rows]


def scale(features: Vectors, *, raw: bool) -> Vectors:
    """Scale (n, dim) float32 features to unit length, or return them unchanged if `raw`; zero rows stay zero.

    Rows whose squares exceed the range of float32 are scaled first, in float64.
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
    """The model gave no valid vector for some texts or labels."""

    def __init__(self, message: str, results: list[Vector | ImageError]) -> None:
        super().__init__(message, hint=_HINT)
        self.results = results
        """For each text or label in order, its (dim,) vector or its error."""


@dataclass
class Features:
    """Computes features, and again in fp32 for rows that overflow in half precision. Thread-safe."""

    model: Model
    raw: bool
    """Whether vectors keep the tower's length instead of unit length."""
    console: Console
    _loading: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _gave_up: bool = False

    def vectors(self, encode: Callable[[Encoder, Rows], Vectors]) -> Vectors:
        """Return (n, dim) float32 vectors; check rows with `fault_of`.

        Only invalid rows are computed again, so a vector does not depend on the other rows of its batch.

        Args:
            encode: encoder and rows of the batch → their (rows, dim) features.
        """
        vectors = scale(encode(self.model.encoder, slice(None)), raw=self.raw)
        rows_to_repeat = np.flatnonzero(_unusable(vectors))
        if len(rows_to_repeat) and (encoder := self._in_fp32()) is not None:
            vectors[rows_to_repeat] = scale(encode(encoder, rows_to_repeat), raw=self.raw)
        return vectors

    def _in_fp32(self) -> Encoder | None:
        """Return the model in fp32 if it runs in half precision, else None."""
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
    """Return the (n, dim) vectors of texts or labels that a run needs; `names` are as the user wrote them.

    Raises:
        NoVectorError: names the inputs without a vector.
    """
    faulty = [(name, result) for name, result in zip(names, results, strict=True) if isinstance(result, ImageError)]
    if faulty:
        (name, fault), remaining = faulty[0], len(faulty) - 1
        ending = f" and {remaining} more" if remaining else ""
        raise NoVectorError(f"{fault.reason} for {name!r}{ending}", list(results))
    return stack([result for result in results if not isinstance(result, ImageError)], dim)
