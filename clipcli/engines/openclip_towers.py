"""The towers as they are run and exported, without computations that do not affect the embedding."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer, text_global_pool
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    Attention = Callable[[], AbstractContextManager[Any]]

FEW = 16
"""Number of queries from which every thread's buffer is aligned to 64 bytes: 16 rows of float32."""


class ExplicitFewQueries(TorchFunctionMode):
    """Compute attention of fewer than `FEW` queries with explicit products, in the block and this thread.

    Other attention is unchanged, except that torch's fast path for `nn.MultiheadAttention` is off.
    """

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a torch function, or its variant with explicit products."""
        named = kwargs or {}
        if func is functional.multi_head_attention_forward:
            query = args[0] if args else named["query"]
            if query.shape[0] < FEW:  # (queries, batch, width)
                # Only the explicit variant returns weights; the cost is the same.
                return func(*args, **{**named, "need_weights": True})
        elif func is functional.scaled_dot_product_attention:
            query = args[0] if args else named["query"]
            if query.shape[-2] < FEW:  # (batch, heads, queries, width)
                return torch.ops.aten._scaled_dot_product_attention_math(*args, **named)[0]  # noqa: SLF001
        return func(*args, **named)


def few_queries_on(device: str) -> Callable[[], AbstractContextManager[Any]]:
    """Return the context in which a tower pools on `device`; only the CPU needs one."""
    return ExplicitFewQueries if device == "cpu" else nullcontext


_CAUSAL_POOLS = frozenset({"argmax", "eos"})


def causal_tower(model: Any) -> bool:
    """Return whether the text tower is causal and pools at the end token, so that padding does not matter.

    Towers with an appended class token (CoCa) or a padding mask depend on padding, and Hugging Face towers are not
    inspected; their padding must not be cut.
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
    """A causal text tower for inputs shorter than the context: cuts the positional table and the mask.

    open_clip 3's `encode_text` requires the whole context. The result is the same because a token never depends on
    later ones, and the embedding is read at the end token.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.tower = getattr(model, "text", model)
        self.pool = getattr(self.tower, "text_pool_type", None) or self.tower.pool_type
        self.eos = getattr(self.tower, "text_eos_id", None) or getattr(self.tower, "eos_id", None)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Encode (n, length ≤ context_length) int64 token ids as (n, dim), not unit length."""
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


def image_tower(model: Any, attention: Attention = nullcontext) -> nn.Module:
    """Return the image tower: (n, 3, height, width) float32 pixels → (n, dim) features, not unit length.

    `attention` creates the context in which the tower pools its tokens; see `few_queries_on`.
    """
    visual = getattr(model, "visual", None)
    return ClassTokenTower(visual, attention) if _reads_one_token(visual) else WholeTower(model, attention)


def _reads_one_token(visual: Any) -> bool:
    """Return whether the embedding is that of the class token, after a block of a known type."""
    if type(visual) is not VisionTransformer or visual.attn_pool is not None or visual.output_tokens:
        return False
    transformer = visual.transformer
    last = transformer.resblocks[-1]
    plain = type(last) is ResidualAttentionBlock and not hasattr(last, "ln_1_kv")
    open_parts = hasattr(visual, "_embeds") and hasattr(visual, "_pool")
    return visual.pool_type == "tok" and plain and open_parts and transformer.batch_first


class ClassTokenTower(nn.Module):
    """A vision transformer whose last block computes only the class token, since the other outputs are not used.

    The token still attends to all others. This saves 10/12 of the block: everything except keys and values.
    """

    def __init__(self, visual: Any, attention: Attention = nullcontext) -> None:
        super().__init__()
        self.visual = visual
        self.attention = attention

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Encode (n, 3, height, width) pixels as (n, dim)."""
        visual = self.visual
        tokens = visual._embeds(pixels)  # noqa: SLF001 - as its own forward() begins
        *blocks, last = visual.transformer.resblocks
        for block in blocks:
            tokens = block(tokens)
        normed = last.ln_1(tokens)
        with self.attention():
            attended = last.attention(normed[:, :1], normed, normed)
        token = tokens[:, :1] + last.ls_1(attended)
        token = token + last.ls_2(last.mlp(last.ln_2(token)))
        pooled, _ = visual._pool(token)  # noqa: SLF001 - and ends
        return torch.as_tensor(pooled if visual.proj is None else pooled @ visual.proj)


class WholeTower(nn.Module):
    """Any image tower, as open_clip runs it."""

    def __init__(self, model: Any, attention: Attention = nullcontext) -> None:
        super().__init__()
        self.model = model
        self.attention = attention

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Encode (n, 3, height, width) pixels as (n, dim).

        CoCa's towers normalise unless `normalize=False`; towers that also return tokens return the embedding first.
        """
        with self.attention():
            output = self.model.encode_image(pixels, normalize=False)
        features: torch.Tensor = output[0] if isinstance(output, (tuple, list)) else output
        return features
