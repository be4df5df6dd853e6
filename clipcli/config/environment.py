"""Every environment variable that a run listens to, compared by a test with the code and with docs/configuration.md."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class Variable:
    """One environment variable."""

    name: str
    meaning: str
    secret: bool = False
    """Its value is never shown."""
    foreign: bool = False
    """Read by a library below clipcli, not by clipcli itself."""


VARIABLES = (
    Variable(
        "CLIPCLI_CONFIG",
        "default of `--config`, for every command: the config file to use instead of the one that would be found",
    ),
    Variable("CLIPCLI_MODEL", "default of `--model`; in `check`, of checks that name no model"),
    Variable("CLIPCLI_DEVICE", "default of `--device`"),
    Variable("CLIPCLI_PRECISION", "default of `--precision`"),
    Variable("CLIPCLI_ENGINE", "default of `--engine`"),
    Variable(
        "CLIPCLI_FORMAT",
        "default of `--format` of rows, unless `-o FILE` or `--paths` sets it; not for `embed` and `merge`",
    ),
    Variable("CLIPCLI_BATCH_SIZE", "default of `--batch-size`, also for `check`"),
    Variable("CLIPCLI_WORKERS", "default of `--workers`, also for `check`"),
    Variable("CLIPCLI_WEIGHTS_DIR", "default of `--weights-dir`; without it the Hugging Face cache"),
    Variable("CLIPCLI_NO_CACHE", "default of `--no-cache`: 1 turns the cache of vectors off"),
    Variable("CLIPCLI_OFFLINE", "default of `--offline`: 1 opens no connection"),
    Variable(
        "CLIPCLI_CACHE_DIR", "default of `--cache-dir`: clipcli's own cache of vectors, bundles and facts about models"
    ),
    Variable(
        "CLIPCLI_CACHE_MAX_SIZE",
        "default of `--cache-max-size`: size limit of the cache of vectors, such as `500M`; 2GB without it",
    ),
    Variable("CLIPCLI_CACHE_DTYPE", "default of `--cache-dtype`: `float32` (without it) or `float16`"),
    Variable(
        "CLIPCLI_AUTO_EXPORT",
        "default of `--auto-export`: 0 makes no fast-starting copies of models, 1 makes them in CI too",
    ),
    Variable(
        "CLIPCLI_REMOTE_TIMEOUT",
        "default of `--remote-timeout`: seconds that a request to a URL may take; 60 without it",
    ),
    Variable("CI", "set by CI servers: as `CLIPCLI_AUTO_EXPORT=0` where that is not set; `false` is not CI"),
    Variable("GITHUB_ACTIONS", "set to `true` there: failing images are marked in the pull request"),
    Variable(
        "TF_BUILD", "set by Azure Pipelines; there, and where `CI` is set, no name in the output can command the server"
    ),
    Variable(
        "GITHUB_WORKSPACE", "set there: paths in marks and reports start here, elsewhere at the folder with `.git`"
    ),
    Variable("SUDO_UID", "set by sudo: as root, config files and repositories of that user count too"),
    Variable("XDG_DATA_HOME", "Linux: the folder above the trash; `~/.local/share` without it"),
    Variable(
        "XDG_STATE_HOME",
        "Linux: the folder above the key of journals; `~/.local/state` without it",
        foreign=True,
    ),
    Variable("XDG_CACHE_HOME", "Linux: the folder above the caches; `~/.cache` without it", foreign=True),
    Variable("HF_HOME", "the hub's files: weights, token", foreign=True),
    Variable("HF_HUB_CACHE", "the hub's weights alone; `HF_HOME/hub` without it", foreign=True),
    Variable("HF_HUB_OFFLINE", "1: as `--offline`"),
    Variable("HF_TOKEN", "pass for gated and private repositories", secret=True, foreign=True),
    Variable("HF_ENDPOINT", "another hub than huggingface.co", foreign=True),
    Variable("HTTPS_PROXY", "a proxy on the way to the hub", secret=True, foreign=True),
    Variable("RAY_ADDRESS", "the cluster of `--ray auto`", foreign=True),
    Variable("RAY_USE_TLS", "1: the cluster of `--ray` speaks TLS", foreign=True),
    Variable("CUDA_VISIBLE_DEVICES", "NVIDIA devices that may be used", foreign=True),
    Variable("OMP_NUM_THREADS", "threads of torch and ONNX Runtime", foreign=True),
    Variable(
        "ORT_DISABLE_TELEMETRY", "1, which clipcli sets: ONNX Runtime reports nothing to its makers", foreign=True
    ),
    Variable("NO_COLOR", "no colours in tables", foreign=True),
    Variable("TERM", "the kind of terminal; `dumb`: no progress bars; `dumb` or empty: no previews"),
    Variable("COLUMNS", "width of tables and of `--help`", foreign=True),
)

_KEPT = ("cache_dir", "cache_max_size", "cache_dtype", "auto_export", "remote_timeout")
"""Options whose values the lower layers, and processes that they start, read from the environment."""


@contextmanager
def options_as_variables(given: Mapping[str, object]) -> Iterator[None]:
    """Set the variables of the options that were given, as long as a command runs.

    Args:
        given: all options of the command by name; those without a value leave their variable alone.
    """
    variables = {variable_of(name): _text(given[name]) for name in _KEPT if given.get(name) is not None}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def variable_of(option: str) -> str:
    """Return the variable that is the default of an option: `batch_size` or `--batch-size` → `CLIPCLI_BATCH_SIZE`."""
    return "CLIPCLI_" + option.removeprefix("--").replace("-", "_").upper()


def whole_number(option: str) -> int | None:
    """Return the variable of an option that a command does not offer; None where it is not set.

    Raises:
        UsageError: it is no whole number above 0.
    """
    value = os.environ.get(variable_of(option))
    if not value:
        return None
    if not value.isascii() or not value.isdecimal() or not int(value):
        raise UsageError(f"{variable_of(option)} cannot be {value!r}", hint="a whole number above 0")
    return int(value)


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
