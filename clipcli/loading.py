"""From a model's name to an encoder that runs through torch: find its files, choose a precision, load, remember."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from clipcli import devices as machine
from clipcli import records
from clipcli.errors import ModelError
from clipcli.hub import Hub
from clipcli.registry import check_name, repository

if TYPE_CHECKING:
    from clipcli.encoder import Precision
    from clipcli.engines.openclip import OpenClipEncoder
    from clipcli.engines.sources import Source
    from clipcli.models import Choice
    from clipcli.modelspec import ModelSpec
    from clipcli.records import Record
    from clipcli.talk import Talk


def find(spec: ModelSpec, choice: Choice, talk: Talk) -> tuple[Source, str]:
    """The files of a model, fetched if need be, and the device it will run on.

    A device that may be absent is looked at before gigabytes are fetched; otherwise they are fetched before torch is
    imported, so that a missing network is told at once.

    Raises:
        ModelError: no such model, or it is not to be had.
        DeviceError: the device is not there.
    """
    check_name(spec)
    if choice.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    hub = Hub(talk, choice.weights_dir, offline=choice.offline)
    if choice.device in {"auto", "cpu"}:
        _fetch(spec, hub)
    talk.meanwhile(f"loading {spec.name} through torch, which takes some seconds")
    from clipcli.engines import devices, sources

    device = devices.resolve_device("cpu" if choice.engine == "onnx" else choice.device)
    return sources.resolve(spec, hub), device


def _fetch(spec: ModelSpec, hub: Hub) -> None:
    if spec.kind == "hub":
        hub.fetch_model(spec.where, spec.version or None)
    elif spec.kind == "tag":
        repo, filename = repository(spec.where, spec.version)
        hub.fetch_weights(repo, filename=filename)


def load(source: Source, device: str, choice: Choice, known: Record | None, talk: Talk) -> OpenClipEncoder:
    """The encoder, in the precision asked for, or that an earlier run found best, or that is best here.

    On a CPU that computes in bfloat16, `--engine openclip` has both precisions measured, once.

    Raises:
        ModelError: the files are damaged, or of another architecture.
    """
    from clipcli.engines import devices, measured, openclip

    digest = cache(records.digest_of)

    def load_as(precision: Precision) -> OpenClipEncoder:
        return openclip.load(source, digest, device=device, precision=precision)

    if choice.precision != "auto":
        return load_as(choice.precision)
    if known is not None and known.device == device:
        return load_as(known.precision)
    natural = devices.natural_precision(device)
    if device == "cpu" and choice.engine == "openclip" and machine.cpu_with_bf16():
        return measured.quicker(lambda: load_as(natural), lambda: load_as("bf16"), talk)
    return load_as(natural)


def place_of(choice: Choice, device_kind: str) -> str:
    """What a record of a model holds for: another device or precision, or a CPU that is measured, makes another one."""
    device = f"auto-{device_kind}" if choice.device == "auto" else choice.device
    if choice.precision != "auto":
        return f"{device}-{choice.precision}"
    cpu = machine.cpu_with_bf16() if choice.engine == "openclip" and device_kind == "cpu" else ""
    return f"{device}-{cpu}" if cpu else device


def remember(encoder: OpenClipEncoder, source: Source, known: Record | None, place: str) -> None:
    """Keep what was learnt for the next run; `known` is what an earlier run kept, and this one went by so far.

    Raises:
        ModelError: that does not hold any more.
    """
    weights, others = records.Stamp.of(source.weights), tuple(map(records.Stamp.of, source.described_by))
    where = (source.revision, encoder.device, encoder.precision)
    records.keep(records.Record(encoder.info, encoder.scoring, weights, others, *where), place)
    if known is not None and (known.info, known.precision) != (encoder.info, encoder.precision):
        raise ModelError(f"{source.name} is not what it was in the last run", hint="run the command again")
