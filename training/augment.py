"""Augmentation of whole batches at once, in torch on the CPU: no worker processes, no copies."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from training.colours import turned
from training.model import MEAN, STD

RECOLOURED = 0.3  # of the pictograms that may have another colour


@dataclass(frozen=True)
class Strength:
    """How much a batch is changed."""

    smallest: float = 0.6  # side of the smallest crop, as a share of the picture
    stretch: float = 0.15  # change of the aspect ratio
    turn: float = 0.15  # radians
    flip: float = 0.5
    light: float = 0.25
    grey: float = 0.08


PHOTO = Strength()
DRAWING = Strength(smallest=0.85, stretch=0.1, turn=0.1, flip=0.0, light=0.0, grey=0.0)


class Augmenter:
    """Draws every random number from one generator, so that a run can be repeated and continued."""

    def __init__(self, size: int, generator: torch.Generator) -> None:
        self.size = size
        self.generator = generator

    def uniform(self, n: int, low: float, high: float) -> torch.Tensor:
        """N numbers between low and high."""
        return torch.rand(n, generator=self.generator) * (high - low) + low

    def photos(self, pixels: torch.Tensor, how: Strength = PHOTO) -> torch.Tensor:
        """Random crops of pictures (B, C, H, W, 0..1), turned, stretched, flipped, lit differently, some grey."""
        n = len(pixels)
        scale = self.uniform(n, how.smallest, 1.0)
        aspect = torch.exp(self.uniform(n, -how.stretch, how.stretch))
        theta = self._affine(scale * aspect, scale / aspect, self.uniform(n, -how.turn, how.turn) * self._coin(n, 0.4))
        room = (1 - scale).clamp(min=0)
        theta[:, 0, 2] = self.uniform(n, -1, 1) * room
        theta[:, 1, 2] = self.uniform(n, -1, 1) * room
        theta[:, :, 0] *= 1 - 2 * self._coin(n, how.flip)[:, None]
        return self._light(self._sample(pixels, theta, "reflection"), how)

    def pictograms(self, drawn: torch.Tensor, ground: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """RGBA pictures at another size, angle and place, on other backgrounds; and where they are opaque."""
        n = len(drawn)
        scale = 1 / self.uniform(n, 0.45, 1.02)
        theta = self._affine(scale, scale, self.uniform(n, -0.55, 0.55) * self._coin(n, 0.7))
        room = (scale - 1).clamp(min=0)
        theta[:, 0, 2] = self.uniform(n, -1, 1) * room
        theta[:, 1, 2] = self.uniform(n, -1, 1) * room
        alpha = drawn[:, 3:]
        placed = self._sample(torch.cat([drawn[:, :3] * alpha, alpha], dim=1), theta, "zeros")
        return placed[:, :3] + (1 - placed[:, 3:]) * ground, placed[:, 3:]

    def recoloured(self, drawn: torch.Tensor, may: torch.Tensor) -> torch.Tensor:
        """RGBA pictures, some of those that may be so in another colour."""
        angles = self.uniform(len(drawn), 0, 2 * torch.pi) * self._coin(len(drawn), RECOLOURED)
        return turned(drawn, angles * may)

    def grounds(self, n: int, photos: torch.Tensor) -> torch.Tensor:
        """Backgrounds: plain (often white or black), two-colour slopes, or blurred photos."""
        first, second = (torch.rand(n, 3, 1, 1, generator=self.generator) for _ in range(2))
        plain = torch.where(
            self._coin(n, 0.5).view(-1, 1, 1, 1) > 0, self.uniform(n, 0, 1).round().view(-1, 1, 1, 1), first
        )
        ramp = torch.linspace(0, 1, self.size).view(1, 1, -1, 1)
        slope = first * ramp + second * (1 - ramp)
        kind = self.uniform(n, 0, 1).view(-1, 1, 1, 1)
        some = photos[torch.randint(len(photos), (n,), generator=self.generator)]
        return torch.where(
            kind < 0.6, plain.expand(-1, -1, self.size, self.size), torch.where(kind < 0.75, slope, some)
        )

    def _affine(self, width: torch.Tensor, height: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
        """Matrices from the new picture's coordinates to the old one's."""
        cos, sin = torch.cos(turn), torch.sin(turn)
        rows = [torch.stack([width * cos, -height * sin], 1), torch.stack([width * sin, height * cos], 1)]
        return torch.cat([torch.stack(rows, 1), torch.zeros(len(width), 2, 1)], 2)

    def _sample(self, pixels: torch.Tensor, theta: torch.Tensor, padding: str) -> torch.Tensor:
        """The pictures seen through the matrices."""
        shape = (len(pixels), pixels.shape[1], self.size, self.size)
        grid = nn.functional.affine_grid(theta, list(shape), align_corners=False)
        return nn.functional.grid_sample(pixels, grid, padding_mode=padding, align_corners=False)

    def _light(self, pixels: torch.Tensor, how: Strength) -> torch.Tensor:
        """Brightness, contrast and colour strength; a share of the pictures in grey."""
        n = len(pixels)
        bright, contrast, strong = (self.uniform(n, 1 - how.light, 1 + how.light).view(-1, 1, 1, 1) for _ in range(3))
        strong = strong * (1 - self._coin(n, how.grey)).view(-1, 1, 1, 1)
        grey = pixels.mean(1, keepdim=True)
        middle = grey.mean((2, 3), keepdim=True)
        return ((grey + (pixels - grey) * strong - middle) * contrast + middle * bright).clamp(0, 1)

    def _coin(self, n: int, share: float) -> torch.Tensor:
        """1 for that share of n, 0 for the others."""
        return (torch.rand(n, generator=self.generator) < share).float()


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels as the model takes them, channels last in memory."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
