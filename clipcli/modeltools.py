"""What `clipcli models` does: list, describe, fetch, check and export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from clipcli import bundle as bundles
from clipcli import catalogue, hub, loading, records, registry
from clipcli.errors import ModelError, UsageError
from clipcli.exporting import export_source
from clipcli.models import Choice, Model
from clipcli.modelspec import TINY_FOLDER
from clipcli.output.modelrows import FactRow, ModelRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.encoder import Encoder
    from clipcli.engines.openclip import OpenClipEncoder
    from clipcli.engines.parity import Verification
    from clipcli.talk import Talk
    from clipcli.vectors import Pixels

_LARGEST_DIFFERENCE = 1e-5
"""Of a component of two unit vectors in fp32."""


def listing(pattern: str, cache_dir: str | None) -> Iterator[ModelRow]:
    """Every model with published weights, the embedded one, and others of the hub that are here; the best first."""
    aliases = {alias.model: alias.name for alias in catalogue.ALIASES}
    size = bundles.read(TINY_FOLDER).info.preprocessing.image_size[0]
    rows = [ModelRow("tiny", None, size, None, None, on_disk=True, alias="tiny")]
    others = set(hub.cached_models(cache_dir))
    for architecture, tags in registry.tags().items():
        for tag in tags:
            name = f"{architecture}/{tag}"
            repo, filename = registry.repository(architecture, tag)
            others.discard(repo)
            on_disk = hub.is_cached(repo, filename, cache_dir) or bundles.is_bundle(records.bundle_folder(name))
            figures = catalogue.figures(architecture, tag)
            rows.append(
                ModelRow(
                    name,
                    figures.parameters_millions if figures else None,
                    registry.image_size(architecture),
                    figures.imagenet_top1 if figures else None,
                    figures.download_megabytes if figures else None,
                    on_disk,
                    aliases.get(name),
                )
            )
    rows += [ModelRow(f"hf-hub:{repo}", None, None, None, None, on_disk=True) for repo in others]
    rows.sort(key=lambda row: (row.model != "tiny", -(row.imagenet_top1 or 0), row.model))
    return (row for row in rows if pattern.casefold() in row.model.casefold())


def facts(model: Model) -> list[FactRow]:
    """What a model is, a fact a row.

    Raises:
        ModelError: it cannot be found or loaded.
    """
    info, scoring, how = model.info, model.scoring, model.info.preprocessing
    head = f"{scoring.activation}, scale {scoring.scale:.4g}" + (f", bias {scoring.bias:.4g}" if scoring.bias else "")
    published = catalogue.figures(model.spec.where, model.spec.version) if model.spec.kind == "tag" else None
    return [
        FactRow("model", info.name),
        FactRow("fingerprint", info.fingerprint),
        FactRow("revision", model.revision),
        FactRow("dim", info.dim),
        FactRow("parameters", f"{published.parameters_millions:g} M" if published else None),
        FactRow("imagenet top-1", f"{published.imagenet_top1:.1%} (published)" if published else None),
        FactRow("image", f"{how.image_size[1]} × {how.image_size[0]}, {how.resize_mode}, {how.interpolation}"),
        FactRow("mean", ", ".join(f"{value:.4g}" for value in how.mean)),
        FactRow("std", ", ".join(f"{value:.4g}" for value in how.std)),
        FactRow("context", f"{info.context_length} tokens{', causal' if info.causal_text else ''}"),
        FactRow("scoring", head),
        FactRow("bundle", str(model.bundle.folder) if model.bundle else "none"),
    ]


def pull(choice: Choice, talk: Talk, *, export: bool) -> None:
    """Have a model on this disk, whole, and ready to start fast.

    Raises:
        ModelError: it cannot be fetched, or is damaged.
    """
    model = Model(choice, talk)
    if model.bundle is not None:
        talk.note(f"{model.spec.name} is here: {model.bundle.folder}")
        return
    encoder = model.encoder
    talk.note(f"{encoder.info.name} is here (fingerprint {encoder.info.fingerprint})")
    if export and encoder.device == "cpu":
        folder = records.bundle_folder(model.spec.name)
        talk.note(f"making the fast-starting copy of {model.spec.name}")
        try:
            export_source(cast("OpenClipEncoder", encoder), model.revision, folder)
        except ModelError as error:
            talk.note(f"no fast-starting copy: {error.message}; the model runs through torch")


def export(choice: Choice, output: str | None, precision: str, name: str | None, talk: Talk) -> None:
    """Write a model as a bundle.

    Raises:
        UsageError: no such precision, or a model that is a bundle already.
        ModelError: it cannot be loaded or exported.
    """
    if precision not in {"fp32", "fp16"}:
        raise UsageError(f"no precision {precision!r} for stored weights", hint="fp32 or fp16")
    model = Model(Choice(choice.model, weights_dir=choice.weights_dir), talk)
    if model.spec.kind == "bundle":
        raise UsageError(f"{model.spec.name} is a bundle already", hint="copy its folder")
    folder = Path(output).expanduser() if output else records.bundle_folder(model.spec.name)
    source = Model(choice, talk)
    encoder = cast("OpenClipEncoder", source.encoder)
    made = export_source(encoder, source.revision, folder, cast("Literal['fp32', 'fp16']", precision), name)
    talk.note(f"{made.folder}: {made.size / 1e6:.1f} MB, fingerprint {made.info.fingerprint}")


def verify(choice: Choice, images: Sequence[str], talk: Talk) -> list[FactRow]:
    """Check the files of a model, and a bundle against its source where that is on this disk.

    Raises:
        BundleError, DownloadError: a file whose hash is wrong, by name.
        ModelError: the bundle's vectors are not its source's.
    """
    model = Model(choice, talk)
    rows = [FactRow("model", model.spec.name)]
    if model.bundle is None:
        source, _ = loading.find(model.spec, choice, talk)
        hub.check_file(source.weights)
        rows.append(FactRow("sha256", hub.sha256_of(source.weights)))
        return [*rows, FactRow("loads", value=True), FactRow("fingerprint", model.encoder.info.fingerprint)]
    bundles.check_hashes(model.bundle)
    rows.append(FactRow("hashes", "as recorded"))
    original = _source_of(model, talk)
    if original is None:
        return [*rows, FactRow("source", "not on this disk; vectors not compared")]
    found = _compare(model.encoder, original, images)
    rows += [
        FactRow("largest image difference", f"{found.images:.2e}"),
        FactRow("largest text difference", f"{found.texts:.2e}"),
    ]
    if model.bundle.precision == "fp32" and max(found.images, found.texts) > _LARGEST_DIFFERENCE:
        raise ModelError(
            f"{model.spec.name}: vectors differ from those of its source by {max(found.images, found.texts):.2e}",
            hint="export it again",
        )
    return rows


def _source_of(model: Model, talk: Talk) -> Encoder | None:
    assert model.bundle is not None  # noqa: S101 - asked of bundles only
    try:
        choice = Choice(
            model.bundle.manifest.source, "cpu", "fp32", "openclip", offline=True, weights_dir=model.choice.weights_dir
        )
        return Model(choice, talk).encoder
    except (ModelError, UsageError) as error:
        talk.detail(error.message)
        return None


def _compare(bundle: Encoder, source: Encoder, images: Sequence[str]) -> Verification:
    from clipcli.engines import parity

    return parity.compare(source, bundle, pixels=[_pixels(path, bundle) for path in images])


def _pixels(path: str, encoder: Encoder) -> Pixels:
    from clipcli.images import decode, read
    from clipcli.preprocess import to_pixels

    return to_pixels(decode(read(path)), encoder.info.preprocessing)[None]
