"""Words of the model options, checked before anything is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from clipcli.core.suggest import did_you_mean
from clipcli.errors import UsageError

Engine = Literal["auto", "onnx", "openclip"]


@dataclass(frozen=True)
class Choice:
    """What the user asked of the model."""

    model: str
    device: str = "auto"
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    engine: Engine = "auto"
    offline: bool = False
    weights_dir: str | None = None
    """Where weights are kept; None is huggingface_hub's own cache."""


_PRECISIONS = ("auto", "fp32", "fp16", "bf16")
_ENGINES = ("auto", "onnx", "openclip")
_DEVICES = ("auto", "cpu", "cuda", "mps")


def parse_choice(
    model: str, device: str, precision: str, engine: str, *, offline: bool, cache_dir: str | None
) -> Choice:
    """The model options as one value.

    Raises:
        UsageError: a device, precision or engine that does not exist.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise _no_such("device", device, (*_DEVICES, "cuda:0"))
    if precision not in _PRECISIONS:
        raise _no_such("precision", precision, _PRECISIONS)
    if engine not in _ENGINES:
        raise _no_such("engine", engine, _ENGINES)
    return Choice(model, device, cast("Choice", precision), cast("Engine", engine), offline, cache_dir)  # type: ignore[arg-type]


def _no_such(what: str, word: str, known: tuple[str, ...]) -> UsageError:
    return UsageError(f"no {what} {word!r}", hint=f"{did_you_mean(word, known)} one of {', '.join(known)}".strip())
