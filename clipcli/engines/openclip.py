"""The engine of torch and open_clip: any OpenCLIP architecture, on CUDA, MPS or the CPU."""

from __future__ import annotations

import logging
import math
import warnings
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from open_clip import create_model, get_input_dtype, load_checkpoint
from open_clip.transformer import LayerNormFp32

from clipcli.core.batch_invariance import ROWS, groups_of_like_length, image_rows, steps, text_rows
from clipcli.core.devices import cpu_lanes
from clipcli.core.encoder import Scoring
from clipcli.engines.checkpoint import plain_words
from clipcli.engines.hugging_face import architecture_folder, load_tokenizer
from clipcli.engines.openclip_towers import CausalText, causal_tower, few_queries_on, image_tower
from clipcli.engines.torch_devices import Streams, all_threads, one_kind_of_memory_error
from clipcli.errors import ModelError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from clipcli.core.encoder import ModelInfo, Precision
    from clipcli.core.vectors import Pixels, Vectors
    from clipcli.engines.checkpoint import ModelFiles


_CLIPS = "clips"
_CLIPS_SPECIAL_TOKENS = 3
"""Start, end and class token, added by open_clip's `clips` mode."""


class TextTokens:
    """A tokenizer for use from several threads, one at a time.

    `transformers` sets padding and truncation of a tokenizer before each call, so parallel calls would mix them up.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._lock = Lock()

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Tokenize n ≥ 1 texts as (n, context_length) int64, padded, and cut so that the end token is kept."""
        with self._lock:
            ids: torch.Tensor = self._tokenizer(list(texts))
        return ids

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text before any cut, start and end token included."""
        if not texts:
            return []  # transformers' tokenizers raise IndexError for an empty list
        if hasattr(self._tokenizer, "encode"):
            return [len(self._tokenizer.encode(text)) + 2 for text in texts]
        clean = [self._tokenizer.clean_fn(text) for text in texts]
        is_clips = self._tokenizer.tokenizer_mode == _CLIPS
        with self._lock:
            # verbose=False: TruncationWarning reports long texts, not transformers.
            token_ids = self._tokenizer.tokenizer(clean, add_special_tokens=not is_clips, verbose=False).input_ids
        return [len(ids) + _CLIPS_SPECIAL_TOKENS * is_clips for ids in token_ids]


_GPU_LANES = 2


@dataclass(frozen=True)
class OpenClipEncoder:
    """A loaded model; see `clipcli.core.encoder.Encoder`."""

    model: Any
    """The open_clip module, in eval mode on `device`."""
    tokenizer: Any
    """open_clip's tokenizer: list of n texts → int64 (n, context_length)."""
    info: ModelInfo
    scoring: Scoring
    device: str
    precision: Precision
    streams: Streams
    few_images: bool = False
    """Whether there are so few images that all threads of the CPU should work on one batch."""
    text_tokens: TextTokens = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text_tokens", TextTokens(self.tokenizer))

    @cached_property
    def image_lanes(self) -> int:
        """Return the number of parallel batches: a GPU copies one while it computes another; see `cpu_lanes`."""
        if self.device == "cpu":
            return 1 if self.few_images else cpu_lanes()[0]
        return _GPU_LANES if self.device.startswith("cuda") else 1

    @cached_property
    def text_lanes(self) -> int:
        """Return the number of parallel batches, as for many images: a few images may have many labels."""
        return cpu_lanes()[0] if self.device == "cpu" else self.image_lanes

    def encode_images(self, pixels: Pixels) -> Vectors:
        """Encode (n, 3, height, width) float32 pixels as (n, dim) float32, not unit length.

        Raises:
            MemoryError: the batch is too large for the device; a smaller one may fit.
        """
        vectors = np.zeros((len(pixels), self.info.dim), np.float32)
        together = self.few_images and self.device == "cpu"
        size = ROWS if together else image_rows(self.precision)
        threads = all_threads() if together else nullcontext()
        with one_kind_of_memory_error(), torch.inference_mode(), self.streams.own_stream(), threads:
            for step, rows in self._steps(len(pixels), size):
                batch = torch.from_numpy(pixels if len(rows) == len(pixels) else pixels[rows])
                if self.device.startswith("cuda"):
                    batch = batch.pin_memory()
                # Two steps: a copy with conversion would convert on the CPU and block.
                batch = batch.to(self.device, non_blocking=True).to(dtype=get_input_dtype(self.precision))
                vectors[step] = _numbers(self._image_tower(batch))[: step.stop - step.start]
        return vectors

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode n texts as (n, dim) float32, not unit length; a causal tower reads up to the longest text only.

        Raises:
            MemoryError: as for images.
        """
        vectors = np.zeros((len(texts), self.info.dim), np.float32)
        if not texts:
            return vectors
        with one_kind_of_memory_error(), torch.inference_mode(), self.streams.own_stream():
            tokens = self.text_tokens.encode(texts)
            limit = tokens.shape[1]
            # The end token has the highest id; a causal tower's output does not depend on tokens after it.
            lengths = (tokens.argmax(dim=-1) + 1).tolist() if self.info.causal_text else [limit] * len(texts)
            encode = CausalText(self.model) if self.info.causal_text else self.model.encode_text
            for members, length in groups_of_like_length(lengths, limit, len(texts)):
                for step, rows in self._steps(len(members), text_rows(self.precision)):
                    batch = tokens[members[rows], :length].to(self.device)
                    vectors[members[step]] = _numbers(encode(batch))[: step.stop - step.start]
        return vectors

    @cached_property
    def _image_tower(self) -> torch.nn.Module:
        return image_tower(self.model, few_queries_on(self.device))

    def _steps(self, count: int, size: int) -> Iterator[tuple[slice, npt.NDArray[np.intp]]]:
        """Return the steps of a batch; a GPU computes it in one step."""
        return steps(count, size if self.device == "cpu" else max(count, 1))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text before any cut, start and end token included."""
        return self.text_tokens.count(texts)


def _numbers(output: Any) -> Vectors:
    """Return the embedding, which comes first in the output of towers that return more."""
    features: torch.Tensor = output[0] if isinstance(output, (tuple, list)) else output
    return np.asarray(features.float().cpu().numpy())


_CHUNKS_AT_ONCE = 16
_CHUNK_ENDS = 2
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
        room = self._length - _CHUNK_ENDS
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
        room = self._length - _CHUNK_ENDS
        return [max(len(self._tokenizer.encode(text)) - room, 0) for text in texts]

    def encode(self, chunks: Sequence[TokenChunk]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return float32 states (n, length, width), and the tower's own embeddings (n, dim), not unit length.

        Raises:
            MemoryError: the device has too little memory.
        """
        states, pooled = [], []
        with one_kind_of_memory_error(), torch.inference_mode():
            for start in range(0, len(chunks), _CHUNKS_AT_ONCE):
                ids = torch.tensor(
                    [chunk.ids for chunk in chunks[start : start + _CHUNKS_AT_ONCE]], device=self._device
                )
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


def load(source: ModelFiles, digest: Callable[[Path], str], *, device: str, precision: Precision) -> OpenClipEncoder:
    """Build the architecture and load the weights, without unpickling code.

    `digest` returns the SHA-256 (hex) of a file.

    Raises:
        ModelError: the weights are damaged, of another architecture, lack a finite scale of scores, or are a pickle
            with more than tensors.
        DeviceError: the model does not fit into the device's memory.
    """
    with quiet_open_clip(), plain_words(source), architecture_folder(source) as folder:
        tokenizer = load_tokenizer(source)
        model = create_model(
            folder,
            load_weights=False,
            pretrained_image=False,
            pretrained_text=False,
            precision=precision,
            device=device,
            force_quick_gelu=source.quick_gelu,
        ).eval()
        _narrow_rest(model, get_input_dtype(precision))
        # Not by create_model, which would choose a file in the folder itself.
        load_checkpoint(model, str(source.weights), strict=True, weights_only=True)
        if precision != "fp32" and device != "mps":
            # Half-precision convolutions become twice as fast (ResNet-50 in bf16 on a CPU), others stay the same.
            model = model.to(memory_format=torch.channels_last)
    if device == "cpu":
        torch.set_num_threads(cpu_lanes()[1])
    info = source.info(causal=source.tokenizer_folder is None and causal_tower(model), digest=digest)
    return OpenClipEncoder(model, tokenizer, info, _scoring(model, info.name), device, precision, Streams(device))


def _narrow_rest(model: Any, dtype: torch.dtype | None) -> None:
    """Convert parameters that open_clip leaves in fp32: learnt queries, class tokens and layer scales.

    Norms that compute in fp32 by design stay in fp32, and so do the scale and bias of scores.
    """
    for module in model.modules() if dtype else ():
        if module is not model and not isinstance(module, (LayerNormFp32, torch.nn.BatchNorm2d)):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)


def _scoring(model: Any, name: str) -> Scoring:
    scale = float(model.logit_scale.detach().float().exp().reshape(-1)[0])
    bias = 0.0 if model.logit_bias is None else float(model.logit_bias.detach().float().reshape(-1)[0])
    if not math.isfinite(scale) or not math.isfinite(bias):
        raise ModelError(
            f"{name}: the scale or bias of its scores is not finite ({scale}, {bias})", hint="the weights are damaged"
        )
    return Scoring(scale) if model.logit_bias is None else Scoring(scale, bias, "sigmoid")


@contextmanager
def quiet_open_clip() -> Iterator[None]:
    """Suppress log messages and warnings of open_clip about settings that are chosen on purpose."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
