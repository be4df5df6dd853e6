"""The table of engines: their capabilities and loaders. No other module compares their names."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from clipcli.core.devices import has_onnx_runtime
from clipcli.core.optional_packages import has_packages

if TYPE_CHECKING:
    from collections.abc import Callable

    from clipcli.bundle import Bundle
    from clipcli.core.encoder import Encoder, Precision


class BundleLoader(Protocol):
    """Loads a bundle."""

    def __call__(
        self, bundle: Bundle, *, expected_images: int | None, expected_texts: int | None, precision: Precision
    ) -> Encoder:
        """Load a bundle for the expected numbers of inputs in one of the engine's precisions. Raises ModelError."""
        ...


class EngineSpec(NamedTuple):
    """The capabilities of an engine."""

    about: str
    """A short description for `--help`."""
    devices: tuple[str, ...]
    """Types of device that it supports."""
    precisions: tuple[Precision, ...]
    load: BundleLoader | None
    """Loads a bundle; None for an engine that runs a model's own files through torch."""
    is_installed: Callable[[], bool]
    package: str
    """The package for `pip install`."""

    @property
    def needs_bundle(self) -> bool:
        """Return whether it runs bundles only."""
        return self.load is not None


def _load_onnx(
    bundle: Bundle, *, expected_images: int | None, expected_texts: int | None, precision: Precision
) -> Encoder:
    del precision  # always fp32
    from clipcli.engines import onnx

    return onnx.load(bundle, expected_images=expected_images, expected_texts=expected_texts)


def _load_openvino(
    bundle: Bundle, *, expected_images: int | None, expected_texts: int | None, precision: Precision
) -> Encoder:
    from clipcli.engines import openvino

    return openvino.load(bundle, expected_images=expected_images, expected_texts=expected_texts, precision=precision)


AUTO: Final = "auto"
"""The default: a suitable bundle if there is one, else the model's own files."""
ENGINES: Final = {
    "onnx": EngineSpec(
        about="ONNX Runtime: fast start, CPU only",
        devices=("cpu",),
        precisions=("fp32",),
        load=_load_onnx,
        is_installed=has_onnx_runtime,
        package="onnxruntime",
    ),
    "openvino": EngineSpec(
        about="OpenVINO: CPU only, also bf16",
        devices=("cpu",),
        precisions=("fp32", "bf16"),
        load=_load_openvino,
        is_installed=lambda: find_spec("openvino") is not None,
        package="openvino",
    ),
    "openclip": EngineSpec(
        about="torch: every model, every device",
        devices=("cpu", "cuda", "mps"),
        precisions=("fp32", "fp16", "bf16"),
        load=None,
        is_installed=lambda: has_packages("torch"),
        package="open_clip_torch",
    ),
}
"""Engines by name. `auto` takes the first that runs bundles if there is a bundle, else the first that does not."""
BUNDLE_ENGINE: Final = next(name for name, spec in ENGINES.items() if spec.needs_bundle)
"""The engine that `auto` uses for a bundle."""
SOURCE_ENGINE: Final = next(name for name, spec in ENGINES.items() if not spec.needs_bundle)
"""The engine that `auto` uses for a model's own files."""


def rival_engine(precision: str) -> str | None:
    """Return the installed engine for bundles, other than `BUNDLE_ENGINE`, that computes in a precision, or None.

    `auto` uses it for a model for which it was measured to be faster.
    """
    rivals = [name for name, spec in ENGINES.items() if spec.needs_bundle and name != BUNDLE_ENGINE]
    return next(
        (name for name in rivals if precision in ENGINES[name].precisions and ENGINES[name].is_installed()), None
    )


ENGINE_HELP: Final = "Engine: " + ", ".join([AUTO, *(f"{name} ({spec.about})" for name, spec in ENGINES.items())]) + "."
