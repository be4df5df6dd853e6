"""Recognise the names of detection models, find their files and load them."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from clipcli.core.encoder import ModelSpec
from clipcli.core.files import is_file
from clipcli.core.optional_packages import require_torch
from clipcli.engines.detector_files import (
    DETECTOR_ALIASES,
    DETECTOR_CONFIG,
    is_detector_name,
    kind_of,
    resolve_detector,
)
from clipcli.engines.registry import AUTO, SOURCE_ENGINE
from clipcli.errors import UsageError
from clipcli.hub import CONFIG, Hub
from clipcli.models import records

if TYPE_CHECKING:
    from clipcli.core.console import Console
    from clipcli.engines.detector import Detector
    from clipcli.models.choice import Choice

_PREFIX: Final = "hf-hub:"
_REPOSITORY: Final = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class OpenDetector:
    """A loaded detection model with its name and fingerprint."""

    detector: Detector
    name: str
    fingerprint: str
    """Twelve hex digits over its weights, configs and tokenizer."""
    device: str


def parse_detector(choice: Choice, console: Console) -> ModelSpec | None:
    """Return the detection model of `--model`; None if the name means an OpenCLIP model.

    A detection model is an alias, a repository named after a known family (`google/owlv2-base-patch16-ensemble`),
    `hf-hub:org/name[@revision]` or `local-dir:PATH` with a `config.json` of a known kind.

    Raises:
        DownloadError: the config of a repository is not on this disk and cannot be downloaded.
        ModelError: a detection model's config names code.
        UsageError: the chosen engine runs no detection models.
    """
    spec = _spec(choice, console)
    if spec is not None and choice.engine not in {AUTO, SOURCE_ENGINE}:
        raise UsageError(
            f"--engine {choice.engine} cannot run the detection model {spec.name}", hint="leave out --engine"
        )
    return spec


def _spec(choice: Choice, console: Console) -> ModelSpec | None:
    name = choice.model.strip()
    name = DETECTOR_ALIASES.get(name, name)
    folder = Path(name.removeprefix("local-dir:")).expanduser().absolute()
    config = folder / DETECTOR_CONFIG
    if is_file(config) and not is_file(folder / CONFIG):
        return ModelSpec("folder", f"local-dir:{folder}", str(folder)) if kind_of(config) else None
    repo, _, revision = name.removeprefix(_PREFIX).partition("@")
    if not _REPOSITORY.fullmatch(repo):
        return None
    spec = ModelSpec("hub", f"{_PREFIX}{name.removeprefix(_PREFIX)}", repo, revision)
    if is_detector_name(repo):
        return spec
    if not name.startswith(_PREFIX):
        return None
    hub = Hub(console, choice.weights_dir, offline=choice.offline)
    if hub.cached(repo, CONFIG, revision or None) is not None:
        return None
    described = hub.fetch(repo, DETECTOR_CONFIG, revision or None)
    return spec if described is not None and kind_of(described) else None


def load_detector_model(spec: ModelSpec, choice: Choice, console: Console) -> OpenDetector:
    """Find or download a detection model, and load it.

    Raises:
        TorchMissingError: torch is not installed.
        ModelError: the model does not exist, is damaged, names code, or has no weights as safetensors.
        DeviceError: the device does not exist, or the model does not fit into its memory.
    """
    require_torch(spec.name)
    if choice.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    started = time.perf_counter()
    files = resolve_detector(spec, Hub(console, choice.weights_dir, offline=choice.offline))
    console.meanwhile(f"loading {spec.name} through torch, which takes some seconds")
    from clipcli.engines import detector as engine
    from clipcli.engines import torch_devices

    device = torch_devices.resolve_device(choice.own_device)
    precision = "fp32" if choice.precision == "auto" else choice.precision
    detector = engine.load(files, device, precision)
    opened = OpenDetector(detector, spec.name, files.fingerprint(cache(records.digest_of)), device)
    console.debug(
        f"{spec.name} ({opened.fingerprint}) on {device}, {precision}; ready in {time.perf_counter() - started:.2f} s"
    )
    return opened
