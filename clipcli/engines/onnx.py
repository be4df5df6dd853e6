"""ONNX Runtime over a bundle, on the CPU: starts in a fraction of a second, without torch."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from clipcli.devices import usable_cores
from clipcli.engines import tokenizer as tokenizers
from clipcli.errors import BundleError, ModelError
from clipcli.steady import groups_of_like_length, padded_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from clipcli.bundle import Bundle
    from clipcli.encoder import ModelInfo, Precision, Scoring
    from clipcli.engines.tokenizer import Tokenizer
    from clipcli.vectors import Pixels, Vectors

BULK_ROWS = 128
"""Rows after which packing a tower's weights has paid for itself. ViT-B-32 on two cores: packing takes 0.3 s more at
load and saves 2 ms an image in batches of 16 (benchmarks/bench_startup.py)."""
_TEXT_BATCH = 64
"""Texts a run of the text tower: a bound on memory when a label file has ten thousand lines."""
_OUT_OF_MEMORY = ("allocate", "bad_alloc")


class _Tower:
    """One graph, opened at its first use for little work, and again for much work once there is much."""

    def __init__(self, path: Path, expected_rows: int | None) -> None:
        self._path = path
        self._expected_rows = expected_rows
        self._bulk = expected_rows is not None and expected_rows >= BULK_ROWS
        self._may_change = expected_rows is None or self._bulk
        self._session: Any = None
        self._rows = 0

    @property
    def is_open(self) -> bool:
        """Whether its weights are mapped."""
        return self._session is not None

    @property
    def sets_one_row_apart(self) -> bool:
        """Whether a row that comes alone is multiplied by another kernel, which adds up in another order.

        ONNX Runtime has one for weights that are not packed. Work that is one row to begin with has no other to match.
        """
        return not self._bulk and self._expected_rows != 1

    def rest(self) -> None:
        """Give its memory back if opening it again costs next to nothing (20 ms for ViT-B-32, weights not packed)."""
        if not self._bulk:
            self._session = None

    def run(self, rows: npt.NDArray[Any]) -> Vectors:
        """(n, …) → float32 (n, dim)."""
        if self._session is None or (self._may_change and not self._bulk and self._rows >= BULK_ROWS):
            self._bulk = self._bulk or self._rows >= BULK_ROWS
            self._session = None  # the old session's memory goes before the new one's comes
            self._session = _open(self._path, bulk=self._bulk)
        self._rows += len(rows)
        try:
            (features,) = self._session.run(None, {self._session.get_inputs()[0].name: np.ascontiguousarray(rows)})
        except Exception as error:  # ONNX Runtime's own errors share no narrower base
            if _is_out_of_memory(error):
                self._session = None  # its arena has taken all there is, and keeps it
                raise MemoryError(_first_line(error)) from error
            raise
        return np.asarray(features, np.float32)


class OnnxEncoder:
    """A bundle, ready to run; see `clipcli.encoder.Encoder`.

    Nothing is loaded before it is used, and for little work only one tower is held at a time.
    """

    def __init__(self, bundle: Bundle, expected_images: int | None, expected_texts: int | None = None) -> None:
        self.bundle = bundle
        self._image = _Tower(bundle.image_tower, expected_images)
        self._text = _Tower(bundle.text_tower, expected_texts)
        self._tokenizer: Tokenizer | None = None

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        return self.bundle.info

    @property
    def scoring(self) -> Scoring:
        """How its cosines are read."""
        return self.bundle.scoring

    @property
    def device(self) -> str:
        """Always the CPU."""
        return "cpu"

    @property
    def precision(self) -> Precision:
        """How the weights are stored; activations are float32 either way."""
        return self.bundle.precision

    def encode_images(self, pixels: Pixels) -> Vectors:
        """Float32 (n, 3, height, width), normalised → float32 (n, dim), not unit length; one run for the whole batch.

        Raises:
            BundleError: the image tower cannot be loaded.
            MemoryError: the batch is too large; a smaller one may fit.
        """
        if len(pixels) == 0:
            return np.zeros((0, self.info.dim), np.float32)
        if not self._image.is_open:
            self._text.rest()
        if len(pixels) == 1 and self._image.sets_one_row_apart:
            return self._image.run(pixels[[0, 0]])[:1]
        return self._image.run(pixels)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Texts → float32 (n, dim), not unit length. Longer texts are cut at the context length, end token kept.

        A causal tower gets texts of like length together, padded little further than they reach.

        Raises:
            BundleError: the text tower or the tokenizer cannot be loaded.
            MemoryError: too little for a batch of texts.
        """
        if not self._text.is_open:
            self._image.rest()
        vectors = np.zeros((len(texts), self.info.dim), np.float32)
        if not texts:
            return vectors
        ids = self._tokenizing().ids(texts)
        limit = self.info.context_length
        lengths = [min(len(row), limit) if self.info.causal_text else limit for row in ids]
        for members, length in groups_of_like_length(lengths, limit, _TEXT_BATCH):
            batch = self._tokenizing().batch([ids[index] for index in members[padded_rows(len(members))]], length)
            vectors[members] = self._text.run(batch)[: len(members)]
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text before any cut, start and end token included."""
        return [len(ids) for ids in self._tokenizing().ids(texts)] if texts else []

    def tokens(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """What open_clip's tokenizer gives: int64 (n, context_length)."""
        tokenizer = self._tokenizing()
        return tokenizer.batch(tokenizer.ids(texts))

    def _tokenizing(self) -> Tokenizer:
        if self._tokenizer is None:
            self._tokenizer = tokenizers.load(self.bundle)
        return self._tokenizer


def load(bundle: Bundle, *, expected_images: int | None = None, expected_texts: int | None = None) -> OnnxEncoder:
    """An encoder over a bundle that `clipcli.bundle.read` has checked.

    How many images and texts will come, None when nobody knows, decides whether packing a tower's weights pays.

    Raises:
        ModelError: ONNX Runtime is not installed.
    """
    _runtime()
    return OnnxEncoder(bundle, expected_images, expected_texts)


def _runtime() -> Any:
    # Since 1.32 it would otherwise write a device's number and a database into the home, and report what it runs.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"ONNX Runtime cannot be imported: {error}",
            hint="Install it with `pip install onnxruntime`. Only bundles need it: --engine openclip runs the rest.",
        ) from error
    return onnxruntime


def _open(path: Path, *, bulk: bool) -> Any:
    """A session for much or little work. Without packing the weights stay in the memory-mapped file."""
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = _threads()
    options.log_severity_level = 4  # what fails is raised, and said once
    levels = runtime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if bulk else levels.ORT_ENABLE_BASIC
    options.enable_cpu_mem_arena = bulk
    # Spinning threads would take the cores from those that decode the next images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not bulk:
        options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors share no narrower base
        if _is_out_of_memory(error):
            raise MemoryError(_first_line(error)) from error
        raise BundleError(
            f"{path}: ONNX Runtime cannot load it: {_first_line(error)}",
            hint="Export the model again, or use --engine openclip.",
        ) from error


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def _threads() -> int:
    """Threads of a session; 0 leaves it to ONNX Runtime, which takes every core that the machine has.

    `OMP_NUM_THREADS` is what torch listens to as well, and what Ray gives a worker that may use a part of the cores.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked.isdigit():
        return int(asked)
    cores = usable_cores()
    return cores if cores < (os.cpu_count() or 1) else 0


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
