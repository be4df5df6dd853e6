"""Load a model or a detection model through torch: find its files, choose a precision, load, and keep a record."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from clipcli.core import devices as machine
from clipcli.core.encoder import ModelSpec
from clipcli.core.files import close_to_others, is_file, make_private_folder
from clipcli.core.optional_packages import require_torch
from clipcli.engines.detector_files import (
    DETECTOR_CONFIG,
    kind_of,
    resolve_detector,
)
from clipcli.engines.detector_names import DETECTOR_ALIASES, is_detector_name
from clipcli.engines.openclip_registry import check_name, repository
from clipcli.engines.registry import AUTO, SOURCE_ENGINE
from clipcli.errors import ModelError, OutputError, UsageError
from clipcli.hub.client import Hub
from clipcli.hub.local_files import CONFIG
from clipcli.models import records
from clipcli.models.catalogue import ALIAS_NAMES

if TYPE_CHECKING:
    from clipcli.bundle import Bundle
    from clipcli.core.console import Console
    from clipcli.core.encoder import Precision
    from clipcli.engines.checkpoint import ModelFiles
    from clipcli.engines.detector import Detector
    from clipcli.engines.openclip import OpenClipEncoder
    from clipcli.models.records import Record
    from clipcli.models.spec import Choice


def find(spec: ModelSpec, choice: Choice, console: Console) -> tuple[ModelFiles, str]:
    """Return the files of a model, downloaded if necessary, and its device.

    A GPU is checked before the download. For the CPU, the download comes before the import of torch, so that a missing
    network is reported at once.

    Raises:
        ModelError: the model does not exist, or cannot be downloaded.
        TorchMissingError: torch is not installed.
        DeviceError: the device does not exist.
    """
    check_name(spec, ALIAS_NAMES)
    require_torch(spec.name)
    if choice.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    hub = Hub(console, choice.weights_dir, offline=choice.offline)
    if choice.device in {"auto", "cpu"}:
        _download(spec, hub)
    console.meanwhile(f"loading {spec.name} through torch, which takes some seconds")
    from clipcli.engines import checkpoint
    from clipcli.engines import torch_devices as devices

    device = devices.resolve_device(choice.own_device)
    return checkpoint.resolve(spec, hub), device


def _download(spec: ModelSpec, hub: Hub) -> None:
    if spec.kind == "hub":
        hub.fetch_model(spec.where, spec.version or None)
    elif spec.kind == "tag":
        repo, filename = repository(spec.where, spec.version)
        hub.fetch_weights(repo, filename=filename)


def load(source: ModelFiles, device: str, choice: Choice, record: Record | None, console: Console) -> OpenClipEncoder:
    """Return the encoder in the chosen precision, else in that of the record, else in the best one for the device.

    On a CPU with bfloat16, `--engine openclip` measures both precisions once.

    Raises:
        ModelError: the files are damaged, or belong to another architecture.
    """
    from clipcli.engines import autotune, openclip
    from clipcli.engines import torch_devices as devices

    digest = cache(records.digest_of)

    def load_as(precision: Precision) -> OpenClipEncoder:
        return openclip.load(source, digest, device=device, precision=precision)

    if choice.precision != "auto":
        return load_as(choice.precision)
    if record is not None and record.device == device:
        return load_as(record.precision)
    default_precision = devices.natural_precision(device)
    if device == "cpu" and choice.runs_sources and machine.cpu_with_bf16():
        return autotune.quicker(lambda: load_as(default_precision), lambda: load_as("bf16"), console)
    return load_as(default_precision)


def settings_key(choice: Choice, device_kind: str) -> str:
    """Return the key of a model's record for a device and precision, and for the CPU if its speed was measured."""
    device = f"auto-{device_kind}" if choice.device == "auto" else choice.device
    if choice.precision != "auto":
        return f"{device}-{choice.precision}"
    cpu = machine.cpu_with_bf16() if choice.runs_sources and device_kind == "cpu" else ""
    return f"{device}-{cpu}" if cpu else device


def remember(encoder: OpenClipEncoder, source: ModelFiles, record: Record | None, key: str) -> None:
    """Store a record for the next run; `record` is the earlier one that this run has used so far.

    Raises:
        ModelError: the model differs from the earlier record.
    """
    weights, definition_stamps = (
        records.FileStamp.of(source.weights),
        tuple(map(records.FileStamp.of, source.described_by)),
    )
    settings = (source.revision, encoder.device, encoder.precision)
    records.keep(records.Record(encoder.info, encoder.scoring, weights, definition_stamps, *settings), key)
    if record is not None and (record.info, record.precision) != (encoder.info, encoder.precision):
        raise ModelError(f"{source.name} has changed since the last run", hint="run the command again")


def export_source(
    encoder: OpenClipEncoder,
    revision: str | None,
    folder: Path,
    precision: Literal["fp32", "fp16"] = "fp32",
    name: str | None = None,
) -> Bundle:
    """Write a loaded model as a bundle, after a parity check; `name` is stored as the bundle's name.

    Raises:
        ModelError: the architecture cannot be exported, or the bundle gives other vectors.
        OutputError: the folder cannot be written.
    """
    from clipcli.engines import onnx_export as export

    stamps = records.stamps_folder()
    bundle = export.export(encoder, folder, precision=precision, revision=revision, name=name, stamps=stamps)
    records.remember_origin(bundle)
    return bundle


def export_to_cache(encoder: OpenClipEncoder, revision: str | None, name: str) -> Bundle:
    """Make the bundle in the cache that later runs of the model `name` use.

    Raises:
        ModelError, OutputError: as `export_source`.
    """
    folder = records.bundle_folder(name)
    try:
        make_private_folder(folder.parent)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"{folder}: the bundle cannot be written: {reason}") from error
    bundle = export_source(encoder, revision, folder)
    close_to_others(folder)
    attempt_file(folder).unlink(missing_ok=True)
    return bundle


def attempt_file(folder: Path) -> Path:
    """Return the file beside a bundle's folder that records the attempts to make it."""
    return folder.with_name(f"{folder.name}.attempt")


_HUB_PREFIX: Final = "hf-hub:"
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
    spec = _detector_spec(choice, console)
    if spec is not None and choice.engine not in {AUTO, SOURCE_ENGINE}:
        raise UsageError(
            f"--engine {choice.engine} cannot run the detection model {spec.name}", hint="leave out --engine"
        )
    return spec


def _detector_spec(choice: Choice, console: Console) -> ModelSpec | None:
    name = choice.model.strip()
    name = DETECTOR_ALIASES.get(name, name)
    folder = Path(name.removeprefix("local-dir:")).expanduser().absolute()
    config = folder / DETECTOR_CONFIG
    if is_file(config) and not is_file(folder / CONFIG):
        return ModelSpec("folder", f"local-dir:{folder}", str(folder)) if kind_of(config) else None
    repo, _, revision = name.removeprefix(_HUB_PREFIX).partition("@")
    if not _REPOSITORY.fullmatch(repo):
        return None
    spec = ModelSpec("hub", f"{_HUB_PREFIX}{name.removeprefix(_HUB_PREFIX)}", repo, revision)
    if is_detector_name(repo):
        return spec
    if not name.startswith(_HUB_PREFIX):
        return None
    hub = Hub(console, choice.weights_dir, offline=choice.offline)
    if hub.cached(repo, CONFIG, revision or None) is not None:
        return None
    config_file = hub.fetch(repo, DETECTOR_CONFIG, revision or None)
    return spec if config_file is not None and kind_of(config_file) else None


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
