"""The model options, checked before anything is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

from clipcli import bundle as bundles
from clipcli.core.optional_packages import has_packages
from clipcli.core.suggest import did_you_mean
from clipcli.engines.registry import AUTO, ENGINES
from clipcli.errors import UsageError
from clipcli.models import records
from clipcli.models.catalogue import DEFAULT_MODEL

if TYPE_CHECKING:
    from clipcli.engines.registry import EngineSpec

Precision = Literal["auto", "fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class Choice:
    """The user's choice of model, device, precision and engine."""

    model: str
    device: str = "auto"
    precision: Precision = "auto"
    engine: str = AUTO
    """`auto`, or a name of `ENGINES`."""
    offline: bool = False
    weights_dir: str | None = None
    """The folder of downloaded weights; None is huggingface_hub's own cache."""
    is_substitute: bool = False
    """Whether no model was named, and `tiny` replaces the default model because torch is not installed."""

    @property
    def spec(self) -> EngineSpec | None:
        """Return the chosen engine's capabilities; None for `auto`."""
        return None if self.engine == AUTO else ENGINES[self.engine]

    @property
    def runs_bundles(self) -> bool:
        """Return whether the chosen engine runs bundles only."""
        return self.spec is not None and self.spec.needs_bundle

    @property
    def runs_sources(self) -> bool:
        """Return whether the chosen engine runs only a model's own files."""
        return self.spec is not None and not self.spec.needs_bundle

    @property
    def own_device(self) -> str:
        """Return the chosen device, or the engine's only device."""
        spec = self.spec
        return spec.devices[0] if spec is not None and len(spec.devices) == 1 else self.device


_PRECISIONS = ("auto", "fp32", "fp16", "bf16")
_ENGINES = (AUTO, *ENGINES)
_DEVICES = ("auto", "cpu", "cuda", "mps")


def parse_choice(
    model: str, device: str, precision: str, engine: str, *, offline: bool, weights_dir: str | None
) -> Choice:
    """Return the checked model options; an empty name means the default model, or `tiny` if that cannot run here.

    Raises:
        UsageError: a device, precision or engine that does not exist.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise _no_such("device", device, (*_DEVICES, "cuda:0"))
    if precision not in _PRECISIONS:
        raise _no_such("precision", precision, _PRECISIONS)
    if engine not in _ENGINES:
        raise _no_such("engine", engine, _ENGINES)
    named = Choice(model, device, cast("Precision", precision), engine, offline, weights_dir)
    if model:
        return named
    needs_torch = device.startswith(("cuda", "mps")) or precision in {"bf16", "fp16"} or named.runs_sources
    is_substitute = not needs_torch and not _default_runs()
    return replace(named, model="tiny" if is_substitute else DEFAULT_MODEL, is_substitute=is_substitute)


def _default_runs() -> bool:
    """Return whether the default model can run here: through torch, or as the fast-starting copy of an earlier run."""
    return has_packages("torch") or bundles.is_bundle(records.bundle_folder(DEFAULT_MODEL))


def _no_such(kind: str, word: str, allowed: tuple[str, ...]) -> UsageError:
    return UsageError(f"no {kind} {word!r}", hint=f"{did_you_mean(word, allowed)} one of {', '.join(allowed)}".strip())
