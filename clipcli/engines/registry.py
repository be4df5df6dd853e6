"""The engines: what runs a model, what each can do, and how it is loaded. Nobody else compares their names."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Protocol

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
        """Load a bundle, ready for so many inputs; `precision` is one of the engine's. Raises ModelError."""
        ...


@dataclass(frozen=True)
class EngineSpec:
    """What an engine can do."""

    about: str
    """For `--help`: what it is, in a few words."""
    devices: tuple[str, ...]
    """Kinds of device that it runs on."""
    precisions: tuple[Precision, ...]
    load: BundleLoader | None
    """Loads a bundle; None for an engine that runs a model's own files through torch."""
    is_installed: Callable[[], bool]
    package: str
    """What `pip install` takes to have it."""

    @property
    def needs_bundle(self) -> bool:
        """Return whether it runs bundles, and nothing else."""
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
"""A bundle where there is one that fits, else the model's own files."""
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
"""By name. `auto` takes the first that runs a bundle, where there is one, and else the first that does not."""
BUNDLE_ENGINE: Final = next(name for name, spec in ENGINES.items() if spec.needs_bundle)
"""What `auto` runs a bundle with."""
SOURCE_ENGINE: Final = next(name for name, spec in ENGINES.items() if not spec.needs_bundle)
"""What `auto` runs a model's own files with."""
ENGINE_HELP: Final = "Engine: " + ", ".join([AUTO, *(f"{name} ({spec.about})" for name, spec in ENGINES.items())]) + "."
