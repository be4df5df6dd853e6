"""Vector arithmetic in NumPy: unit length, ensembles, cosines, scoring functions, top-k."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence


Vectors: TypeAlias = npt.NDArray[np.float32]
"""(n, dim) float32, one vector per row."""
Vector: TypeAlias = npt.NDArray[np.float32]
"""(dim,) float32."""
Pixels: TypeAlias = npt.NDArray[np.float32]
"""(n, 3, height, width) float32, normalised for one model."""
Scores: TypeAlias = npt.NDArray[np.float32]
"""(images, labels) float32."""


def unit_length(raw: npt.NDArray[np.floating]) -> Vectors:
    """Scale each row to length 1 in float32; a zero row stays zero, as in `torch.nn.functional.normalize`."""
    rows = np.asarray(raw, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, np.float32(1e-12)), dtype=np.float32)


def ensemble(unit_rows: Vectors) -> Vector:
    """Return one (dim,) unit vector for many phrasings: the normalised mean of (n, dim) unit vectors.

    Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", arXiv:2103.00020,
    section 3.1.4: the average is taken in embedding space, so an ensemble costs no more than one prompt.
    """
    return unit_length(unit_rows.mean(axis=0, dtype=np.float32))


def cosines(images: Vectors, texts: Vectors) -> Scores:
    """Return the (images, texts) cosines, in [-1, 1], of (images, dim) and (texts, dim) unit vectors."""
    return np.asarray(images @ texts.T, dtype=np.float32)


def softmax(logits: npt.NDArray[np.floating]) -> Scores:
    """Return the softmax over the last axis; computed in float64, so that small values survive among many labels."""
    wide = logits.astype(np.float64)
    shifted = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float32)


def sigmoid(logits: npt.NDArray[np.floating]) -> Scores:
    """Return the logistic function of each element, without overflow for large negative logits."""
    wide = logits.astype(np.float64)
    return np.asarray(np.exp(-np.logaddexp(0.0, -wide)), dtype=np.float32)


def top_k(row: npt.NDArray[np.floating], k: int) -> list[int]:
    """Return the indices of the k largest values of a row, largest first, ties by index; all if k exceeds the row."""
    order: list[int] = np.lexsort((np.arange(row.size), -row))[:k].tolist()
    return order


def stack(rows: Sequence[Vector], dim: int) -> Vectors:
    """Return vectors as one (n, dim) float32 array; (0, dim) if there are none."""
    return np.stack(rows).astype(np.float32, copy=False) if rows else np.zeros((0, dim), np.float32)
