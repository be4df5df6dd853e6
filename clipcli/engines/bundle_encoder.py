"""An encoder for bundles: two towers of any engine and a tokenizer, without torch."""

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
    """One graph of a bundle, opened on first use."""

    @property
    def is_open(self) -> bool:
        """Return whether its weights are in memory."""
        ...

    @property
    def lanes(self) -> int:
        """Return the number of batches to run in parallel."""
        ...

    @property
    def has_single_row_kernel(self) -> bool:
        """Return whether a batch of one row sums in another order than larger batches."""
        ...

    def unload_if_cheap(self) -> None:
        """Free the graph's memory if reopening it is fast."""
        ...

    def run(self, rows: npt.NDArray[Any]) -> Vectors:
        """Run the tower on (n, …) inputs and return (n, dim) float32. Raises BundleError, MemoryError."""
        ...


_TEXT_BATCH = 64
"""Texts per run of the text tower, which bounds memory for long label files."""


class BundleEncoder:
    """Runs a bundle; see `clipcli.core.encoder.Encoder`.

    Parts are loaded on first use, and for little work only one tower is in memory at a time.
    """

    def __init__(self, bundle: Bundle, image: Tower, text: Tower, precision: Precision) -> None:
        self.bundle = bundle
        self._image = image
        self._text = text
        self._precision: Precision = precision
        self._tokenizer: Tokenizer | None = None

    @property
    def info(self) -> ModelInfo:
        """Return the model's description."""
        return self.bundle.info

    @property
    def scoring(self) -> Scoring:
        """Return the function from cosines to scores."""
        return self.bundle.scoring

    @property
    def device(self) -> str:
        """Return `cpu`."""
        return "cpu"

    @property
    def precision(self) -> Precision:
        """Return the precision of the vectors."""
        return self._precision

    @property
    def image_lanes(self) -> int:
        """Return 1 for few images, more for many."""
        return self._image.lanes

    @property
    def text_lanes(self) -> int:
        """Return 1 for few texts, more for many."""
        return self._text.lanes

    def encode_images(self, pixels: Pixels) -> Vectors:
        """Encode (n, 3, height, width) float32 normalised pixels as (n, dim) float32, not unit length, in one run.

        Raises:
            BundleError: the image tower cannot be loaded.
            MemoryError: the batch is too large; a smaller one may fit.
        """
        if len(pixels) == 0:
            return np.zeros((0, self.info.dim), np.float32)
        if not self._image.is_open:
            self._text.unload_if_cheap()
        if len(pixels) == 1 and self._image.has_single_row_kernel:
            return self._image.run(pixels[[0, 0]])[:1]
        return self._image.run(pixels)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode texts as (n, dim) float32, not unit length; longer texts are cut, and the end token is kept.

        A causal tower gets texts of similar length together, with little padding.

        Raises:
            BundleError: the text tower or the tokenizer cannot be loaded.
            MemoryError: a batch of texts does not fit into memory.
        """
        if not self._text.is_open:
            self._image.unload_if_cheap()
        vectors = np.zeros((len(texts), self.info.dim), np.float32)
        if not texts:
            return vectors
        ids = self._load_tokenizer().ids(texts)
        limit = self.info.context_length
        lengths = [min(len(row), limit) if self.info.causal_text else limit for row in ids]
        for members, length in groups_of_like_length(lengths, limit, _TEXT_BATCH):
            batch = self._load_tokenizer().batch([ids[index] for index in members[padded_rows(len(members))]], length)
            vectors[members] = self._text.run(batch)[: len(members)]
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text before any cut, start and end token included."""
        return [len(ids) for ids in self._load_tokenizer().ids(texts)] if texts else []

    def tokens(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return (n, context_length) int64 token ids, as from open_clip's tokenizer."""
        tokenizer = self._load_tokenizer()
        return tokenizer.batch(tokenizer.ids(texts))

    def _load_tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            self._tokenizer = tokenizers.load(self.bundle)
        return self._tokenizer
