"""ONNX Runtime for bundles, on the CPU; it starts in a fraction of a second, without torch."""

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
"""Rows from which packing a tower's weights pays. For ViT-B-32 on two cores, packing takes 0.3 s more at load and saves
2 ms per image in batches of 16 (benchmarks/bench_startup.py)."""
_OUT_OF_MEMORY = ("allocate", "bad_alloc")


class OnnxTower:
    """One graph, opened on first use for little work, and reopened for much work when many rows have come."""

    def __init__(self, path: Path, expected_rows: int | None) -> None:
        self._path = path
        self._expected_rows = expected_rows
        self._is_packed = expected_rows is not None and expected_rows >= BULK_ROWS
        self._may_repack = expected_rows is None or self._is_packed
        self._session: Any = None
        self._rows = 0
        self._lock = threading.Lock()
        self._max_lanes = cpu_lanes()[0]

    @property
    def is_open(self) -> bool:
        """Return whether its weights are in memory."""
        return self._session is not None

    @property
    def lanes(self) -> int:
        """Return the number of parallel runs: several with few threads each for much work, else one."""
        return self._max_lanes if self._should_pack else 1

    @property
    def has_single_row_kernel(self) -> bool:
        """Return whether a batch of one row uses another kernel, which sums in another order.

        ONNX Runtime has such a kernel for unpacked weights. It does not matter if the run has only one row.
        """
        return not self._is_packed and self._expected_rows != 1

    def unload_if_cheap(self) -> None:
        """Close the session unless its weights are packed; reopening takes 20 ms for ViT-B-32."""
        if not self._is_packed:
            self._session = None

    def run(self, rows: npt.NDArray[Any]) -> Vectors:
        """Run the tower on (n, …) inputs and return (n, dim) float32. Raises BundleError, MemoryError."""
        session = self._open_session(len(rows))
        try:
            (features,) = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(rows)})
        except Exception as error:  # ONNX Runtime's own errors share no narrower base
            if _is_out_of_memory(error):
                # The arena of a session keeps all the memory that it took, and a traceback would keep the session.
                self._session = session = None
                raise MemoryError(_first_line(error)) from error.with_traceback(None)
            raise
        return np.asarray(features, np.float32)

    def _open_session(self, new_rows: int) -> Any:
        """Return a session for the rows so far and `new_rows` more."""
        with self._lock:
            if self._session is None or (self._should_pack and not self._is_packed):
                self._is_packed = self._should_pack
                self._session = None  # free the old session's memory first
                self._session = open_graph(self._path, packed=self._is_packed)
            self._rows += new_rows
            return self._session

    @property
    def _should_pack(self) -> bool:
        return self._is_packed or (self._may_repack and self._rows >= BULK_ROWS)


def runtime() -> Any:
    """Return the module onnxruntime.

    Raises:
        ModelError: it is not installed.
    """
    # From 1.32 on it would otherwise write a device id and a database to the home folder, and send telemetry.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"ONNX Runtime cannot be imported: {error}",
            hint="pip install onnxruntime; models that are not bundles run with --engine openclip",
        ) from error
    return onnxruntime


def open_graph(path: Path, *, packed: bool) -> Any:
    """Open a session for many rows (`packed`) or few rows (weights stay in the mapped file)."""
    library = runtime()
    options = library.SessionOptions()
    options.intra_op_num_threads = _threads(packed=packed)
    options.log_severity_level = 4  # errors are raised and reported once
    levels = library.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if packed else levels.ORT_ENABLE_BASIC
    options.enable_cpu_mem_arena = packed
    # Spinning threads would take cores from the threads that decode the next images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not packed:
        options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        return library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors share no narrower base
        if _is_out_of_memory(error):
            raise MemoryError(_first_line(error)) from error
        raise BundleError(
            f"{path}: ONNX Runtime cannot load it: {_first_line(error)}",
            hint="export the model again, or use --engine openclip",
        ) from error


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def _threads(*, packed: bool) -> int:
    """Return the number of threads per run; with 0, ONNX Runtime takes every core of the machine."""
    if packed:
        return cpu_lanes()[1]
    threads = model_threads()
    return threads if threads != os.cpu_count() else 0


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def load(bundle: Bundle, *, expected_images: int | None = None, expected_texts: int | None = None) -> BundleEncoder:
    """Return an encoder for a bundle that `clipcli.bundle.read` has checked.

    The expected numbers of images and texts, None if unknown, decide whether a tower's weights are packed. Activations
    are float32, whatever the precision of the weights.

    Raises:
        ModelError: ONNX Runtime is not installed.
    """
    runtime()
    image = OnnxTower(bundle.image_tower, expected_images)
    text = OnnxTower(bundle.text_tower, expected_texts)
    return BundleEncoder(bundle, image, text, bundle.precision)
