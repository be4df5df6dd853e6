"""From a model's name to an encoder that runs through torch: find its files, choose a precision, load, remember."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Literal

from clipcli.cache.folder import close_to_others, make_folder
from clipcli.core import devices as machine
from clipcli.core.optional_packages import require_torch
from clipcli.engines.openclip_registry import check_name, repository
from clipcli.errors import ModelError, OutputError
from clipcli.hub import Hub
from clipcli.models import records
from clipcli.models.catalogue import ALIAS_NAMES

if TYPE_CHECKING:
    from pathlib import Path

    from clipcli.bundle import Bundle
    from clipcli.core.console import Console
    from clipcli.core.encoder import ModelSpec, Precision
    from clipcli.engines.checkpoint import ModelFiles
    from clipcli.engines.openclip import OpenClipEncoder
    from clipcli.models.choice import Choice
    from clipcli.models.records import Record


def find(spec: ModelSpec, choice: Choice, console: Console) -> tuple[ModelFiles, str]:
    """Return the files of a model, fetched if need be, and the device it will run on.

    A device that may be absent is looked at before gigabytes are fetched; otherwise they are fetched before torch is
    imported, so that a missing network is told at once.

    Raises:
        ModelError: no such model, or it is not to be had.
        TorchMissingError: torch is not installed.
        DeviceError: the device is not there.
    """
    check_name(spec, ALIAS_NAMES)
    require_torch(spec.name)
    if choice.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    hub = Hub(console, choice.weights_dir, offline=choice.offline)
    if choice.device in {"auto", "cpu"}:
        _fetch(spec, hub)
    console.meanwhile(f"loading {spec.name} through torch, which takes some seconds")
    from clipcli.engines import checkpoint as sources
    from clipcli.engines import torch_devices as devices

    device = devices.resolve_device(choice.own_device)
    return sources.resolve(spec, hub), device


def _fetch(spec: ModelSpec, hub: Hub) -> None:
    if spec.kind == "hub":
        hub.fetch_model(spec.where, spec.version or None)
    elif spec.kind == "tag":
        repo, filename = repository(spec.where, spec.version)
        hub.fetch_weights(repo, filename=filename)


def load(source: ModelFiles, device: str, choice: Choice, known: Record | None, console: Console) -> OpenClipEncoder:
    """Return the encoder, in the precision asked for, or that an earlier run found best, or that is best here.

    On a CPU that computes in bfloat16, `--engine openclip` has both precisions measured, once.

    Raises:
        ModelError: the files are damaged, or of another architecture.
    """
    from clipcli.engines import autotune as measured
    from clipcli.engines import openclip
    from clipcli.engines import torch_devices as devices

    digest = cache(records.digest_of)

    def load_as(precision: Precision) -> OpenClipEncoder:
        return openclip.load(source, digest, device=device, precision=precision)

    if choice.precision != "auto":
        return load_as(choice.precision)
    if known is not None and known.device == device:
        return load_as(known.precision)
    natural = devices.natural_precision(device)
    if device == "cpu" and choice.runs_sources and machine.cpu_with_bf16():
        return measured.quicker(lambda: load_as(natural), lambda: load_as("bf16"), console)
    return load_as(natural)


def place_of(choice: Choice, device_kind: str) -> str:
    """What a record of a model holds for: another device or precision, or a CPU that is measured, makes another one."""
    device = f"auto-{device_kind}" if choice.device == "auto" else choice.device
    if choice.precision != "auto":
        return f"{device}-{choice.precision}"
    cpu = machine.cpu_with_bf16() if choice.runs_sources and device_kind == "cpu" else ""
    return f"{device}-{cpu}" if cpu else device


def remember(encoder: OpenClipEncoder, source: ModelFiles, known: Record | None, place: str) -> None:
    """Keep what was learnt for the next run; `known` is what an earlier run kept, and this one went by so far.

    Raises:
        ModelError: that does not hold any more.
    """
    weights, others = records.FileStamp.of(source.weights), tuple(map(records.FileStamp.of, source.described_by))
    where = (source.revision, encoder.device, encoder.precision)
    records.keep(records.Record(encoder.info, encoder.scoring, weights, others, *where), place)
    if known is not None and (known.info, known.precision) != (encoder.info, encoder.precision):
        raise ModelError(f"{source.name} is not what it was in the last run", hint="run the command again")


def export_source(
    encoder: OpenClipEncoder,
    revision: str | None,
    folder: Path,
    precision: Literal["fp32", "fp16"] = "fp32",
    name: str | None = None,
) -> Bundle:
    """Write a loaded model as a bundle, after it has passed its parity check; `name` is what it will call itself.

    Raises:
        ModelError: this architecture cannot be exported, or the copy does not give the same vectors.
        OutputError: the folder cannot be written.
    """
    from clipcli.engines import onnx_export as export

    stamps = records.stamps_folder()
    made = export.export(encoder, folder, precision=precision, revision=revision, name=name, stamps=stamps)
    records.remember_origin(made)
    return made


def export_to_cache(encoder: OpenClipEncoder, revision: str | None, name: str) -> Bundle:
    """Make the copy that later runs of the model called `name` start from, whatever became of earlier attempts.

    Raises:
        ModelError, OutputError: as `export_source`.
    """
    folder = records.bundle_folder(name)
    try:
        make_folder(folder.parent)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"{folder}: the bundle cannot be written: {reason}") from error
    made = export_source(encoder, revision, folder)
    close_to_others(folder)
    attempt_file(folder).unlink(missing_ok=True)
    return made


def attempt_file(folder: Path) -> Path:
    """Return the file beside a bundle's folder that keeps the attempts to make it."""
    return folder.with_name(f"{folder.name}.attempt")
