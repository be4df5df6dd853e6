"""Implement `clipcli models`: list, describe, fetch, check and export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, cast

from clipcli import bundle as bundles
from clipcli.bundle import stage
from clipcli.core.decode import parse_json
from clipcli.core.files import read_bytes, sha256_of
from clipcli.core.optional_packages import has_packages, install_command
from clipcli.engines import openclip_registry
from clipcli.engines.detector_names import DETECTOR_ALIASES, is_detector_name
from clipcli.engines.registry import SOURCE_ENGINE
from clipcli.errors import ImageError, InputsError, ModelError, UsageError
from clipcli.hub import local_files
from clipcli.hub.client import Hub
from clipcli.models import catalogue, loader, records
from clipcli.models.catalogue import ALIAS_NAMES
from clipcli.models.loader import export_source, export_to_cache, load_detector_model, parse_detector
from clipcli.models.model import Model
from clipcli.models.spec import TINY_FOLDER, Choice, parse_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from clipcli.core.console import Console
    from clipcli.core.encoder import Encoder, ModelInfo, ModelSpec, Preprocessing
    from clipcli.core.vectors import Pixels
    from clipcli.engines.openclip import OpenClipEncoder

_PRECISIONS: Final[Mapping[str, Literal["fp32", "fp16"]]] = {"float32": "fp32", "float16": "fp16"}
_LARGEST_CONFIG = 1 << 20
"""Bytes; configs of open_clip have one or two thousand."""


@dataclass(frozen=True)
class ModelRow:
    """One model that can be named."""

    model: str
    parameters_millions: float | None
    image_size: int | None
    on_disk: bool
    dim: int | None = None
    head: str | None = None
    """`softmax` or `sigmoid`."""
    licence: str | None = None
    """Of the weights."""
    imagenet_top1: float | None = None
    """Published zero-shot accuracy, 0 to 1."""
    download_megabytes: int | None = None
    alias: str | None = None
    columns: ClassVar[tuple[str, ...]] = (
        "model", "params_m", "image", "dim", "head", "imagenet", "mb", "licence", "on_disk", "alias",
    )  # fmt: skip
    path: ClassVar[None] = None

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        return {
            "model": self.model,
            "parameters_millions": self.parameters_millions,
            "image_size": self.image_size,
            "dim": self.dim,
            "head": self.head,
            "licence": self.licence,
            "imagenet_top1": self.imagenet_top1,
            "download_megabytes": self.download_megabytes,
            "on_disk": self.on_disk,
            "alias": self.alias,
        }

    def cells(self) -> list[tuple[str, ...]]:
        """Return the row's one line; unknown values are empty."""
        accuracy = "" if self.imagenet_top1 is None else f"{self.imagenet_top1 * 100:.1f}"
        numbers = [
            "" if value is None else f"{value:g}" for value in (self.parameters_millions, self.image_size, self.dim)
        ]
        megabytes = "" if self.download_megabytes is None else str(self.download_megabytes)
        on_disk = "yes" if self.on_disk else ""
        words = (self.licence or "", on_disk, self.alias or "")
        return [(self.model, *numbers, self.head or "", accuracy, megabytes, *words)]


@dataclass(frozen=True)
class FactRow:
    """One fact about a model."""

    fact: str
    value: str | float | int | bool | None
    columns: ClassVar[tuple[str, ...]] = ("fact", "value")
    path: ClassVar[None] = None

    def record(self) -> dict[str, object]:
        """Return `{"fact": …, "value": …}`."""
        return {"fact": self.fact, "value": self.value}

    def cells(self) -> list[tuple[str, ...]]:
        """Return the row's one line."""
        if self.value is None:
            return [(self.fact, "unknown")]
        if isinstance(self.value, bool):
            return [(self.fact, "yes" if self.value else "no")]
        return [(self.fact, str(self.value))]


def listing(pattern: str, weights_dir: str | None) -> Iterator[ModelRow]:
    """Return all published models, the embedded one, and other hub models in the cache; the most accurate first.

    `pattern` is a part of the name or the alias; case does not matter.
    """
    uncatalogued = set(local_files.cached_models(weights_dir))
    rows = []
    for architecture, tags in openclip_registry.tags().items():
        for tag in tags:
            repo, filename = openclip_registry.repository(architecture, tag)
            uncatalogued.discard(repo)
            name = f"{architecture}/{tag}"
            on_disk = local_files.is_cached(repo, filename, weights_dir) or bundles.is_bundle(
                records.bundle_folder(name)
            )
            rows.append(_published_row(architecture, tag, on_disk=on_disk))
    rows += [ModelRow(f"hf-hub:{repo}", None, None, on_disk=True) for repo in uncatalogued]
    rows.sort(key=lambda row: (-(row.imagenet_top1 or 0), row.model))
    part = pattern.casefold()
    return (row for row in [_tiny_row(), *rows] if part in row.model.casefold() or part in (row.alias or ""))


def _tiny_row() -> ModelRow:
    tiny = bundles.read(TINY_FOLDER)
    size, head = tiny.info.preprocessing.image_size[0], tiny.scoring.activation
    return ModelRow("tiny", None, size, on_disk=True, dim=tiny.info.dim, head=head, licence="mit", alias="tiny")


def _published_row(architecture: str, tag: str, *, on_disk: bool) -> ModelRow:
    figures, described = catalogue.figures(architecture, tag), openclip_registry.architecture(architecture)
    name = f"{architecture}/{tag}"
    return ModelRow(
        name,
        figures.parameters_millions if figures else None,
        openclip_registry.image_size(architecture),
        on_disk=on_disk,
        dim=described.dim if described else None,
        head=described.head if described else None,
        licence=figures.licence if figures else None,
        imagenet_top1=figures.imagenet_top1 if figures else None,
        download_megabytes=figures.download_megabytes if figures else None,
        alias=next((alias.name for alias in catalogue.ALIASES if alias.model == name), None),
    )


def facts(model: Model) -> list[FactRow]:
    """Return one row per fact about a model. Weights are not downloaded; without them, rows say what is unknown.

    Raises:
        ModelError: it cannot be found or loaded.
    """
    if not model.is_described and (described := _without_weights(model)) is not None:
        return described
    info, scoring = model.info, model.scoring
    head = f"{scoring.activation}, scale {scoring.scale:.4g}" + (f", bias {scoring.bias:.4g}" if scoring.bias else "")
    return [
        FactRow("model", info.name),
        FactRow("fingerprint", info.fingerprint),
        FactRow("revision", model.revision),
        FactRow("dim", info.dim),
        *_published_facts(model),
        *_preprocessing_facts(info.preprocessing),
        FactRow("context", f"{info.context_length} tokens{', causal' if info.causal_text else ''}"),
        FactRow("scoring", head),
        FactRow("bundle", str(model.bundle.folder) if model.bundle else "none"),
    ]


def _without_weights(model: Model) -> list[FactRow] | None:
    """Return the facts of a hub model from its config if its weights are not on this disk; None if they are."""
    spec, choice = model.spec, model.choice
    if spec.kind not in {"tag", "hub"}:
        return None
    openclip_registry.check_name(spec, ALIAS_NAMES)
    repo, filename = openclip_registry.repository(spec.where, spec.version) if spec.kind == "tag" else (spec.where, "")
    hub = Hub(model.console, choice.weights_dir, offline=choice.offline)
    is_here = hub.has_weights(repo, spec.version if spec.kind == "hub" and spec.version else None, filename)
    if is_here and has_packages("torch"):
        return None
    described, overlay, revision = _described(spec, hub)
    reason = f"unknown until the weights are here: clipcli models pull {spec.name}"
    if not has_packages("torch"):
        reason = f"unknown without torch, which runs this model: {install_command('torch')}"
    return [
        FactRow("model", spec.name),
        FactRow("fingerprint", reason),
        FactRow("revision", revision),
        FactRow("dim", described.dim),
        *_published_facts(model),
        *_preprocessing_facts(openclip_registry.preprocessing_of(described.config, overlay)),
        FactRow("context", f"{described.context_length} tokens"),
        FactRow("scoring", described.head),
        FactRow("bundle", "none"),
    ]


def _described(spec: ModelSpec, hub: Hub) -> tuple[openclip_registry.Architecture, Mapping[str, object], str | None]:
    """Return an architecture, the preprocessing of its weights, and their commit.

    The config of a repository is fetched.
    """
    if spec.kind == "tag":
        architecture = openclip_registry.architecture(spec.where)
        if architecture is None:
            raise ModelError(f"no model {spec.where!r}", hint="clipcli models list shows all")
        return architecture, openclip_registry.tags()[spec.where][spec.version], None
    path = hub.fetch(spec.where, local_files.CONFIG, spec.version or None)
    if path is None:
        raise ModelError(f"{spec.where} has no {local_files.CONFIG}", hint="hf-hub: takes OpenCLIP repositories")
    try:
        text: Any = parse_json(read_bytes(path, _LARGEST_CONFIG))
        overlay: Mapping[str, object] = dict(text.get("preprocess_cfg", {}))
        openclip_registry.preprocessing_of(text["model_cfg"], overlay)
        return openclip_registry.architecture_of(text["model_cfg"]), overlay, path.parent.name
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{spec.name}: {local_files.CONFIG} is not an OpenCLIP config: {error!r}") from error


def _published_facts(model: Model) -> list[FactRow]:
    """Return the published figures of a model; without any, rows with empty values."""
    spec = model.spec
    figures = catalogue.figures(spec.where, spec.version) if spec.kind == "tag" else None
    if figures is None:
        return [FactRow("parameters", None), FactRow("imagenet top-1", None)]
    top1, source, millions = figures.imagenet_top1, figures.source, figures.parameters_millions
    return [
        FactRow("parameters", None if millions is None else f"{millions:g} M"),
        FactRow("gflops", None if figures.gflops is None else f"{figures.gflops:g} for an image and a text"),
        FactRow("download", None if millions is None else f"{figures.download_megabytes:,} MB"),
        FactRow("imagenet top-1", None if top1 is None else f"{top1:.1%} (published: {source})"),
        FactRow("licence of the weights", figures.licence or None),
    ]


def _preprocessing_facts(preprocessing: Preprocessing) -> list[FactRow]:
    height, width = preprocessing.image_size
    return [
        FactRow("image", f"{width} × {height}, {preprocessing.resize_mode}, {preprocessing.interpolation}"),
        FactRow("mean", ", ".join(f"{value:.4g}" for value in preprocessing.mean)),
        FactRow("std", ", ".join(f"{value:.4g}" for value in preprocessing.std)),
    ]


def pull(choice: Choice, console: Console, *, export: bool) -> None:
    """Download a model completely, and make its fast-starting copy if `export`.

    Raises:
        ModelError: it cannot be fetched, or is damaged.
    """
    if _is_detector(choice.model) and (detector := parse_detector(choice, console)) is not None:
        opened = load_detector_model(detector, choice, console)
        console.info(f"{opened.name} is here (fingerprint {opened.fingerprint})")
        return
    model = Model(choice, console)
    if model.bundle is not None:
        console.info(f"{model.spec.name} is here: {model.bundle.folder}")
        return
    encoder = model.encoder
    console.info(f"{encoder.info.name} is here (fingerprint {encoder.info.fingerprint})")
    if export and encoder.device == "cpu":
        console.info(f"making the fast-starting copy of {model.spec.name}")
        try:
            export_to_cache(cast("OpenClipEncoder", encoder), model.revision, model.spec.name)
        except ModelError as error:
            console.info(f"no fast-starting copy: {error.message}; the model runs through torch")


def _is_detector(name: str) -> bool:
    """Return whether a name is an alias of a detection model, or a repository named after one."""
    return name in DETECTOR_ALIASES or is_detector_name(name.removeprefix("hf-hub:").partition("@")[0])


def export(choice: Choice, output: str | None, dtype: str, name: str | None, console: Console) -> None:
    """Write a model as a bundle.

    Raises:
        UsageError: no such type, options that do not go together, or a model that is a bundle already.
        OutputError: the folder is not a bundle, or cannot be written.
        ModelError: it cannot be loaded or exported.
    """
    precision = _PRECISIONS.get(dtype)
    if precision is None:
        raise UsageError(f"no type {dtype!r} for stored weights", hint="float32 or float16")
    if output is None and (precision == "fp16" or name):
        option = "--dtype float16" if precision == "fp16" else "--name"
        raise UsageError(f"{option} needs -o DIR", hint="the copy in the cache is always the model itself")
    if parse_model(choice.model).kind == "bundle":
        raise UsageError(f"{choice.model} is a bundle already", hint="copy its folder")
    model, folder = Model(choice, console), Path(output).expanduser() if output else None
    if folder is not None:
        stage.refuse_foreign(folder)
    console.info(f"exporting {model.spec.name}: loading it, then half a minute or more for a large model")
    encoder, revision = cast("OpenClipEncoder", model.encoder), model.revision
    if folder is None:
        exported = export_to_cache(encoder, revision, model.spec.name)
    else:
        exported = export_source(encoder, revision, folder, precision, name)
    console.info(f"{exported.folder}: {exported.size / 1e6:,.1f} MB, fingerprint {exported.info.fingerprint}")
    if folder and not name and model.spec.kind in {"folder", "checkpoint"}:
        console.info("the bundle's name is a path on this machine; add --name NAME to share it")


def verify(choice: Choice, images: Sequence[str], source: str | None, console: Console) -> list[FactRow]:
    """Check the files of a model, and compare a bundle with its source if that is on this disk.

    `source` is the model to compare a bundle with; None means the one that its manifest names.

    Raises:
        BundleError, DownloadError: a file's hash is wrong; the message names the file.
        InputsError: an image that cannot be read.
        ModelError: vectors that are not finite, or not those of the source; a `source` that cannot be loaded.
        UsageError: images or a source to compare, and no bundle.
    """
    from clipcli.engines import parity

    model = Model(choice, console)
    rows = [FactRow("model", model.spec.name)]
    if model.bundle is None:
        if images or source:
            raise UsageError(f"{model.spec.name} has no bundle to compare", hint="leave out --image and --source")
        return rows + _checked_weights(model, choice, console)
    pixels = [_pixels(path, model.bundle.info) for path in images]
    bundles.check_hashes(model.bundle)
    rows += [FactRow("hashes", "as recorded"), _finite(model)]
    named = source or model.bundle.manifest.source
    original = _source_of(named, model, console, must=source is not None)
    if original is None:
        return [*rows, FactRow("source", f"{named}: not on this disk, not compared; --source MODEL names another")]
    if _shape(original) != _shape(model.encoder):
        raise ModelError(f"{named} is another model: its images, vectors or texts have other sizes than the bundle's")
    comparison = parity.compare(original, model.encoder, pixels=pixels)
    if not comparison.ok:
        differences = f"{comparison.images:.2e} (images) and {comparison.texts:.2e} (texts)"
        message = f"vectors differ from those of {named} by {differences}, more than {comparison.limit:.0e}"
        raise ModelError(f"{model.spec.name}: {message}", hint="export it again")
    return [
        *rows,
        FactRow("source", named),
        FactRow("largest image difference", f"{comparison.images:.2e}"),
        FactRow("largest text difference", f"{comparison.texts:.2e}"),
    ]


def _checked_weights(model: Model, choice: Choice, console: Console) -> list[FactRow]:
    source, _ = loader.find(model.spec, choice, console)
    local_files.check_file(source.weights)
    digest = FactRow("sha256", sha256_of(source.weights))
    fingerprint = FactRow("fingerprint", model.encoder.info.fingerprint)
    return [digest, FactRow("loads", value=True), fingerprint, _finite(model)]


def _finite(model: Model) -> FactRow:
    """Return a row if both towers give finite vectors; raise ModelError otherwise."""
    from clipcli.engines.parity import towers_not_finite

    if towers := towers_not_finite(model.encoder):
        towers_text = "both towers" if len(towers) > 1 else f"its {towers[0]} tower"
        raise ModelError(
            f"{model.spec.name}: {towers_text} gave numbers that are not finite", hint="the weights are damaged"
        )
    return FactRow("vectors", "finite")


def _source_of(name: str, model: Model, console: Console, *, must: bool) -> Encoder | None:
    """Return the model that a bundle was made from; None if it is not on this disk, which is an error if it `must`."""
    try:
        return Model(Choice(name, "cpu", "fp32", SOURCE_ENGINE, True, model.choice.weights_dir), console).encoder  # noqa: FBT003
    except (ModelError, UsageError) as error:
        if must:
            raise
        console.debug(error.message)
        return None


def _shape(encoder: Encoder) -> tuple[object, ...]:
    info = encoder.info
    return info.preprocessing.image_size, info.dim, info.context_length


def _pixels(path: str, info: ModelInfo) -> Pixels:
    from clipcli.images import ON_WHITE, decode, read
    from clipcli.images.preprocess import to_pixels

    try:
        return to_pixels(decode(read(path), rendering=ON_WHITE), info.preprocessing)[None]
    except ImageError as error:
        raise InputsError(f"{path}: {error.reason}", hint="--image takes a file that classify can read") from error
