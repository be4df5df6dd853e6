"""Words of the model options, checked before anything is loaded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from clipcli.errors import UsageError
from clipcli.models import Choice
from clipcli.spelling import did_you_mean

if TYPE_CHECKING:
    from clipcli.models import Engine

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
