"""Compute the hidden states of an OpenCLIP text tower per token, for diffusion models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from clipcli.engines.errors import one_kind_of_memory_error
from clipcli.errors import ModelError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from clipcli.engines.openclip import OpenClipEncoder

_BATCH = 16
_ENDS = 2
"""Number of start and end tokens per chunk."""


@dataclass(frozen=True)
class TokenChunk:
    """The token ids of one pass through the tower."""

    text: int
    """The number of the text that it belongs to."""
    ids: tuple[int, ...]
    """(length,), padded."""
    used: int
    """Number of ids that are not padding, start and end token included."""


class TextStates:
    """Reads the states after any block of one of open_clip's own text towers."""

    def __init__(self, encoder: OpenClipEncoder, layer: int, *, final_norm: bool, pad_with_end: bool) -> None:
        """Select a layer: -1 is the last block, -2 the one before it.

        Raises:
            ModelError: the text tower is not one of open_clip's own, or has another kind of tokenizer.
            UsageError: there is no such layer.
        """
        self._model, self._device = encoder.model, encoder.device
        self._tokenizer = encoder.tokenizer
        tower: Any = getattr(self._model, "text", self._model)
        blocks = getattr(getattr(tower, "transformer", None), "resblocks", None)
        if (
            blocks is None
            or not hasattr(self._tokenizer, "sot_token_id")
            or getattr(tower, "cls_emb", None) is not None
        ):
            raise ModelError(
                f"{encoder.info.name}: its text tower gives no states by token",
                hint="a model with CLIP's own text tower does, such as -m ViT-L-14/openai",
            )
        if not -len(blocks) <= layer <= -1:
            raise UsageError(f"--layer {layer}: the text tower has {len(blocks)} layers", hint="use --layer -1")
        self._tower, self._block = tower, blocks[layer]
        self._final_norm = final_norm
        self._length = encoder.info.context_length
        self._pad = int(self._tokenizer.eot_token_id) if pad_with_end else 0

    def chunks(self, texts: Sequence[str], *, several: bool) -> list[TokenChunk]:
        """Tokenize texts: one chunk each, cut if longer, or with `several` as many chunks as needed."""
        chunks_so_far = []
        room = self._length - _ENDS
        for number, text in enumerate(texts):
            ids = self._tokenizer.encode(text)
            pieces = [ids[offset : offset + room] for offset in range(0, len(ids), room)] or [[]]
            for piece in pieces if several else pieces[:1]:
                token_ids = [self._tokenizer.sot_token_id, *piece, self._tokenizer.eot_token_id]
                padded = token_ids + [self._pad] * (self._length - len(token_ids))
                chunks_so_far.append(TokenChunk(number, tuple(map(int, padded)), len(token_ids)))
        return chunks_so_far

    def count_cut(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text that do not fit into one chunk."""
        room = self._length - _ENDS
        return [max(len(self._tokenizer.encode(text)) - room, 0) for text in texts]

    def encode(self, chunks: Sequence[TokenChunk]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return float32 states (n, length, width), and the tower's own embeddings (n, dim), not unit length.

        Raises:
            MemoryError: the device has too little memory.
        """
        states, pooled = [], []
        with one_kind_of_memory_error(), torch.inference_mode():
            for start in range(0, len(chunks), _BATCH):
                ids = torch.tensor([chunk.ids for chunk in chunks[start : start + _BATCH]], device=self._device)
                caught: list[torch.Tensor] = []
                hook = self._block.register_forward_hook(lambda _module, _given, output, to=caught: to.append(output))
                try:
                    embedding = self._model.encode_text(ids)
                finally:
                    hook.remove()
                hidden = caught[0] if self._tower.transformer.batch_first else caught[0].transpose(0, 1)
                if self._final_norm:
                    hidden = self._tower.ln_final(hidden)
                states.append(hidden.float().cpu())
                pooled.append((embedding[0] if isinstance(embedding, tuple) else embedding).float().cpu())
        return torch.cat(states).numpy(), torch.cat(pooled).numpy()
