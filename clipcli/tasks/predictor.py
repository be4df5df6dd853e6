"""A predictor on vectors: one linear layer, or a few with an activation between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np

from clipcli.core.vectors import sigmoid, softmax

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clipcli.core.vectors import Scores, Vector, Vectors

Activation = Literal["none", "relu", "gelu", "tanh"]
OutputKind = Literal["none", "sigmoid", "softmax"]
ACTIVATIONS: Final[tuple[str, ...]] = get_args(Activation)
OUTPUT_KINDS: Final[tuple[str, ...]] = get_args(OutputKind)


def _gelu(values: Scores) -> Scores:
    erf = np.vectorize(math.erf, otypes=[np.float64])
    return np.asarray(values * 0.5 * (1.0 + erf(values / math.sqrt(2.0))), np.float32)


_FUNCTIONS: Final[Mapping[str, Callable[[Scores], Scores]]] = {
    "none": lambda values: values,
    "relu": lambda values: np.maximum(values, np.float32(0)),
    "gelu": _gelu,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softmax": softmax,
}


@dataclass(frozen=True)
class Predictor:
    """Layers of a predictor, in order."""

    weights: tuple[Vectors, ...]
    """(outputs, inputs) each."""
    biases: tuple[Vector, ...]
    """(outputs,) each."""
    activation: Activation
    """Between layers."""
    output: OutputKind
    """After the last."""
    mean: Vector | None = None
    """(dim,): subtracted from the vectors, if the predictor was trained so."""
    deviation: Vector | None = None
    """(dim,): the centred vectors are divided by it."""

    @property
    def dim(self) -> int:
        """Return the length of its input vectors."""
        return int(self.weights[0].shape[1])

    @property
    def outputs(self) -> int:
        """Return the number of outputs."""
        return len(self.biases[-1])

    def predict(self, vectors: Vectors) -> Scores:
        """Return float32 (n, outputs) for (n, dim) unit vectors."""
        values = np.asarray(vectors, np.float32)
        if self.mean is not None and self.deviation is not None:
            values = np.asarray((values - self.mean) / self.deviation, np.float32)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = np.asarray(values @ weight.T + bias, np.float32)
            is_last = number == len(self.weights) - 1
            values = _FUNCTIONS[self.output if is_last else self.activation](values)
        return values
