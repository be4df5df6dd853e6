"""The image tower as it is run and exported: what cannot reach the embedding is not computed."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    Attention = Callable[[], AbstractContextManager[Any]]


def image_tower(model: Any, attention: Attention = nullcontext) -> nn.Module:
    """Float32 pixels (n, 3, height, width) → features (n, dim), not unit length.

    `attention` makes the context in which the tower pools its tokens; see `few_queries_on`.
    """
    visual = getattr(model, "visual", None)
    return ClassTokenTower(visual, attention) if _reads_one_token(visual) else WholeTower(model, attention)


def _reads_one_token(visual: Any) -> bool:
    """Whether the embedding is the class token's, behind a block that is understood; anything else runs as it is."""
    if type(visual) is not VisionTransformer or visual.attn_pool is not None or visual.output_tokens:
        return False
    transformer = visual.transformer
    last = transformer.resblocks[-1]
    plain = type(last) is ResidualAttentionBlock and not hasattr(last, "ln_1_kv")
    open_parts = hasattr(visual, "_embeds") and hasattr(visual, "_pool")
    return visual.pool_type == "tok" and plain and open_parts and transformer.batch_first


class ClassTokenTower(nn.Module):
    """A vision transformer whose last block works for its class token only: the others' outputs go nowhere.

    The token attends to all, as before. It saves ten twelfths of that block: all but the keys and values.
    """

    def __init__(self, visual: Any, attention: Attention = nullcontext) -> None:
        super().__init__()
        self.visual = visual
        self.attention = attention

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, 3, height, width) → (n, dim)."""
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
        """(n, 3, height, width) → (n, dim).

        CoCa's towers make unit length unless told not to; towers that return tokens too put the embedding first.
        """
        with self.attention():
            output = self.model.encode_image(pixels, normalize=False)
        features: torch.Tensor = output[0] if isinstance(output, (tuple, list)) else output
        return features
