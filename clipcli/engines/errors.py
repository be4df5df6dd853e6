"""Turn exceptions of torch, open_clip and file readers into errors that a user can act on."""

from __future__ import annotations

from contextlib import contextmanager
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError

from clipcli.errors import DeviceError, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.engines.checkpoint import ModelFiles
    from clipcli.engines.detector_files import DetectorFiles

_BAD_FILES = (
    RuntimeError, LookupError, EOFError, TypeError, ValueError, AttributeError, AssertionError, OSError, StopIteration,
    ArithmeticError,
)  # fmt: skip
"""Exceptions of open_clip, timm and torch for configs and weights that do not fit together."""
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


@contextmanager
def one_kind_of_memory_error() -> Iterator[None]:
    """Turn every "out of memory" error, of CUDA, MPS and the host, into a MemoryError."""
    try:
        yield
    except RuntimeError as error:
        if any(words in str(error) for words in _OUT_OF_MEMORY):
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            raise MemoryError(str(error).splitlines()[0]) from error
        raise


@contextmanager
def plain_words(source: ModelFiles | DetectorFiles) -> Iterator[None]:
    """Turn errors about a model's files into errors of one line that name the file.

    Raises:
        ModelError: the files are damaged, do not fit together, or would run code.
        DeviceError: the model does not fit into memory.
    """
    path = source.weights
    try:
        with one_kind_of_memory_error():
            yield
    except SafetensorError as error:
        raise ModelError(
            f"{path} is damaged or not a safetensors file: {_first_line(error)}",
            hint="download it again (clipcli models verify checks its hash)",
        ) from error
    except UnpicklingError as error:
        if "nsupported" not in str(error):
            raise ModelError(f"{path} is damaged or not a checkpoint", hint=_load_hint(error)) from error
        raise ModelError(
            f"{path} is a pickle with more than tensors; loading it would run its code",
            hint="convert it to safetensors if you trust it",
        ) from error
    except MemoryError as error:
        raise DeviceError(
            f"{source.name} does not fit into memory: {error}", hint="use a smaller model, or --precision fp16"
        ) from error
    except _BAD_FILES as error:
        raise ModelError(
            f"cannot load {source.name} from {path}: {_first_line(error)}", hint=_load_hint(error)
        ) from error
    except ImportError as error:
        raise ModelError(f"{source.name} needs a package that is not installed: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] if lines else type(error).__name__


def _load_hint(error: BaseException) -> str:
    if "state_dict" in str(error):
        return "these weights belong to another architecture"
    return "clipcli models verify checks whether the file is complete"
