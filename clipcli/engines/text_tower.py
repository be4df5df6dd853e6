"""A causal text tower that takes sequences shorter than its context: same vectors, a fraction of the work."""

from __future__ import annotations

from typing import Any

import torch
from open_clip.transformer import text_global_pool
from torch import nn

_CAUSAL_POOLS = frozenset({"argmax", "eos"})


def causal_tower(model: Any) -> bool:
    """Whether the text tower reads from left to right and pools at the end token, so that padding cannot matter.

    Towers with an appended class token (CoCa) or a padding mask see their padding, and Hugging Face towers are not
    looked into: none of them may be cut.
    """
    tower = getattr(model, "text", model)
    mask = getattr(tower, "attn_mask", None)
    pool = getattr(tower, "text_pool_type", None) or getattr(tower, "pool_type", None)
    has_parts = hasattr(tower, "positional_embedding") and hasattr(tower, "token_embedding")
    if not has_parts or mask is None or mask.ndim != 2:  # noqa: PLR2004 - (length, length)
        return False
    return (
        pool in _CAUSAL_POOLS and getattr(tower, "cls_emb", None) is None and not getattr(tower, "use_pad_mask", False)
    )


class CausalText(nn.Module):
    """open_clip 3's `encode_text` adds the whole positional table; this one cuts table and mask to the tokens' length.

    Valid because of the causal mask: a token never sees what comes after it, and the embedding is read at the end
    token.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.tower = getattr(model, "text", model)
        self.pool = getattr(self.tower, "text_pool_type", None) or self.tower.pool_type
        self.eos = getattr(self.tower, "text_eos_id", None) or getattr(self.tower, "eos_id", None)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Int64 (n, length ≤ context_length) → (n, dim), not unit length."""
        tower, length = self.tower, tokens.shape[1]
        dtype = tower.transformer.get_cast_dtype()
        x = tower.token_embedding(tokens).to(dtype) + tower.positional_embedding[:length].to(dtype)
        x = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:length, :length]))
        pooled = text_global_pool(x, tokens, self.pool, eos_token_id=self.eos)
        if isinstance(tower.text_projection, nn.Linear):
            pooled = tower.text_projection(pooled)
        elif tower.text_projection is not None:
            pooled = pooled @ tower.text_projection
        return torch.as_tensor(pooled)
