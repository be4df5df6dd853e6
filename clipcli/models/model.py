"""A model by name: described without loading it if possible, and loaded when needed."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from clipcli import bundle as bundles
from clipcli.core.batch_invariance import FEW_IMAGES
from clipcli.core.devices import accelerator, cpu_name, cpu_with_bf16, model_threads
from clipcli.core.files import is_private
from clipcli.core.optional_packages import has_packages, install_command, version_of
from clipcli.engines.registry import AUTO, BUNDLE_ENGINE, ENGINES, SOURCE_ENGINE, rival_engine
from clipcli.errors import BundleError, DeviceError, UsageError
from clipcli.models import records
from clipcli.models.records import is_first_use
from clipcli.models.spec import parse_model

if TYPE_CHECKING:
    from clipcli.bundle import Bundle
    from clipcli.core.console import Console
    from clipcli.core.encoder import Encoder, ModelInfo, ModelSpec, Precision, Scoring
    from clipcli.engines.checkpoint import ModelFiles
    from clipcli.engines.openclip import OpenClipEncoder
    from clipcli.models.records import Record
    from clipcli.models.spec import Choice


class Model:
    """A model by name. Its description comes from a bundle or the record of an earlier run, if there is one."""

    def __init__(
        self, choice: Choice, console: Console, expected_images: int | None = None, expected_texts: int | None = None
    ) -> None:
        self.choice = choice
        self.console = console
        self.spec: ModelSpec = parse_model(choice.model)
        self.expected_images = expected_images
        self.expected_texts = expected_texts
        self._loaded: Encoder | None = None
        self._fp32_encoder: OpenClipEncoder | None = None
        self._source: ModelFiles | None = None
        if self.spec.kind == "bundle" or choice.runs_bundles:
            self._check_bundle_engine()

    def warn_if_tiny(self) -> None:
        """Print a note about the embedded model, on first use or when it replaces the default model."""
        if self.spec.name != "tiny" or self.console.quiet:
            return
        if self.choice.is_substitute:
            self.console.info(
                "the model is tiny, since torch is not installed (-m tiny turns this note off); for larger models: "
                f"{install_command('torch')}"
            )
        elif is_first_use("tiny"):
            self.console.info(
                "tiny is the small model that comes with clipcli: quick, offline, for everyday pictures; a larger one "
                "knows far more (--model fast). This note appears once."
            )

    @property
    def info(self) -> ModelInfo:
        """Return the model's description."""
        description = self._description
        return description.info if description else self.encoder.info

    @property
    def vectors_key(self) -> str:
        """Return the cache key of its vectors: a digest over its files."""
        bundle = self.bundle
        return self.info.fingerprint if bundle is None else records.vectors_key(bundle)

    @property
    def scoring(self) -> Scoring:
        """Return the function from cosines to scores."""
        description = self._description
        return description.scoring if description else self.encoder.scoring

    @property
    def precision(self) -> Precision:
        """Return the precision of its vectors."""
        if self.bundle is not None and self._bundle_precision != "fp32":
            return self._bundle_precision
        description = self._description
        return description.precision if description else self.encoder.precision

    @property
    def _bundle_precision(self) -> Precision:
        """Return the precision for a bundle's engine."""
        return "fp32" if self.choice.precision == "auto" else self.choice.precision

    @property
    def revision(self) -> str | None:
        """Return the commit of its files, or None."""
        if self.bundle is not None:
            return self.bundle.manifest.revision
        return self._source.revision if self._source else self._record.revision if self._record else None

    @property
    def is_described(self) -> bool:
        """Return whether it can be described without loading: it is a bundle, or there is a record."""
        return self._loaded is not None or self._description is not None

    @property
    def is_loaded(self) -> bool:
        """Return whether it is in memory."""
        return self._loaded is not None

    @property
    def known_bytes(self) -> int | None:
        """Return the size of its weights in bytes; None before its first run."""
        if self.bundle is not None:
            return sum(entry.size for entry in self.bundle.manifest.files)
        return self._record.weights.size if self._record else None

    @property
    def runs_on_gpu(self) -> bool:
        """Return whether it runs on a GPU, without loading it."""
        return self.spec.kind != "bundle" and self._device_kind != "cpu"

    @property
    def engine(self) -> str:
        """Return the name of its engine."""
        if self.choice.engine != AUTO:
            return self.choice.engine
        return (self._measured_engine or BUNDLE_ENGINE) if self.bundle else SOURCE_ENGINE

    @property
    def encoder(self) -> Encoder:
        """Return the encoder, loaded on first use.

        Raises:
            ModelError: it cannot be downloaded, is damaged, or does not run here.
        """
        if self._loaded is None:
            started = time.perf_counter()
            self._loaded = self._load()
            seconds = time.perf_counter() - started
            encoder = self._loaded
            settings = f"{encoder.device}, {encoder.precision}, {self.engine}"
            self.console.debug(
                f"{encoder.info.name} ({encoder.info.fingerprint}) on {settings}; ready in {seconds:.2f} s"
            )
        return self._loaded

    @property
    def encoder_in_fp32(self) -> Encoder | None:
        """Return a second encoder in fp32, loaded on first use; None for a bundle, which computes in fp32.

        Raises:
            ModelError: it does not fit into memory, or its files are gone.
        """
        if self._source is None or self.bundle is not None:
            return None
        if self._fp32_encoder is None:
            from clipcli.models import loader

            choice = replace(self.choice, precision="fp32")
            self._fp32_encoder = loader.load(self._source, self.encoder.device, choice, None, self.console)
        return self._fp32_encoder

    @cached_property
    def bundle(self) -> Bundle | None:
        """Return the bundle to run, or None.

        Raises:
            BundleError: the model is a damaged bundle.
        """
        rival, is_default = self._rival_engine, self._default_engine == BUNDLE_ENGINE
        return self._own_bundle if rival is None or is_default or self._measured_engine == rival else None

    @cached_property
    def _own_bundle(self) -> Bundle | None:
        """Return the bundle of this name, whichever engine is chosen."""
        if self.spec.kind == "bundle":
            return bundles.read(Path(self.spec.where), stamps=records.stamps_folder())
        cached = self._cached_bundle
        return cached if cached and self._is_current(cached) else None

    @cached_property
    def _rival_engine(self) -> str | None:
        """Return the engine that `auto` may use instead of its default one for the chosen precision, or None."""
        choice = self.choice
        if choice.engine != AUTO or choice.precision == "auto" or self._device_kind != "cpu":
            return None
        return None if choice.precision == "bf16" and not cpu_with_bf16() else rival_engine(choice.precision)

    @property
    def _default_engine(self) -> str:
        """Return the engine of `auto` for the chosen precision if nothing was measured."""
        return BUNDLE_ENGINE if self.choice.precision in ENGINES[BUNDLE_ENGINE].precisions else SOURCE_ENGINE

    @cached_property
    def _measured_engine(self) -> str | None:
        """Return the faster of the default engine and its rival; None without a rival or a measurement."""
        return None if self._measurement_key is None else records.measured_engine(self._measurement_key)

    @cached_property
    def _measurement_key(self) -> tuple[str, ...] | None:
        """Return everything on which the faster engine depends; None without a rival or a bundle."""
        if self._rival_engine is None or self._own_bundle is None:
            return None
        packages = [version_of(ENGINES[name].package) for name in (self._default_engine, self._rival_engine)]
        return (self._own_bundle.digest, self.choice.precision, cpu_name(), str(model_threads()), *packages)

    @cached_property
    def _cached_bundle(self) -> Bundle | None:
        """Return the bundle in the cache for this name, if it is intact and can be run."""
        folder = records.bundle_folder(self.spec.name)
        if not self._may_use_bundle or not is_private(folder.parent) or not bundles.is_bundle(folder):
            return None
        engine = ENGINES[BUNDLE_ENGINE]
        if self.choice.engine == AUTO and not engine.is_installed():
            self.console.warning(
                f"{engine.package} is not installed (pip install {engine.package}): running through torch"
            )
            return None
        try:
            return bundles.read(folder, stamps=records.stamps_folder())
        except BundleError as error:
            self.console.warning(f"{error.message}; not used")
            return None

    def _is_current(self, cached: Bundle) -> bool:
        """Return whether the copy was made from the present files of this name."""
        record = self._record or records.find_any(self.spec.name)
        if record is not None:
            return record.info.fingerprint == cached.info.fingerprint
        # The hub's files may be gone and only the copy left; a path may mean another model today.
        return self.spec.kind in {"tag", "hub"} and not records.has_new_revision(self.spec.name)

    @property
    def encoder_to_export(self) -> OpenClipEncoder | None:
        """Return the encoder if it was loaded through torch only because there is no bundle of it, else None."""
        encoder, cached = self._loaded, self._cached_bundle
        if encoder is None or self.choice.engine != AUTO or self.bundle is not None or not self._may_use_bundle:
            return None
        is_exported = cached is not None and cached.info.fingerprint == encoder.info.fingerprint
        return None if is_exported else cast("OpenClipEncoder", encoder)

    @property
    def _may_use_bundle(self) -> bool:
        choice = self.choice
        return not choice.runs_sources and self._suits_bundles and self._device_kind == "cpu"

    @property
    def _suits_bundles(self) -> bool:
        """Return whether an engine for bundles supports the chosen precision."""
        engine, precision = self.choice.spec or ENGINES[BUNDLE_ENGINE], self.choice.precision
        return precision == "auto" or precision in engine.precisions or self._rival_engine is not None

    @cached_property
    def _device_kind(self) -> str:
        """Return `cpu`, `cuda` or `mps`, detected without torch."""
        kind = self.choice.own_device.partition(":")[0]
        if kind != "auto":
            return kind
        return (accelerator() if has_packages("torch") else None) or "cpu"

    @property
    def _settings_key(self) -> str:
        from clipcli.models import loader

        return loader.settings_key(self.choice, self._device_kind)

    @cached_property
    def _record(self) -> Record | None:
        """Return the record of an earlier run with the same settings, or None."""
        return None if self.spec.kind == "bundle" else records.find(self.spec.name, self._settings_key)

    @property
    def _description(self) -> Bundle | Record | None:
        """Return the bundle or record that describes the model without loading it, or None."""
        if self._loaded is not None:
            return None
        if self.bundle is not None:
            return self.bundle
        return None if self.choice.runs_bundles else self._record

    def _load(self) -> Encoder:
        if self._measurement_key and self._measured_engine is None and not self._has_few_images:
            return self._load_fastest(self._measurement_key)
        return self._load_default()

    def _load_default(self) -> Encoder:
        if self.bundle is not None:
            return self._run_bundle(self.bundle)
        encoder, source = self._load_openclip()
        if self.choice.runs_bundles:
            return self._export_and_run(encoder, source)
        return encoder

    def _load_fastest(self, key: tuple[str, ...]) -> Encoder:
        """Measure the default engine and its rival, store which is faster, and return an encoder of that one."""
        from clipcli.engines.autotune import faster_rival

        bundle, rival, default = cast("Bundle", self._own_bundle), cast("str", self._rival_engine), self._default_engine
        encoder = faster_rival(
            self._load_default, lambda: self._run_bundle(bundle, rival), (default, rival), self.console
        )
        self._measured_engine = rival if encoder else default
        records.keep_measured_engine(key, self._measured_engine)
        if encoder is not None:
            self.bundle = bundle
        return encoder or self._load_default()

    @property
    def _has_few_images(self) -> bool:
        return self.expected_images is not None and self.expected_images < FEW_IMAGES

    def _load_openclip(self) -> tuple[OpenClipEncoder, ModelFiles]:
        from clipcli.models import loader

        choice = replace(self.choice, precision="fp32") if self.choice.runs_bundles else self.choice
        source, device = loader.find(self.spec, choice, self.console)
        encoder = loader.load(source, device, choice, self._record, self.console)
        self._source = source
        loader.remember(encoder, source, self._record, self._settings_key)
        return replace(encoder, few_images=self._has_few_images), source

    def _export_and_run(self, encoder: OpenClipEncoder, source: ModelFiles) -> Encoder:
        self.console.info(f"exporting {self.spec.name} for --engine {self.choice.engine}, once")
        from clipcli.models.loader import export_to_cache

        bundle = export_to_cache(encoder, source.revision, self.spec.name)
        self.bundle = bundle
        return self._run_bundle(bundle)

    def _run_bundle(self, bundle: Bundle, engine: str = "") -> Encoder:
        engine = engine or self.engine
        load = ENGINES[engine].load
        if load is None:
            raise TypeError(f"{engine} does not run bundles")
        images, texts = self.expected_images, self.expected_texts
        return load(bundle, expected_images=images, expected_texts=texts, precision=self._bundle_precision)

    def _check_bundle_engine(self) -> None:
        """Refuse settings that the engine does not support. Raises UsageError, DeviceError."""
        choice = self.choice
        subject = f"{self.spec.name} is a bundle: it" if self.spec.kind == "bundle" else f"--engine {choice.engine}"
        if choice.runs_sources:
            names = " or ".join(name for name, spec in ENGINES.items() if spec.needs_bundle)
            raise UsageError(f"{subject} runs through {names} only", hint="leave out --engine")
        engine = choice.spec or ENGINES[BUNDLE_ENGINE]
        if choice.device != "auto" and choice.device.partition(":")[0] not in engine.devices:
            devices = "the CPU" if engine.devices == ("cpu",) else " or ".join(engine.devices)
            raise DeviceError(f"{subject} runs on {devices} only", hint=f"--device {engine.devices[0]}")
        if choice.precision != "auto" and choice.precision not in engine.precisions:
            rival = rival_engine(choice.precision) if choice.engine == AUTO else None
            hint = "leave out --precision" + (f", or add --engine {rival}" if rival else "")
            raise UsageError(f"{subject} computes in {' or '.join(engine.precisions)}", hint=hint)
