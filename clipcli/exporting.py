"""A loaded model becomes a bundle: on request, or once by itself after a run's results are out."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Literal

from clipcli import records
from clipcli.errors import ClipcliError

if TYPE_CHECKING:
    from pathlib import Path

    from clipcli.bundle import Bundle
    from clipcli.engines.openclip import OpenClipEncoder
    from clipcli.models import Model


def export_source(
    encoder: OpenClipEncoder,
    revision: str | None,
    folder: Path,
    precision: Literal["fp32", "fp16"] = "fp32",
    name: str | None = None,
) -> Bundle:
    """Write a loaded model as a bundle, after it has passed its parity check; `name` is what it will call itself.

    Raises:
        ModelError: this architecture cannot be exported, or the copy does not give the same vectors.
        OutputError: the folder cannot be written.
    """
    from clipcli.engines import export

    stamps = records.stamps_folder()
    return export.export(encoder, folder, precision=precision, revision=revision, name=name, stamps=stamps)


def export_if_due(model: Model) -> None:
    """Make the fast-starting copy of a model that was loaded through torch, once; the results are out already.

    `CLIPCLI_AUTO_EXPORT=0` and continuous integration (`CI` set) turn it off. A model that cannot be exported is
    noted, and not tried again.
    """
    wanted = os.environ.get("CLIPCLI_AUTO_EXPORT", "0" if os.environ.get("CI") else "1") != "0"
    folder = records.bundle_folder(model.spec.name)
    failed = folder.parent / f"{folder.name}.failed"
    encoder = model.lacks_bundle
    if not wanted or encoder is None or failed.exists():
        return
    _close_stdout()
    how = "Ctrl-C skips it, CLIPCLI_AUTO_EXPORT=0 turns it off"
    model.talk.note(f"making a fast-starting copy of {model.spec.name}, once ({how})")
    try:
        export_source(encoder, model.revision, folder)
    except ClipcliError as error:
        model.talk.note(f"no fast-starting copy: {error.message}; the model keeps running through torch")
        with contextlib.suppress(OSError):
            failed.parent.mkdir(parents=True, exist_ok=True)
            failed.touch()
    except KeyboardInterrupt:
        model.talk.note("skipped; the next run offers it again")


def _close_stdout() -> None:
    """Whoever reads our output gets its end now, not after what is still to do."""
    sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
