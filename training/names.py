"""Vectors of names, as the trained text tower says them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn.functional import normalize

from training import text_tower
from training.text_tower import END, LONGEST, START

PROMPTS = Path(__file__).parent.parent / "prompts" / "photo.txt"


class Names:
    """Vectors of names by the trained text tower."""

    def __init__(self, work: Path) -> None:
        from open_clip import SimpleTokenizer

        self.tower = text_tower.trained(torch.load(work / "texts.pt", weights_only=True))
        self.tokenizer = SimpleTokenizer()

    def __call__(self, names: list[str], templates: list[str]) -> torch.Tensor:
        """One unit vector for each name: the mean over the templates."""
        total = torch.zeros(len(names), text_tower.WIDTH)
        for template in templates:
            said = [self.tokenizer.encode(template.replace("{}", name))[:LONGEST] for name in names]
            total += text_tower.encode_all(self.tower, [[START, *ids, END] for ids in said])
        return normalize(total, dim=1)


def default_prompts() -> list[str]:
    """The templates of clipcli's default prompt set."""
    lines = PROMPTS.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if "{}" in line and line[0] != "#"]


def said(work: Path, concepts: list[str]) -> torch.Tensor:
    """Unit vectors of names between what the default prompts and the bare names give: float32 (names, 512)."""
    names = Names(work)
    return normalize(names(concepts, default_prompts()) + names(concepts, ["{}"]), dim=1)
