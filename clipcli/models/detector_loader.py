"""From a name to a detection model: which names mean one, where its files are, and how it is loaded."""

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
    """A detection model that is loaded, and which one it is."""

    detector: Detector
    name: str
    fingerprint: str
    """Twelve hex digits over its weights, configs and tokenizer."""
    device: str


def parse_detector(choice: Choice, console: Console) -> ModelSpec | None:
    """Return the detection model that `--model` names; None where it names none, and so an OpenCLIP model.

    A detection model is an alias, a repository whose name has a family's (`google/owlv2-base-patch16-ensemble`),
    `hf-hub:org/name[@revision]` or `local-dir:PATH` with a `config.json` of a known kind.

    Raises:
        DownloadError: what a repository holds is not known here, and cannot be asked.
        ModelError: a detection model's config that names code.
        UsageError: an engine that runs no detection model.
    """
    spec = _spec(choice, console)
    if spec is not None and choice.engine not in {AUTO, SOURCE_ENGINE}:
        raise UsageError(
            f"{spec.name} is a detection model, which --engine {choice.engine} does not run", hint="leave out --engine"
        )
    return spec


def _spec(choice: Choice, console: Console) -> ModelSpec | None:
    asked = choice.model.strip()
    asked = DETECTOR_ALIASES.get(asked, asked)
    folder = Path(asked.removeprefix("local-dir:")).expanduser().absolute()
    config = folder / DETECTOR_CONFIG
    if is_file(config) and not is_file(folder / CONFIG):
        return ModelSpec("folder", f"local-dir:{folder}", str(folder)) if kind_of(config) else None
    repo, _, revision = asked.removeprefix(_PREFIX).partition("@")
    if not _REPOSITORY.fullmatch(repo):
        return None
    spec = ModelSpec("hub", f"{_PREFIX}{asked.removeprefix(_PREFIX)}", repo, revision)
    if is_detector_name(repo):
        return spec
    if not asked.startswith(_PREFIX):
        return None
    hub = Hub(console, choice.weights_dir, offline=choice.offline)
    if hub.cached(repo, CONFIG, revision or None) is not None:
        return None
    described = hub.fetch(repo, DETECTOR_CONFIG, revision or None)
    return spec if described is not None and kind_of(described) else None


def load_detector_model(spec: ModelSpec, choice: Choice, console: Console) -> OpenDetector:
    """Find or fetch a detection model, and load it.

    Raises:
        TorchMissingError: torch is not installed.
        ModelError: no such model, or one that is damaged, names code, or has no weights as safetensors.
        DeviceError: the device is not there, or the model does not fit into its memory.
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
