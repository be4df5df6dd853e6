"""The tower's last stages in a form that trains fast on a CPU: norms folded in, pointwise convolutions as matrices.

The kernels of the depthwise convolutions stay as they were: their gradients would take more time than all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import relu6
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training import features

if TYPE_CHECKING:
    from collections.abc import Iterator


class Tail(nn.Module):
    """Maps (n, 112, 15, 15) → pooled numbers (n, 1280), as the last stages of `tower` compute them."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(block) for stage in tower.blocks[features.TAIL :] for block in stage)
        self.head = _linear(tower.conv_head, tower.bn2)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Compute with channels last, where a pointwise convolution is a matrix product."""
        x = maps.permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        return relu6(self.head(x)).mean((1, 2))

    def write_into(self, tower: Any) -> None:
        """Put the weights into timm's tower, whose norms then do nothing but add the biases."""
        stages = [block for stage in tower.blocks[features.TAIL :] for block in stage]
        for ours, theirs in zip(self.blocks, stages, strict=True):
            for layer, conv, norm in ours.pairs(theirs):
                _put(layer, conv, norm)
        _put(self.head, tower.conv_head, tower.bn2)


class _Block(nn.Module):
    """Widen, look around, narrow: an inverted residual."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.widen, self.narrow = _linear(block.conv_pw, block.bn1), _linear(block.conv_pwl, block.bn3)
        self.around = fuse_conv_bn_eval(block.conv_dw, block.bn2).to(memory_format=torch.channels_last)
        self.around.weight.requires_grad_(requires_grad=False)
        self.around.bias.requires_grad_()
        self.has_skip = block.has_skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, height, width, channels) → the same form."""
        wide = relu6(self.around(relu6(self.widen(x)).permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        return self.narrow(wide) + x if self.has_skip else self.narrow(wide)

    def pairs(self, block: Any) -> Iterator[tuple[nn.Module, Any, Any]]:
        """Each layer with timm's convolution and norm."""
        yield self.widen, block.conv_pw, block.bn1
        yield self.around, block.conv_dw, block.bn2
        yield self.narrow, block.conv_pwl, block.bn3


def _linear(conv: Any, norm: Any) -> nn.Linear:
    fused: Any = fuse_conv_bn_eval(conv, norm)
    layer = nn.Linear(fused.in_channels, fused.out_channels)
    layer.weight.data, layer.bias.data = fused.weight.data[:, :, 0, 0].clone(), fused.bias.data.clone()
    return layer


def _put(layer: Any, conv: Any, norm: Any) -> None:
    conv.weight.data = layer.weight.data.reshape(conv.weight.shape).clone()
    norm.running_mean.zero_()
    norm.running_var.fill_(1.0)
    norm.weight.data.fill_((1 + norm.eps) ** 0.5)
    norm.bias.data = layer.bias.data.clone()
