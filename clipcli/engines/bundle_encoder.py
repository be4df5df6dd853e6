"""A bundle that runs without torch: two towers and a tokenizer, whatever engine runs the towers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from clipcli.core.batch_invariance import groups_of_like_length, padded_rows
from clipcli.engines import tokenizer as tokenizers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from clipcli.bundle import Bundle
    from clipcli.core.encoder import ModelInfo, Precision, Scoring
    from clipcli.core.vectors import Pixels, Vectors
    from clipcli.engines.tokenizer import Tokenizer


class Tower(Protocol):
    """One graph of a bundle, opened at its first use."""

    @property
    def is_open(self) -> bool:
        """Return whether its weights are in memory."""
        ...

    @property
    def lanes(self) -> int:
        """Return how many batches may run side by side."""
        ...

    @property
    def sets_one_row_apart(self) -> bool:
        """Return whether a row that comes alone adds up in another order than rows that come together."""
        ...

    def rest(self) -> None:
        """Free memory where opening the graph again costs next to nothing."""
        ...

    def run(self, rows: npt.NDArray[Any]) -> Vectors:
        """(n, …) → float32 (n, dim). Raises BundleError, MemoryError."""
        ...


_TEXT_BATCH = 64
"""Texts a run of the text tower: a bound on memory when a label file has ten thousand lines."""


class BundleEncoder:
    """A bundle, ready to run; see `clipcli.core.encoder.Encoder`.

    Nothing is loaded before it is used, and for little work only one tower is held at a time.
    """

    def __init__(self, bundle: Bundle, image: Tower, text: Tower, precision: Precision) -> None:
        self.bundle = bundle
        self._image = image
        self._text = text
        self._precision: Precision = precision
        self._tokenizer: Tokenizer | None = None

    @property
    def info(self) -> ModelInfo:
        """Return what the model is."""
        return self.bundle.info

    @property
    def scoring(self) -> Scoring:
        """Return how its cosines are read."""
        return self.bundle.scoring

    @property
    def device(self) -> str:
        """Always the CPU."""
        return "cpu"

    @property
    def precision(self) -> Precision:
        """Return the precision that its vectors come from."""
        return self._precision

    @property
    def image_lanes(self) -> int:
        """One for few images, several once there are many."""
        return self._image.lanes

    @property
    def text_lanes(self) -> int:
        """As for images."""
        return self._text.lanes

    def encode_images(self, pixels: Pixels) -> Vectors:
        """Float32 (n, 3, height, width), normalised → float32 (n, dim), not unit length; one run for the whole batch.

        Raises:
            BundleError: the image tower cannot be loaded.
            MemoryError: the batch is too large; a smaller one may fit.
        """
        if len(pixels) == 0:
            return np.zeros((0, self.info.dim), np.float32)
        if not self._image.is_open:
            self._text.rest()
        if len(pixels) == 1 and self._image.sets_one_row_apart:
            return self._image.run(pixels[[0, 0]])[:1]
        return self._image.run(pixels)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Texts → float32 (n, dim), not unit length. Longer texts are cut at the context length, end token kept.

        A causal tower gets texts of like length together, padded little further than they reach.

        Raises:
            BundleError: the text tower or the tokenizer cannot be loaded.
            MemoryError: too little for a batch of texts.
        """
        if not self._text.is_open:
            self._image.rest()
        vectors = np.zeros((len(texts), self.info.dim), np.float32)
        if not texts:
            return vectors
        ids = self._tokenizing().ids(texts)
        limit = self.info.context_length
        lengths = [min(len(row), limit) if self.info.causal_text else limit for row in ids]
        for members, length in groups_of_like_length(lengths, limit, _TEXT_BATCH):
            batch = self._tokenizing().batch([ids[index] for index in members[padded_rows(len(members))]], length)
            vectors[members] = self._text.run(batch)[: len(members)]
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text before any cut, start and end token included."""
        return [len(ids) for ids in self._tokenizing().ids(texts)] if texts else []

    def tokens(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return what open_clip's tokenizer gives: int64 (n, context_length)."""
        tokenizer = self._tokenizing()
        return tokenizer.batch(tokenizer.ids(texts))

    def _tokenizing(self) -> Tokenizer:
        if self._tokenizer is None:
            self._tokenizer = tokenizers.load(self.bundle)
        return self._tokenizer
