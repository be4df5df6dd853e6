"""The keys of vectors in the cache: a space for everything that changes a vector, and a key for its input."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.images import Rendering


def model_space(model_key: str, precision: str, *, raw: bool) -> str:
    """Return the space of a model's vectors.

    Args:
        model_key: a digest over the model's files, `Model.vectors_key`.
        precision: the precision of the computation.
        raw: whether vectors keep the tower's length.
    """
    return f"{model_key}/{precision}{'/raw' if raw else ''}"


def image_space(space: str, decoding: Sequence[str], rendering: Rendering) -> str:
    """Return the space of images within a model's space: everything that changes their pixels.

    A bare rendering adds nothing, since earlier versions made all vectors that way.

    Args:
        space: the model's space.
        decoding: the non-default settings of decoding.
        rendering: the conversion of pixels to RGB.
    """
    return "/".join((space, *decoding, *(() if rendering.bare else (rendering.name,))))


def text_space(space: str) -> str:
    """Return the space of single texts within a model's space."""
    return f"{space}/text"


def ensemble_space(space: str) -> str:
    """Return the space of means over several phrasings within a model's space."""
    return f"{space}/ensemble"


def image_key(data: bytes) -> str:
    """Return the key of an image: the sha256 of its file's bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def text_key(text: str | Sequence[str]) -> str:
    """Return the key of a text, or of all phrasings of a label in their order."""
    plain = text if isinstance(text, str) else json.dumps(text)
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
