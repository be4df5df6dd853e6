"""OpenVINO for bundles, on the CPU: in float32, or in bfloat16 if the processor supports it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from clipcli.core.batch_invariance import image_rows, steps, text_rows
from clipcli.core.devices import cpu_lanes, model_threads
from clipcli.core.optional_packages import install_command
from clipcli.engines.bundle_encoder import BundleEncoder
from clipcli.errors import BundleError, DeviceError, ModelError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from clipcli.bundle import Bundle
    from clipcli.core.encoder import Precision
    from clipcli.core.vectors import Vectors

_HINTS: Final = {"fp32": "f32", "bf16": "bf16"}
"""Precision → OpenVINO's name."""


class OpenVinoTower:
    """One graph, compiled on first use for a fixed number of rows, so that a row never depends on its batch."""

    def __init__(self, path: Path, rows: int, precision: Precision, lanes: int) -> None:
        """Create a tower without compiling it.

        Args:
            path: the ONNX file.
            rows: number of rows per run; fewer are padded.
            precision: fp32 or bf16, of activations and products.
            lanes: number of parallel runs, each with a share of the cores.
        """
        self._path, self._rows, self._precision, self.lanes = path, rows, precision, lanes
        self._compiled: Any = None
        self._lock = threading.Lock()
        self._requests = threading.local()

    @property
    def is_open(self) -> bool:
        """Return whether it is compiled."""
        return self._compiled is not None

    @property
    def has_single_row_kernel(self) -> bool:
        """Return False: every run has the same number of rows."""
        return False

    def unload_if_cheap(self) -> None:
        """Do nothing: compiling again is slow."""

    def run(self, rows: npt.NDArray[Any]) -> Vectors:
        """Run the tower on (n, …) inputs and return (n, dim) float32. Raises BundleError, MemoryError."""
        compiled = self._compile_once()
        if getattr(self._requests, "model", None) is not compiled:  # a request belongs to one thread
            self._requests.request, self._requests.model = compiled.create_infer_request(), compiled
        request = self._requests.request
        parts = []
        for step, indices in steps(len(rows), self._rows):
            result = request.infer({0: np.ascontiguousarray(rows[indices])}, share_inputs=True)
            parts.append(np.array(result[0][: step.stop - step.start], np.float32))
        return np.concatenate(parts)

    def _compile_once(self) -> Any:
        with self._lock:
            if self._compiled is None:
                self._compiled = self._compile()
            return self._compiled

    def _compile(self) -> Any:
        library = runtime()
        threads = cpu_lanes()[1] * self.lanes if self.lanes > 1 else model_threads()
        options = {
            "INFERENCE_PRECISION_HINT": _HINTS[self._precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": self.lanes,
            "ENABLE_CPU_PINNING": False,
        }
        try:
            core = library.Core()
            model = core.read_model(str(self._path))
            shape = model.inputs[0].partial_shape
            shape[0] = self._rows
            model.reshape({model.inputs[0]: shape})
            compiled = core.compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise BundleError(
                f"{self._path}: OpenVINO cannot load it: {str(error).strip().splitlines()[-1]}",
                hint="use --engine onnx, or export the model again",
            ) from error
        if compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() != _HINTS[self._precision]:
            raise DeviceError(
                f"this CPU does not compute in {self._precision}",
                hint="leave out --precision, or use --engine openclip",
            )
        return compiled


def runtime() -> Any:
    """Return the module openvino.

    Raises:
        ModelError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise ModelError(
            f"OpenVINO cannot be imported: {error}",
            hint=f"{install_command('openvino')}, or use --engine onnx",
        ) from error
    return openvino


def load(
    bundle: Bundle,
    *,
    expected_images: int | None = None,
    expected_texts: int | None = None,
    precision: Precision = "fp32",
) -> BundleEncoder:
    """Return an encoder for a bundle that `clipcli.bundle.read` has checked.

    Args:
        bundle: its towers may store fp32 or fp16.
        expected_images: number of images, None if unknown; a single image is not padded to a batch.
        expected_texts: the same for texts.
        precision: fp32 or bf16, of activations and products.

    Raises:
        ModelError: OpenVINO is not installed.
    """
    runtime()
    lanes = cpu_lanes()[0]
    images = OpenVinoTower(
        bundle.image_tower, 1 if expected_images == 1 else image_rows(precision), precision,
        1 if expected_images == 1 else lanes,
    )  # fmt: skip
    texts = OpenVinoTower(bundle.text_tower, 1 if expected_texts == 1 else text_rows(precision), precision, 1)
    return BundleEncoder(bundle, images, texts, "bf16" if precision == "bf16" else bundle.precision)
