"""ONNX Runtime over a bundle, on the CPU: starts in a fraction of a second, without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipcli.engines.bundle_encoder import BundleEncoder
from clipcli.engines.onnx_tower import OnnxTower, runtime

if TYPE_CHECKING:
    from clipcli.bundle import Bundle


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
