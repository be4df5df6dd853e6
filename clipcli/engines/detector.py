"""Zero-shot detection models through torch and transformers: pictures and texts in, boxes with a score per label out.

The models' forward passes are split so that texts are encoded once, not once per picture.

Minderer et al., "Simple Open-Vocabulary Object Detection with Vision Transformers", arXiv:2205.06230 (OWL-ViT), and
"Scaling Open-Vocabulary Object Detection", arXiv:2306.09683 (OWLv2). Liu et al., "Grounding DINO", arXiv:2303.05499.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import torch

from clipcli.engines.checkpoint import plain_words
from clipcli.engines.detector_files import DETECTORS
from clipcli.engines.hugging_face import load_detector
from clipcli.engines.openclip import quiet_open_clip
from clipcli.engines.torch_devices import all_threads, one_kind_of_memory_error
from clipcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from PIL.Image import Image

    from clipcli.core.encoder import Precision
    from clipcli.engines.detector_files import DetectorFiles, DetectorKind
    from clipcli.engines.hugging_face import LoadedDetector

_DTYPES: Final = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_TEXTS_AT_ONCE: Final = 256
_PHRASE_ENDS: Final = str.maketrans({".": " ", "?": " "})
"""Characters that end a phrase in a prompt of Grounding DINO; they are removed from labels."""


@dataclass(frozen=True)
class BoxProposals:
    """The boxes that a detection model proposes for one picture."""

    boxes: npt.NDArray[np.float32]
    """(n, 4): centre x, centre y, width, height, as fractions of an edge (`DetectorKind.box_unit`)."""
    scores: npt.NDArray[np.float32]
    """(n, labels), each from 0 to 1; zero where a box was not compared with a label."""


class Detector(Protocol):
    """A loaded detection model."""

    @property
    def kind(self) -> DetectorKind:
        """Return the properties of its kind."""
        ...

    def read_labels(self, texts: Sequence[Sequence[str]]) -> list[str]:
        """Set the labels to look for, each as one or more texts; the score of a label is that of its best text.

        Returns:
            The texts that were cut because they are too long for the model.

        Raises:
            UsageError: a text without a word to look for.
        """
        ...

    def detect(self, images: Sequence[Image]) -> list[BoxProposals]:
        """Look for the labels in RGB pictures.

        Raises:
            MemoryError: the batch does not fit into memory.
        """
        ...


def load(source: DetectorFiles, device: str, precision: Precision) -> Detector:
    """Build a detection model on a device.

    Raises:
        ModelError: the files are damaged, do not fit together, or would run code.
        DeviceError: it does not fit into memory.
        UsageError: its kind does not compute in this precision.
    """
    kind = DETECTORS[source.kind]
    if precision not in kind.precisions:
        raise UsageError(f"{kind.name} computes in {' or '.join(kind.precisions)}", hint="leave out --precision")
    with quiet_open_clip(), plain_words(source):
        loaded = load_detector(source)
        loaded.model.to(device=device, dtype=_DTYPES[precision])
    if source.kind == "grounding-dino":
        return GroundingDetector(kind, loaded, device)
    return OwlDetector(kind, loaded, device)


class OwlDetector:
    """OWLv2 and OWL-ViT: each patch of a vision transformer proposes a box, which is compared with vectors of texts."""

    def __init__(self, kind: DetectorKind, loaded: LoadedDetector, device: str) -> None:
        self.kind = kind
        self._model, self._pixels, self._tokenizer = loaded.model, loaded.pixels, loaded.tokenizer
        self._device = device
        self._queries = torch.empty(0)
        self._starts: list[int] = []

    def read_labels(self, texts: Sequence[Sequence[str]]) -> list[str]:
        """See `Detector`."""
        flat = [text for of_label in texts for text in of_label]
        self._starts = np.cumsum([0, *map(len, texts[:-1])]).tolist()
        limit = int(self._model.config.text_config.max_position_embeddings)
        with torch.inference_mode(), one_kind_of_memory_error(), all_threads():
            parts = [self._embed(flat[at : at + _TEXTS_AT_ONCE], limit) for at in range(0, len(flat), _TEXTS_AT_ONCE)]
            self._queries = torch.cat(parts)
        lengths = map(len, self._tokenizer(flat, verbose=False).input_ids)
        return [text for text, length in zip(flat, lengths, strict=True) if length > limit]

    def detect(self, images: Sequence[Image]) -> list[BoxProposals]:
        """See `Detector`."""
        model = self._model
        with torch.inference_mode(), one_kind_of_memory_error(), all_threads(), quiet_open_clip():
            pixels = self._pixels(images=list(images), return_tensors="pt").pixel_values
            features = model.image_embedder(pixels.to(self._device, model.dtype))[0]
            flat = features.flatten(1, 2)
            queries = self._queries.expand(len(images), -1, -1)
            scores = model.class_predictor(flat, queries, torch.ones(queries.shape[:2], device=self._device))[0]
            scores = scores.float().sigmoid().cpu().numpy()
            boxes = model.box_predictor(flat, features).float().cpu().numpy()
        best = np.maximum.reduceat(scores, self._starts, axis=2)
        return [BoxProposals(*pair) for pair in zip(boxes, best, strict=True)]

    def _embed(self, texts: Sequence[str], limit: int) -> torch.Tensor:
        """Return the vectors of texts, (n, dim), unit length."""
        tokens = self._tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=limit, return_tensors="pt"
        )
        towers = getattr(self._model, self._model.base_model_prefix)
        ids, mask = tokens.input_ids.to(self._device), tokens.attention_mask.to(self._device)
        pooled = towers.text_model(input_ids=ids, attention_mask=mask)[1]
        vectors: torch.Tensor = towers.text_projection(pooled)
        return torch.nn.functional.normalize(vectors, dim=-1)


@dataclass(frozen=True)
class GroundingPrompt:
    """Labels as one text, `a cat . a dog .`, that is short enough for the model."""

    ids: list[int]
    spans: tuple[tuple[int, int, int], ...]
    """For each phrase: the number of its label, and start and end of its tokens as in a slice."""


class GroundingDetector:
    """Grounding DINO: queries that attend to a picture and to one text with all phrases."""

    def __init__(self, kind: DetectorKind, loaded: LoadedDetector, device: str) -> None:
        self.kind = kind
        self._model, self._pixels, self._tokenizer = loaded.model, loaded.pixels, loaded.tokenizer
        self._device = device
        self._prompts: list[GroundingPrompt] = []
        self._labels = 0

    def read_labels(self, texts: Sequence[Sequence[str]]) -> list[str]:
        """See `Detector`."""
        self._labels = len(texts)
        phrases, cut = [], []
        for label, of_label in enumerate(texts):
            for text in of_label:
                plain = " ".join(text.lower().translate(_PHRASE_ENDS).split())
                ids = self._tokenizer(plain, add_special_tokens=False, verbose=False).input_ids
                if not ids:
                    raise UsageError(f"the label {text!r} has no word to look for", hint="name a thing")
                if len(ids) > self._room:
                    cut.append(text)
                phrases.append((label, ids[: self._room]))
        self._prompts = self._pack(phrases)
        return cut

    @cached_property
    def _room(self) -> int:
        """Return the most tokens of a phrase, without the start token, its full stop and the end token."""
        return int(min(self._model.config.max_text_len, self._model.config.text_config.max_position_embeddings)) - 3

    def _pack(self, phrases: Sequence[tuple[int, list[int]]]) -> list[GroundingPrompt]:
        """Pack the phrases, each followed by a full stop, into as few texts as possible."""
        start, end = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        stop = self._tokenizer.convert_tokens_to_ids(".")
        prompts: list[GroundingPrompt] = []
        ids: list[int] = [start]
        spans: list[tuple[int, int, int]] = []
        for label, own in phrases:
            if spans and len(ids) + len(own) > self._room + 1:
                prompts.append(GroundingPrompt([*ids, end], tuple(spans)))
                ids, spans = [start], []
            spans.append((label, len(ids), len(ids) + len(own)))
            ids += [*own, stop]
        return [*prompts, GroundingPrompt([*ids, end], tuple(spans))]

    def detect(self, images: Sequence[Image]) -> list[BoxProposals]:
        """See `Detector`. Pictures of one size form a batch, since the model would see the padding of smaller ones."""
        by_size: dict[tuple[int, int], list[int]] = {}
        for number, image in enumerate(images):
            by_size.setdefault(image.size, []).append(number)
        proposals: dict[int, BoxProposals] = {}
        with torch.inference_mode(), one_kind_of_memory_error(), all_threads(), quiet_open_clip():
            for members in by_size.values():
                pixels = self._pixels(images=[images[number] for number in members], return_tensors="pt")
                parts = [self._propose(pixels, prompt) for prompt in self._prompts]
                boxes = np.concatenate([part[0] for part in parts], axis=1)
                scores = np.concatenate([part[1] for part in parts], axis=1)
                proposals |= {number: BoxProposals(boxes[at], scores[at]) for at, number in enumerate(members)}
        return [proposals[number] for number in range(len(images))]

    def _propose(self, pixels: Any, prompt: GroundingPrompt) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return boxes (pictures, n, 4) and scores (pictures, n, labels) for one text."""
        ids = torch.tensor([prompt.ids] * len(pixels.pixel_values), device=self._device)
        answer = self._model(
            pixel_values=pixels.pixel_values.to(self._device),
            pixel_mask=pixels.pixel_mask.to(self._device),
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            token_type_ids=torch.zeros_like(ids),
        )
        by_token = answer.logits.float().sigmoid().cpu().numpy()
        scores = np.zeros((*by_token.shape[:2], self._labels), np.float32)
        for label, first, end in prompt.spans:
            np.maximum(scores[..., label], by_token[..., first:end].max(axis=-1), out=scores[..., label])
        return answer.pred_boxes.float().cpu().numpy(), scores
