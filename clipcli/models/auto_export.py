"""A loaded model becomes a bundle: on request, or once by itself after a run's results are out."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

from clipcli import __version__
from clipcli.cache import make_folder, open_file
from clipcli.core.files import is_there
from clipcli.engines.registry import BUNDLE_ENGINE, ENGINES
from clipcli.errors import ModelError, OutputError
from clipcli.models import records
from clipcli.models.loader import attempt_mark, export_to_cache

if TYPE_CHECKING:
    from pathlib import Path

    from clipcli.engines.openclip import OpenClipEncoder
    from clipcli.models.model import Model

_NO = {"0", "false", "no", "off"}
_AT_WORK = "at work"
_FAILED = f"failed in clipcli {__version__}"
"""Another version may succeed."""
_FORGOTTEN_S = 24 * 3600.0
"""An attempt of so long ago was killed, and may be made again."""


def export_if_due(model: Model) -> None:
    """Make the fast-starting copy of a model that was loaded through torch, once; the results are out already.

    `CLIPCLI_AUTO_EXPORT=0` and continuous integration (`CI` set) turn it off. Of several processes one makes it. A
    model that cannot be exported is noted, and not tried again; nor, for a day, is one whose export was killed, as it
    is where memory does not suffice. Nothing that goes wrong here changes how the run ends.
    """
    encoder = model.lacks_bundle
    if encoder is None or not _is_wanted():
        return
    folder = records.bundle_folder(model.spec.name)
    obstacle = _obstacle(encoder, folder)
    if obstacle:
        model.console.info(f"no fast-starting copy of {model.spec.name}: {obstacle}")
    elif _claim(attempt_mark(folder)):
        _close_stdout()
        _make(model, encoder, attempt_mark(folder))
    else:
        model.console.debug(f"no fast-starting copy of {model.spec.name}: another run is at it, or it failed before")


def _make(model: Model, encoder: OpenClipEncoder, mark: Path) -> None:
    console, started = model.console, time.monotonic()
    try:
        console.info(
            f"making a fast-starting copy of {model.spec.name} ({_size(encoder) / 1e6:,.0f} MB), once; the answers are "
            "complete (Ctrl-C skips this, CLIPCLI_AUTO_EXPORT=0 turns it off)"
        )
        export_to_cache(encoder, model.revision, model.spec.name)
    except KeyboardInterrupt:
        mark.unlink(missing_ok=True)
        console.info("skipped; the next run that loads the model offers it again")
    except OutputError as error:
        mark.unlink(missing_ok=True)
        console.info(f"no fast-starting copy: {error.message}; the model keeps running through torch")
    except Exception as error:  # noqa: BLE001 - the run has ended well, whatever becomes of the copy
        _keep_failure(mark)
        reason = error.message if isinstance(error, ModelError) else f"{type(error).__name__}: {error}".split("\n")[0]
        console.info(f"no fast-starting copy: {reason}; the model keeps running through torch")
    else:
        console.info(f"made in {time.monotonic() - started:.0f} s; later runs start from it")


def _is_wanted() -> bool:
    said = os.environ.get("CLIPCLI_AUTO_EXPORT", "").strip().casefold()
    if said:
        return said not in _NO
    return os.environ.get("CI", "").strip().casefold() in {"", *_NO}


def _obstacle(encoder: OpenClipEncoder, folder: Path) -> str:
    """Return what can be seen before the work starts."""
    if not ENGINES[BUNDLE_ENGINE].is_installed():
        return "ONNX Runtime is not installed (pip install onnxruntime)"
    size, place = _size(encoder), next(parent for parent in folder.parents if is_there(parent))
    free = shutil.disk_usage(place).free
    return f"it needs {size / 1e9:.1f} GB, and {place} has {free / 1e9:.1f} GB left" if free < 1.1 * size else ""


def _size(encoder: OpenClipEncoder) -> int:
    """Bytes of the weights."""
    return sum(weight.numel() * weight.element_size() for weight in encoder.model.parameters())


def _claim(mark: Path) -> bool:
    """Return whether the attempt is this process's to make."""
    try:
        if is_there(mark) and _is_over(mark):
            mark.unlink(missing_ok=True)
        make_folder(mark.parent)
        with open_file(mark, "x") as file:
            file.write(_AT_WORK)
    except OSError:  # it is there, or a cache that cannot be written, which the cache of vectors has told
        return False
    return True


def _is_over(mark: Path) -> bool:
    """Return whether an earlier attempt says nothing any more. Raises OSError where it is gone."""
    said = mark.read_text(encoding="utf-8", errors="replace")
    return time.time() - mark.stat().st_mtime > _FORGOTTEN_S if said == _AT_WORK else said != _FAILED


def _keep_failure(mark: Path) -> None:
    with contextlib.suppress(OSError), open_file(mark) as file:
        file.write(_FAILED)


def _close_stdout() -> None:
    """Whoever reads our output gets its end now, not after what is still to do."""
    sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
