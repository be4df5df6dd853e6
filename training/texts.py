"""The text tower's side: tokens cut to the longest text, targets as mixes of concept vectors."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

import numpy as np
import open_clip
import torch
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
from torch import nn

from training.compositions import Compositions
from training.phrases import Mix, Phrase, Wording, all_phrases
from training.words import clean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from training.concepts import Concepts
    from training.data import Material

WORDINGS = ["{}", "a {}", "a photo of a {}.", "a photo of {}.", "a picture of a {}."]
END = 49407  # the token that ends a text, the largest of all


def encode(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Unit vectors of texts; the tower is causal, so that what follows the longest text's end may be left out."""
    longest = int(tokens.argmax(-1).max()) + 1
    tokens = tokens[:, :longest]
    hidden = model.token_embedding(tokens) + model.positional_embedding[:longest]
    hidden = model.transformer(hidden, attn_mask=model.attn_mask[:longest, :longest])
    hidden = model.ln_final(hidden)[torch.arange(len(tokens)), tokens.argmax(-1)]
    return nn.functional.normalize(hidden @ model.text_projection, dim=-1)


class Texts:
    """Endless batches of texts with the mixes they stand for."""

    def __init__(self, material: Material, templates: Iterable[str], seed: int) -> None:
        concepts = material.concepts
        labels = [int(row[0]) for row in material.emoji_labels]
        self.concepts = len(concepts.names)
        counts = np.bincount([*material.photo_labels[:, 0], *labels], minlength=self.concepts)
        self.phrases = all_phrases(concepts, counts.tolist(), material.pictograms, labels)
        known = {phrase.text for phrase in self.phrases}
        for i, name in enumerate(map(clean, IMAGENET_CLASSNAMES)):
            if name not in known:
                self.phrases.append(Phrase(name, {self.concepts + i: 1.0}, 0.7))
        self.rng = random.Random(seed)
        self.wording = Wording(templates, self.rng)
        self.compositions = Compositions(self.phrases, concepts, self.rng)
        self.styles = concepts.family("style")
        self.shares = [phrase.share for phrase in self.phrases]
        self.tokenizer = open_clip.SimpleTokenizer()

    def draw(self, count: int) -> tuple[torch.Tensor, list[Mix]]:
        """Tokens and mixes of a batch."""
        chosen = self.rng.choices(self.phrases, self.shares, k=count)
        pairs = [self.wording(self.compositions(phrase), self.styles) for phrase in chosen]
        return self.tokenizer([text for text, _ in pairs]), [mix for _, mix in pairs]


@torch.inference_mode()
def said(model: nn.Module, concepts: Concepts, kept: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a text tower makes of every concept's name, and of ImageNet's 1,000: unit vectors, the mean of wordings.

    Concepts that are no objects (styles, shapes, colours, counts) keep their vectors of `kept` (concepts, dim).
    """
    rows = kept.clone()
    objects = [index for index, name in enumerate(concepts.names) if ":" not in name]
    rows[objects] = _means(model, [re.sub(r" \(emoji.*\)$", "", concepts.names[index]) for index in objects])
    return rows.clone(), _means(model, [clean(name) for name in IMAGENET_CLASSNAMES]).clone()


def _means(model: nn.Module, names: list[str]) -> torch.Tensor:
    """A unit vector a name: the mean over a few wordings."""
    tokenizer = open_clip.SimpleTokenizer()
    wordings = [encode_all(model, tokenizer([text.replace("{}", name) for name in names])) for text in WORDINGS]
    return nn.functional.normalize(torch.stack(wordings).mean(0), dim=-1)


def encode_all(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Unit vectors of any number of texts."""
    return torch.cat([encode(model, part) for part in tokens.split(512)])


def mixed(mixes: list[Mix], rows: int) -> torch.Tensor:
    """A row a mix: the weights of the concepts, which sum to one."""
    table = torch.zeros(len(mixes), rows)
    for row, mix in enumerate(mixes):
        total = sum(mix.values())
        for index, weight in mix.items():
            table[row, index] = weight / total
    return table


def text_loss(vectors: torch.Tensor, mixes: list[Mix], prototypes: torch.Tensor, concepts: int) -> torch.Tensor:
    """Distance to the mix of prototypes, and which of the concepts the text is about."""
    weights = mixed(mixes, len(prototypes))
    targets = nn.functional.normalize(weights @ prototypes, dim=-1)
    far = 1 - (vectors * targets).sum(-1)
    ours = weights[:, concepts:].sum(-1) == 0
    chances = (25 * vectors[ours] @ prototypes[:concepts].T).log_softmax(-1)
    wrong = -(weights[ours][:, :concepts] * chances).sum(-1)
    return far.mean() + 0.1 * wrong.sum() / len(vectors)
