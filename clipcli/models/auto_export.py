"""The fast-starting copy of a model that was loaded through torch: made once, by a background process."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from clipcli import __version__
from clipcli.core.console import Console
from clipcli.core.decode import decode, parse_json
from clipcli.core.files import is_there, make_private_folder, open_private, read_bytes
from clipcli.engines.registry import BUNDLE_ENGINE, ENGINES, SOURCE_ENGINE
from clipcli.errors import ModelError, OutputError
from clipcli.models import records
from clipcli.models.loader import attempt_file, export_to_cache
from clipcli.models.spec import Choice

if TYPE_CHECKING:
    from filelock import BaseFileLock

    from clipcli.engines.openclip import OpenClipEncoder
    from clipcli.models.model import Model

_FALSE_WORDS: Final = {"0", "false", "no", "off"}
_MAX_ATTEMPTS: Final = 3
"""Failed attempts after which the next one waits for a day: memory may not suffice, or the container ends first."""
_DAY_S: Final = 24 * 3600.0
_MAX_RUNTIME_S: Final = 3600.0
"""Time after which the background process ends itself."""
_MAX_FILE_BYTES: Final = 1 << 16
_NICENESS: Final = 10
_CHILD_CODE: Final = (
    "import sys; sys.path.pop(0) if sys.path[:1] == [''] else None; sys.path.append(sys.argv[3]); "
    "from clipcli.models.auto_export import main; main(*sys.argv[1:3])"
)
"""Removes the working folder from the import path: another user may write to it."""


@dataclass(frozen=True)
class ExportAttempts:
    """The attempts to make a copy; stored in a file beside its folder until one succeeds."""

    count: int = 0
    failure: str = ""
    """The reason why the last attempt failed; empty while it runs, or if it was killed."""
    version: str = ""
    """The version of clipcli that does not try again; empty if another attempt may succeed."""
    is_told: bool = False

    @classmethod
    def read(cls, path: Path) -> ExportAttempts:
        """Return the attempts in a file; none if it is absent, damaged or a day old."""
        try:
            attempts = decode(cls, parse_json(read_bytes(path, _MAX_FILE_BYTES)))
            is_recent = time.time() - path.stat().st_mtime <= _DAY_S
        except (OSError, ValueError):
            return cls()
        return attempts if is_recent or attempts.version else cls()

    def write(self, path: Path) -> None:
        """Replace the file. Raises OSError."""
        make_private_folder(path.parent)
        with open_private(path) as file:
            json.dump(asdict(self), file)


def export_if_due(model: Model) -> None:
    """Start a background process that makes the copy of a model which this run has loaded through torch.

    `CLIPCLI_AUTO_EXPORT=0` and continuous integration (`CI` set) turn it off. Of several processes one makes the copy.
    If a model cannot be exported, the next run reports it once, and this version does not try again. A failure here
    does not change the run's exit code.
    """
    encoder = model.encoder_to_export
    if encoder is None or not _is_enabled():
        return
    folder, console = records.bundle_folder(model.spec.name), model.console
    path, topic = attempt_file(folder), f"no fast-starting copy of {model.spec.name}"
    attempts = ExportAttempts.read(path)
    if attempts.failure and not attempts.is_told:
        console.info(f"{topic}: {attempts.failure}; the model keeps running through torch")
        with contextlib.suppress(OSError):
            replace(attempts, is_told=True).write(path)
    if attempts.version == __version__:
        console.debug(f"{topic}: it failed before")
    elif attempts.count >= _MAX_ATTEMPTS:
        console.debug(f"{topic}: {attempts.count} attempts failed; the next one is made tomorrow")
    elif _is_running(path):
        console.debug(f"{topic} yet: another process is making it")
    elif obstacle := _obstacle(encoder, folder):
        console.info(f"{topic}: {obstacle}")
    else:
        _start(model, encoder, path, attempts)


def _start(model: Model, encoder: OpenClipEncoder, path: Path, attempts: ExportAttempts) -> None:
    name = model.spec.name
    try:
        ExportAttempts(attempts.count + 1).write(path)
        _spawn(name, model.choice.weights_dir or "")
    except OSError:  # a cache that cannot be written, which the cache of vectors has told, or no more processes
        return
    model.console.info(
        f"a background process makes a fast-starting copy of {name} ({_weights_bytes(encoder) / 1e6:,.0f} MB), once, "
        "in half a minute or more (--no-auto-export turns it off)"
    )


def _spawn(name: str, weights_dir: str) -> None:
    """Start `main` in a process that outlives this one and holds none of its streams. Raises OSError."""
    windows = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    subprocess.Popen(
        [sys.executable, "-c", _CHILD_CODE, name, weights_dir, str(Path(__file__).parents[2])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        creationflags=windows,
    )


def main(name: str, weights_dir: str) -> None:
    """Make the copy in this process, unless another one is making it.

    Args:
        name: the model, `ModelSpec.name`.
        weights_dir: the folder of its weights; empty for huggingface_hub's own cache.
    """
    folder = records.bundle_folder(name)
    path = attempt_file(folder)
    lock = _lock(path)
    with contextlib.suppress(OSError, TimeoutError), lock.acquire(timeout=0):
        _lower_priority()
        make_copy(Choice(name, "cpu", offline=True, weights_dir=weights_dir or None), path)


def make_copy(choice: Choice, path: Path) -> None:
    """Load the model through torch and make its copy; a failure is stored in the file of attempts for the next run.

    Args:
        choice: the model, on the CPU and offline.
        path: the file of attempts.
    """
    from clipcli.models.model import Model

    console = Console(quiet=True)
    try:
        if Model(choice, console).bundle is None:
            model = Model(replace(choice, precision="fp32", engine=SOURCE_ENGINE), console)
            export_to_cache(cast("OpenClipEncoder", model.encoder), model.revision, model.spec.name)
    except OutputError as error:
        _keep_failure(path, error.message, is_final=False)
    except Exception as error:  # noqa: BLE001 - nobody reads this process's output; the next run reports it
        reason = error.message if isinstance(error, ModelError) else f"{type(error).__name__}: {error}".split("\n")[0]
        _keep_failure(path, reason, is_final=True)


def _keep_failure(path: Path, reason: str, *, is_final: bool) -> None:
    count = ExportAttempts.read(path).count
    with contextlib.suppress(OSError):
        ExportAttempts(count, reason, __version__ if is_final else "").write(path)


def _lower_priority() -> None:
    """Lower the priority, be killed first when memory runs out, and end within an hour."""
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    watch = threading.Timer(_MAX_RUNTIME_S, os._exit, (1,))
    watch.daemon = True
    watch.start()


def _lock(path: Path) -> BaseFileLock:
    """Return the lock that an exporting process holds until it ends, also if it is killed."""
    from filelock import FileLock

    return FileLock(path.with_suffix(".lock"))


def _is_running(path: Path) -> bool:
    try:
        make_private_folder(path.parent)
        with _lock(path).acquire(timeout=0):
            return False
    except TimeoutError:
        return True
    except OSError:  # a cache that cannot be written: nobody makes a copy
        return False


def _is_enabled() -> bool:
    setting = os.environ.get("CLIPCLI_AUTO_EXPORT", "").strip().casefold()
    if setting:
        return setting not in _FALSE_WORDS
    if os.getpid() == 1:  # the only process of a container, which ends with it
        return False
    return os.environ.get("CI", "").strip().casefold() in {"", *_FALSE_WORDS}


def _obstacle(encoder: OpenClipEncoder, folder: Path) -> str:
    """Return why the copy cannot be made, as far as that can be checked beforehand; empty if nothing is known."""
    if not ENGINES[BUNDLE_ENGINE].is_installed():
        return "ONNX Runtime is not installed (pip install onnxruntime)"
    parent = next(parent for parent in folder.parents if is_there(parent))
    needed_bytes, free_bytes = _weights_bytes(encoder), shutil.disk_usage(parent).free
    if free_bytes >= 1.1 * needed_bytes:
        return ""
    return f"it needs {needed_bytes / 1e9:.1f} GB, and {parent} has {free_bytes / 1e9:.1f} GB left"


def _weights_bytes(encoder: OpenClipEncoder) -> int:
    """Return the size of the weights in bytes."""
    return sum(weight.numel() * weight.element_size() for weight in encoder.model.parameters())
