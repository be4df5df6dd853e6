"""ONNX Runtime over a bundle, on the CPU: starts in a fraction of a second, without torch."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from clipcli.core.devices import cpu_lanes, model_threads
from clipcli.engines.bundle_encoder import BundleEncoder
from clipcli.errors import BundleError, ModelError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from clipcli.bundle import Bundle
    from clipcli.core.vectors import Vectors


BULK_ROWS = 128
"""Rows after which packing a tower's weights has paid for itself. ViT-B-32 on two cores: packing takes 0.3 s more at
load and saves 2 ms an image in batches of 16 (benchmarks/bench_startup.py)."""
_OUT_OF_MEMORY = ("allocate", "bad_alloc")


class OnnxTower:
    """One graph, opened at its first use for little work, and again for much work once there is much."""

    def __init__(self, path: Path, expected_rows: int | None) -> None:
        self._path = path
        self._expected_rows = expected_rows
        self._bulk = expected_rows is not None and expected_rows >= BULK_ROWS
        self._may_change = expected_rows is None or self._bulk
        self._session: Any = None
        self._rows = 0
        self._opening = threading.Lock()
        self._most_lanes = cpu_lanes()[0]

    @property
    def is_open(self) -> bool:
        """Return whether its weights are mapped."""
        return self._session is not None

    @property
    def lanes(self) -> int:
        """Runs side by side, each on few threads, once there is much to do; a lone run has all threads to itself."""
        return self._most_lanes if self._has_much_to_do else 1

    @property
    def sets_one_row_apart(self) -> bool:
        """Return whether a row that comes alone is multiplied by another kernel, which adds up in another order.

        ONNX Runtime has one for weights that are not packed. Work that is one row to begin with has no other to match.
        """
        return not self._bulk and self._expected_rows != 1

    def rest(self) -> None:
        """Give its memory back if opening it again costs next to nothing (20 ms for ViT-B-32, weights not packed)."""
        if not self._bulk:
            self._session = None

    def run(self, rows: npt.NDArray[Any]) -> Vectors:
        """(n, …) → float32 (n, dim)."""
        session = self._ready(len(rows))
        try:
            (features,) = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(rows)})
        except Exception as error:  # ONNX Runtime's own errors share no narrower base
            if _is_out_of_memory(error):
                self._session = None  # its arena has taken all there is, and keeps it
                raise MemoryError(_first_line(error)) from error
            raise
        return np.asarray(features, np.float32)

    def _ready(self, coming: int) -> Any:
        """Return a session for the work there is, with `coming` rows more."""
        with self._opening:
            if self._session is None or (self._has_much_to_do and not self._bulk):
                self._bulk = self._has_much_to_do
                self._session = None  # the old session's memory goes before the new one's comes
                self._session = open_graph(self._path, bulk=self._bulk)
            self._rows += coming
            return self._session

    @property
    def _has_much_to_do(self) -> bool:
        return self._bulk or (self._may_change and self._rows >= BULK_ROWS)


def runtime() -> Any:
    """Return the library.

    Raises:
        ModelError: it is not installed.
    """
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


def open_graph(path: Path, *, bulk: bool) -> Any:
    """Open a session for much or little work. Without packing the weights stay in the memory-mapped file."""
    library = runtime()
    options = library.SessionOptions()
    options.intra_op_num_threads = _threads(bulk=bulk)
    options.log_severity_level = 4  # what fails is raised, and said once
    levels = library.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if bulk else levels.ORT_ENABLE_BASIC
    options.enable_cpu_mem_arena = bulk
    # Spinning threads would take the cores from those that decode the next images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not bulk:
        options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        return library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors share no narrower base
        if _is_out_of_memory(error):
            raise MemoryError(_first_line(error)) from error
        raise BundleError(
            f"{path}: ONNX Runtime cannot load it: {_first_line(error)}",
            hint="Export the model again, or use --engine openclip.",
        ) from error


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def _threads(*, bulk: bool) -> int:
    """Threads of one run; 0 leaves it to ONNX Runtime, which takes every core that the machine has."""
    if bulk:
        return cpu_lanes()[1]
    threads = model_threads()
    return threads if threads != os.cpu_count() else 0


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def load(bundle: Bundle, *, expected_images: int | None = None, expected_texts: int | None = None) -> BundleEncoder:
    """Return an encoder over a bundle that `clipcli.bundle.read` has checked.

    How many images and texts will come, None when nobody knows, decides whether packing a tower's weights pays.
    Activations are float32, however the weights are stored.

    Raises:
        ModelError: ONNX Runtime is not installed.
    """
    runtime()
    image = OnnxTower(bundle.image_tower, expected_images)
    text = OnnxTower(bundle.text_tower, expected_texts)
    return BundleEncoder(bundle, image, text, bundle.precision)
