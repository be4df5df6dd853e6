"""What any Encoder must do, whatever engine it runs on; `check(encoder)` holds one to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clipcli.core.vectors import unit_length

if TYPE_CHECKING:
    from clipcli.core.encoder import Encoder

LONG = "a very long sentence about a cat " * 60
TEXTS = ["a dog", "", "the red car that is parked in front of the old house", "naïve café 🙂 &amp; more", LONG]
CLOSE = 1e-5


def check(encoder: Encoder) -> None:
    """Every promise of `clipcli.core.encoder.Encoder`, one after the other."""
    describes_itself(encoder)
    images_have_the_right_shape(encoder)
    a_vector_does_not_depend_on_its_neighbours(encoder)
    nothing_in_gives_nothing_out(encoder)
    texts_of_any_length_are_taken(encoder)
    tokens_are_counted_before_the_cut(encoder)
    the_same_input_gives_the_same_vector(encoder)


def describes_itself(encoder: Encoder) -> None:
    info, scoring = encoder.info, encoder.scoring
    assert info.name
    assert len(info.fingerprint) == 12
    assert set(info.fingerprint) <= set("0123456789abcdef")
    assert info.dim > 0
    assert info.context_length > 2
    assert min(info.preprocessing.image_size) > 0
    assert scoring.scale > 0
    assert scoring.activation in {"softmax", "sigmoid"}
    assert encoder.device
    assert encoder.precision in {"fp32", "fp16", "bf16"}


def images_have_the_right_shape(encoder: Encoder) -> None:
    vectors = encoder.encode_images(pixels(encoder, 3))
    assert vectors.shape == (3, encoder.info.dim)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert np.linalg.norm(vectors, axis=1).min() > 0


def a_vector_does_not_depend_on_its_neighbours(encoder: Encoder) -> None:
    batch = pixels(encoder, 5)
    together = unit_length(encoder.encode_images(batch))
    alone = unit_length(np.concatenate([encoder.encode_images(batch[i : i + 1]) for i in range(5)]))
    assert np.abs(together - alone).max() <= CLOSE

    together = unit_length(encoder.encode_texts(TEXTS))
    alone = unit_length(np.concatenate([encoder.encode_texts([text]) for text in TEXTS]))
    assert np.abs(together - alone).max() <= CLOSE
    backwards = unit_length(encoder.encode_texts(TEXTS[::-1]))[::-1]
    assert np.abs(together - backwards).max() <= CLOSE


def nothing_in_gives_nothing_out(encoder: Encoder) -> None:
    height, width = encoder.info.preprocessing.image_size
    none = encoder.encode_images(np.zeros((0, 3, height, width), np.float32))
    assert none.shape == (0, encoder.info.dim)
    assert none.dtype == np.float32
    none = encoder.encode_texts([])
    assert none.shape == (0, encoder.info.dim)
    assert none.dtype == np.float32
    assert encoder.count_tokens([]) == []


def texts_of_any_length_are_taken(encoder: Encoder) -> None:
    vectors = encoder.encode_texts(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.info.dim)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    # What lies behind the cut cannot matter: the end token moves up, nothing else does.
    longer = encoder.encode_texts([LONG + "and a submarine"])
    assert np.abs(unit_length(longer) - unit_length(vectors[-1:])).max() <= CLOSE


def tokens_are_counted_before_the_cut(encoder: Encoder) -> None:
    empty, short, long = encoder.count_tokens(["", "a dog", LONG])
    assert empty < short <= encoder.info.context_length < long
    assert encoder.count_tokens(["a dog", "a dog"]) == [short, short]


def the_same_input_gives_the_same_vector(encoder: Encoder) -> None:
    batch = pixels(encoder, 2)
    assert np.array_equal(encoder.encode_images(batch), encoder.encode_images(batch))
    assert np.array_equal(encoder.encode_texts(TEXTS), encoder.encode_texts(TEXTS))


def pixels(encoder: Encoder, count: int) -> np.ndarray:
    height, width = encoder.info.preprocessing.image_size
    return np.random.default_rng(count).standard_normal((count, 3, height, width), dtype=np.float32)
