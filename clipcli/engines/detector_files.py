"""The kinds of detection models, and the files of a model in a repository or folder in Hugging Face's layout."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from clipcli.core.files import is_file
from clipcli.engines.model_config import check_numbers, read_json, tokenizer_files
from clipcli.errors import ModelError
from clipcli.hub.local_files import TOKENIZER_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clipcli.core.encoder import ModelSpec, Precision
    from clipcli.hub.client import Hub

DETECTOR_CONFIG: Final = "config.json"
DETECTOR_WEIGHTS: Final = "model.safetensors"
PIXEL_CONFIGS: Final = ("preprocessor_config.json", "processor_config.json")
"""Files with the preprocessing of pixels: the first holds nothing else, the second (since transformers 5) does."""


class DetectorKind(NamedTuple):
    """The properties of a kind of detection model."""

    name: str
    """The name in its paper."""
    model: str
    """The class of transformers."""
    pixels: str
    """The class of transformers that prepares pixels."""
    default_threshold: float
    """The threshold of scores that its authors publish."""
    box_unit: Literal["longer_edge", "edges"]
    """The unit of the model's boxes: the longer edge if pictures are padded to a square, else each edge."""
    precisions: tuple[Precision, ...]
    parts: Mapping[str, tuple[str, ...]]
    """Parts of its config that are configs themselves, each with its allowed model types."""


DETECTORS: Final[Mapping[str, DetectorKind]] = {
    "owlv2": DetectorKind(
        name="OWLv2",
        model="Owlv2ForObjectDetection",
        pixels="Owlv2ImageProcessor",
        default_threshold=0.1,
        box_unit="longer_edge",
        precisions=("fp32", "fp16", "bf16"),
        parts={"text_config": ("owlv2_text_model",), "vision_config": ("owlv2_vision_model",)},
    ),
    "owlvit": DetectorKind(
        name="OWL-ViT",
        model="OwlViTForObjectDetection",
        pixels="OwlViTImageProcessor",
        default_threshold=0.1,
        box_unit="edges",
        precisions=("fp32", "fp16", "bf16"),
        parts={"text_config": ("owlvit_text_model",), "vision_config": ("owlvit_vision_model",)},
    ),
    "grounding-dino": DetectorKind(
        name="Grounding DINO",
        model="GroundingDinoForObjectDetection",
        pixels="GroundingDinoImageProcessor",
        default_threshold=0.25,
        box_unit="edges",
        precisions=("fp32",),
        parts={"text_config": ("bert",), "backbone_config": ("swin",)},
    ),
}
"""Kinds by the `model_type` in `config.json`."""


@dataclass(frozen=True)
class DetectorFiles:
    """A detection model on this disk."""

    name: str
    """The spec that names it again."""
    kind: str
    """A key of `DETECTORS`."""
    folder: Path
    revision: str | None = None

    @property
    def weights(self) -> Path:
        """Return the file of weights."""
        return self.folder / DETECTOR_WEIGHTS

    @property
    def config(self) -> Path:
        """Return its `config.json`."""
        return self.folder / DETECTOR_CONFIG

    def pixel_config(self) -> dict[str, Any]:
        """Return the settings for preparing pixels. Raises ModelError."""
        for name in PIXEL_CONFIGS:
            if is_file(self.folder / name):
                config = read_json(self.folder / name)
                inner = config.get("image_processor", config)
                return inner if isinstance(inner, dict) else config
        raise ModelError(f"{self.folder} has no {PIXEL_CONFIGS[0]}", hint="download the model again")

    def fingerprint(self, digest: Callable[[Path], str]) -> str:
        """Return 12 hex digits over everything that boxes depend on; `digest` returns the SHA-256 (hex) of a file."""
        config = {key: value for key, value in read_json(self.config).items() if not key.startswith("_")}
        tokenizer = [[path.name, digest(path)] for path in tokenizer_files(self.folder) if path.name != DETECTOR_CONFIG]
        facts = [config, self.pixel_config(), digest(self.weights), tokenizer]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def kind_of(config: Path) -> str | None:
    """Return the key in `DETECTORS` for a `config.json`, or None; the file is read within bounds and checked.

    Raises:
        ModelError: it cannot be read, or is that of a detection model and names code or has numbers out of range.
    """
    values = read_json(config)
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in DETECTORS:
        return None
    check_numbers(values, str(config))
    return kind


def resolve_detector(spec: ModelSpec, hub: Hub) -> DetectorFiles:
    """Find or download the files of a detection model: config, weights, preprocessing and tokenizer.

    Raises:
        DownloadError: a file is not on this disk and cannot be downloaded.
        ModelError: not a detection model, or one without weights as safetensors.
    """
    config: Path | None = Path(spec.where) / DETECTOR_CONFIG
    if spec.kind == "hub":
        config = hub.fetch(spec.where, DETECTOR_CONFIG, spec.version or None)
    kind = kind_of(config) if config is not None and is_file(config) else None
    if config is None or kind is None:
        names = ", ".join(each.name for each in DETECTORS.values())
        raise ModelError(f"{spec.name} is no detection model of a known kind", hint=f"known are {names}")
    folder = config.parent
    if spec.kind == "hub":
        hub.fetch_beside(config, spec.where, (*PIXEL_CONFIGS, *TOKENIZER_FILES, DETECTOR_WEIGHTS))
    if not is_file(folder / DETECTOR_WEIGHTS):
        raise ModelError(
            f"{spec.name} has no {DETECTOR_WEIGHTS}; pickled weights are not loaded, because that would run their code",
            hint="take another revision, such as hf-hub:org/name@refs/pr/1, or convert them to safetensors",
        )
    return DetectorFiles(spec.name, kind, folder, folder.name if spec.kind == "hub" else None)
