"""The one way to a model: a name and a few wishes become what can be described at once and loaded when needed."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from clipcli import bundle as bundles
from clipcli.cache import is_private
from clipcli.core.batch_invariance import FEW_IMAGES
from clipcli.core.devices import accelerator
from clipcli.core.optional_packages import has_packages, install_command
from clipcli.engines.registry import AUTO, BUNDLE_ENGINE, ENGINES, SOURCE_ENGINE
from clipcli.errors import BundleError, DeviceError, UsageError
from clipcli.models import records
from clipcli.models.loader import export_to_cache
from clipcli.models.records import is_first_use
from clipcli.models.spec import parse_model

if TYPE_CHECKING:
    from clipcli.bundle import Bundle
    from clipcli.core.console import Console
    from clipcli.core.encoder import Encoder, ModelInfo, ModelSpec, Precision, Scoring
    from clipcli.engines.checkpoint import ModelFiles
    from clipcli.engines.openclip import OpenClipEncoder
    from clipcli.models.choice import Choice
    from clipcli.models.records import Record


class Model:
    """A model by name. Describing it loads nothing where a bundle or an earlier run tells enough."""

    def __init__(
        self, choice: Choice, console: Console, expected_images: int | None = None, expected_texts: int | None = None
    ) -> None:
        self.choice = choice
        self.console = console
        self.spec: ModelSpec = parse_model(choice.model)
        self.expected_images = expected_images
        self.expected_texts = expected_texts
        self._loaded: Encoder | None = None
        self._in_fp32: OpenClipEncoder | None = None
        self._source: ModelFiles | None = None
        if self.spec.kind == "bundle" or choice.runs_bundles:
            self._check_bundle_engine()

    def warn_if_tiny(self) -> None:
        """Say what the embedded model is, at its first use here or when it stands in for the default."""
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
                "knows far more (--model fast). This is said once."
            )

    @property
    def info(self) -> ModelInfo:
        """Return what the model is."""
        known = self._known
        return known.info if known else self.encoder.info

    @property
    def vectors_key(self) -> str:
        """Return what its vectors are kept under: a digest that is computed here over its files."""
        bundle = self.bundle
        return self.info.fingerprint if bundle is None else records.vectors_key(bundle)

    @property
    def scoring(self) -> Scoring:
        """Return how its cosines are read."""
        known = self._known
        return known.scoring if known else self.encoder.scoring

    @property
    def precision(self) -> Precision:
        """Return the precision that its vectors come from."""
        if self.bundle is not None and self._bundle_precision != "fp32":
            return self._bundle_precision
        known = self._known
        return known.precision if known else self.encoder.precision

    @property
    def _bundle_precision(self) -> Precision:
        """Return what an engine is told to compute a bundle in."""
        return "fp32" if self.choice.precision == "auto" else self.choice.precision

    @property
    def revision(self) -> str | None:
        """Return the commit its files are of, where they have one."""
        if self.bundle is not None:
            return self.bundle.manifest.revision
        return self._source.revision if self._source else self._record.revision if self._record else None

    @property
    def is_known(self) -> bool:
        """Return whether it can be described without loading it: it is a bundle, or has run here before."""
        return self._loaded is not None or self._known is not None

    @property
    def is_loaded(self) -> bool:
        """Return whether it is in memory."""
        return self._loaded is not None

    @property
    def known_bytes(self) -> int | None:
        """Size of its weights; None before its first run here."""
        if self.bundle is not None:
            return sum(entry.size for entry in self.bundle.manifest.files)
        return self._record.weights.size if self._record else None

    @property
    def runs_on_gpu(self) -> bool:
        """Return whether batches should be large; told without loading."""
        return self.spec.kind != "bundle" and self._device_kind != "cpu"

    @property
    def engine(self) -> str:
        """Return the name of the engine that runs it."""
        if self.choice.engine != AUTO:
            return self.choice.engine
        return BUNDLE_ENGINE if self.bundle else SOURCE_ENGINE

    @property
    def encoder(self) -> Encoder:
        """Return the model itself, loaded at the first call.

        Raises:
            ModelError: it cannot be fetched, is damaged, or does not run here.
        """
        if self._loaded is None:
            started = time.perf_counter()
            self._loaded = self._load()
            seconds = time.perf_counter() - started
            encoder = self._loaded
            where = f"{encoder.device}, {encoder.precision}, {self.engine}"
            self.console.debug(f"{encoder.info.name} ({encoder.info.fingerprint}) on {where}; ready in {seconds:.2f} s")
        return self._loaded

    @property
    def encoder_in_fp32(self) -> Encoder | None:
        """The model once more, in fp32, loaded at the first call; None for a bundle, which computes in fp32 anyway.

        Raises:
            ModelError: it does not fit beside the one that runs, or its files have gone.
        """
        if self._source is None or self.bundle is not None:
            return None
        if self._in_fp32 is None:
            from clipcli.models import loader

            choice = replace(self.choice, precision="fp32")
            self._in_fp32 = loader.load(self._source, self.encoder.device, choice, None, self.console)
        return self._in_fp32

    @cached_property
    def bundle(self) -> Bundle | None:
        """Return the bundle that will be run, when one will be.

        Raises:
            BundleError: the model is a bundle, and a damaged one.
        """
        if self.spec.kind == "bundle":
            return bundles.read(Path(self.spec.where), stamps=records.stamps_folder())
        copy = self._copy
        return copy if copy and self._is_current(copy) else None

    @cached_property
    def _copy(self) -> Bundle | None:
        """Return what the cache has under this name, if it is whole and can be run."""
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

    def _is_current(self, copy: Bundle) -> bool:
        """Return whether the copy is of the files that the name means now."""
        record = self._record or records.find_any(self.spec.name)
        if record is not None:
            return record.info.fingerprint == copy.info.fingerprint
        # A hub's files may be gone and leave only the copy; a path may mean anything today.
        return self.spec.kind in {"tag", "hub"} and not records.has_moved_on(self.spec.name)

    @property
    def lacks_bundle(self) -> OpenClipEncoder | None:
        """The encoder, when it was loaded through torch although a bundle of it would be used if there were one."""
        loaded, copy = self._loaded, self._copy
        if loaded is None or self.choice.engine != AUTO or self.bundle is not None or not self._may_use_bundle:
            return None
        has_one = copy is not None and copy.info.fingerprint == loaded.info.fingerprint
        return None if has_one else cast("OpenClipEncoder", loaded)

    @property
    def _may_use_bundle(self) -> bool:
        choice = self.choice
        return not choice.runs_sources and self._suits_bundles and self._device_kind == "cpu"

    @property
    def _suits_bundles(self) -> bool:
        """Return whether the engine of bundles computes in the precision that was asked for."""
        engine = self.choice.spec or ENGINES[BUNDLE_ENGINE]
        return self.choice.precision == "auto" or self.choice.precision in engine.precisions

    @cached_property
    def _device_kind(self) -> str:
        """`cpu`, `cuda` or `mps`, as far as can be told without torch."""
        asked = self.choice.own_device.partition(":")[0]
        if asked != "auto":
            return asked
        return (accelerator() if has_packages("torch") else None) or "cpu"

    @property
    def _place(self) -> str:
        from clipcli.models import loader

        return loader.place_of(self.choice, self._device_kind)

    @cached_property
    def _record(self) -> Record | None:
        """Return what an earlier run learnt, where it was asked for the same."""
        return None if self.spec.kind == "bundle" else records.find(self.spec.name, self._place)

    @property
    def _known(self) -> Bundle | Record | None:
        """Return what tells enough without loading."""
        if self._loaded is not None:
            return None
        if self.bundle is not None:
            return self.bundle
        return None if self.choice.runs_bundles else self._record

    def _load(self) -> Encoder:
        if self.bundle is not None:
            return self._run_bundle(self.bundle)
        loaded, source = self._load_openclip()
        if self.choice.runs_bundles:
            return self._exported(loaded, source)
        return loaded

    def _load_openclip(self) -> tuple[OpenClipEncoder, ModelFiles]:
        from clipcli.models import loader

        choice = replace(self.choice, precision="fp32") if self.choice.runs_bundles else self.choice
        source, device = loader.find(self.spec, choice, self.console)
        encoder = loader.load(source, device, choice, self._record, self.console)
        self._source = source
        loader.remember(encoder, source, self._record, self._place)
        is_few = self.expected_images is not None and self.expected_images < FEW_IMAGES
        return replace(encoder, few_images=is_few), source

    def _exported(self, loaded: OpenClipEncoder, source: ModelFiles) -> Encoder:
        self.console.info(f"exporting {self.spec.name} for --engine {self.choice.engine}, once")
        made = export_to_cache(loaded, source.revision, self.spec.name)
        self.bundle = made
        return self._run_bundle(made)

    def _run_bundle(self, bundle: Bundle) -> Encoder:
        load = ENGINES[self.engine].load
        if load is None:
            raise TypeError(f"{self.engine} runs no bundles")
        images, texts = self.expected_images, self.expected_texts
        return load(bundle, expected_images=images, expected_texts=texts, precision=self._bundle_precision)

    def _check_bundle_engine(self) -> None:
        """Refuse what the engine cannot do. Raises UsageError, DeviceError."""
        choice = self.choice
        what = f"{self.spec.name} is a bundle: it" if self.spec.kind == "bundle" else f"--engine {choice.engine}"
        if choice.runs_sources:
            names = " or ".join(name for name, spec in ENGINES.items() if spec.needs_bundle)
            raise UsageError(f"{what} runs through {names} only", hint="leave out --engine")
        engine = choice.spec or ENGINES[BUNDLE_ENGINE]
        if choice.device != "auto" and choice.device.partition(":")[0] not in engine.devices:
            devices = "the CPU" if engine.devices == ("cpu",) else " or ".join(engine.devices)
            raise DeviceError(f"{what} runs on {devices} only", hint=f"--device {engine.devices[0]}")
        if choice.precision != "auto" and choice.precision not in engine.precisions:
            raise UsageError(f"{what} computes in {' or '.join(engine.precisions)}", hint="leave out --precision")
