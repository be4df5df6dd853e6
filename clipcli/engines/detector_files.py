"""The kinds of detection models, and from a repository or a folder of Hugging Face's layout to the files of one."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from clipcli.core.files import is_file
from clipcli.engines.model_config import check_numbers, read_json, tokenizer_files
from clipcli.errors import ModelError
from clipcli.hub import TOKENIZER_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clipcli.core.encoder import ModelSpec, Precision
    from clipcli.hub import Hub

DETECTOR_CONFIG: Final = "config.json"
DETECTOR_WEIGHTS: Final = "model.safetensors"
PIXEL_CONFIGS: Final = ("preprocessor_config.json", "processor_config.json")
"""What says how pixels are prepared: the first by itself, the second among other things (since transformers 5)."""


@dataclass(frozen=True)
class DetectorKind:
    """What is known of a kind of detection model."""

    name: str
    """As papers call it."""
    model: str
    """The class of transformers."""
    pixels: str
    """The class that prepares pixels."""
    default_threshold: float
    """Of scores, as its makers publish it."""
    box_unit: Literal["longer_edge", "edges"]
    """What the model's boxes are fractions of: of a picture that was padded to a square, the longer edge."""
    precisions: tuple[Precision, ...]
    parts: Mapping[str, tuple[str, ...]]
    """Parts of its config that are configs themselves, each with the model types that it may have."""


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
"""By `model_type` of their `config.json`."""
DETECTOR_ALIASES: Final = {
    "owlv2": "hf-hub:google/owlv2-base-patch16-ensemble",
    "owlv2-large": "hf-hub:google/owlv2-large-patch14-ensemble",
    "owlvit": "hf-hub:google/owlvit-base-patch32",
    "grounding-dino": "hf-hub:IDEA-Research/grounding-dino-tiny",
    "grounding-dino-base": "hf-hub:IDEA-Research/grounding-dino-base",
}
"""Short names of detection models, which `detect` takes."""
_NAME: Final = re.compile(r"owl-?v(it|2)|grounding-?dino")


def is_detector_name(repository: str) -> bool:
    """Return whether a repository is a detection model's by its name."""
    return _NAME.search(repository.casefold()) is not None


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
        """Return the file of its weights."""
        return self.folder / DETECTOR_WEIGHTS

    @property
    def config(self) -> Path:
        """Return its `config.json`."""
        return self.folder / DETECTOR_CONFIG

    def pixel_config(self) -> dict[str, Any]:
        """Return what its files say of the preparation of pixels. Raises ModelError."""
        for name in PIXEL_CONFIGS:
            if is_file(self.folder / name):
                found = read_json(self.folder / name)
                inner = found.get("image_processor", found)
                return inner if isinstance(inner, dict) else found
        raise ModelError(f"{self.folder} has no {PIXEL_CONFIGS[0]}", hint="download the model again")

    def fingerprint(self, digest: Callable[[Path], str]) -> str:
        """Return twelve hex digits over all that its boxes depend on; `digest` gives the sha256 (hex) of a file."""
        config = {key: value for key, value in read_json(self.config).items() if not key.startswith("_")}
        words = [[path.name, digest(path)] for path in tokenizer_files(self.folder) if path.name != DETECTOR_CONFIG]
        facts = [config, self.pixel_config(), digest(self.weights), words]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def kind_of(config: Path) -> str | None:
    """Return the key of `DETECTORS` that a `config.json` belongs to, if any; it is read within bounds, and checked.

    Raises:
        ModelError: it is of a detection model and names code, or has numbers that no model has; or it cannot be read.
    """
    found = read_json(config)
    kind = found.get("model_type")
    if not isinstance(kind, str) or kind not in DETECTORS:
        return None
    check_numbers(found, str(config))
    return kind


def resolve_detector(spec: ModelSpec, hub: Hub) -> DetectorFiles:
    """Find, or fetch, what a detection model is made of: config, weights, preparation of pixels, tokenizer.

    Raises:
        DownloadError: not on this disk and not to be had.
        ModelError: no detection model, or one without weights as safetensors.
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
