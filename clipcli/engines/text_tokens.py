"""Texts to token ids with open_clip's tokenizers: CLIP's own, and the wrapper around Hugging Face's."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

_CLIPS = "clips"
_CLIPS_SPECIAL_TOKENS = 3
"""Start, end and class token, which open_clip's `clips` mode adds itself."""


class TextTokens:
    """One tokenizer, used from several threads.

    A Hugging Face tokenizer remembers how the last call padded and cut, and `transformers` sets that before each call:
    two threads at once would get each other's padding. So one thread has it at a time.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._lock = Lock()

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """One or more texts → int64 (n, context_length), padded, cut with the end token kept."""
        with self._lock:
            ids: torch.Tensor = self._tokenizer(list(texts))
        return ids

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text before any cut, start and end token included; [] for no texts."""
        if not texts:
            return []  # transformers' tokenizers raise IndexError for an empty list
        if hasattr(self._tokenizer, "encode"):
            return [len(self._tokenizer.encode(text)) + 2 for text in texts]
        clean = [self._tokenizer.clean_fn(text) for text in texts]
        is_clips = self._tokenizer.tokenizer_mode == _CLIPS
        with self._lock:
            # verbose=False: transformers would warn about long texts, and Cuts does so in our words.
            found = self._tokenizer.tokenizer(clean, add_special_tokens=not is_clips, verbose=False).input_ids
        return [len(ids) + _CLIPS_SPECIAL_TOKENS * is_clips for ids in found]
