"""Default values of options, from environment variables and the config file; the command line takes precedence.

`VARIABLES` lists every environment variable that a run reads. A test compares it with the code and
docs/configuration.md.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from clipcli.config.location import find_config, named_config
from clipcli.core.console import Console
from clipcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clipcli.config.schema import Config


class Variable(NamedTuple):
    """One environment variable."""

    name: str
    meaning: str
    secret: bool = False
    """Do not print its value."""
    foreign: bool = False
    """Read by a library, not by clipcli itself."""


VARIABLES = (
    Variable(
        "CLIPCLI_CONFIG",
        "default of `--config`, for every command: use this config file and do not search for one",
    ),
    Variable("CLIPCLI_MODEL", "default of `--model`; in `check`, the model of checks without one"),
    Variable("CLIPCLI_DEVICE", "default of `--device`"),
    Variable("CLIPCLI_PRECISION", "default of `--precision`"),
    Variable("CLIPCLI_ENGINE", "default of `--engine`"),
    Variable(
        "CLIPCLI_FORMAT",
        "default of `--format`, unless `-o FILE` or `--paths` sets it; not for `embed` and `merge`",
    ),
    Variable("CLIPCLI_BATCH_SIZE", "default of `--batch-size`, also for `check`"),
    Variable("CLIPCLI_WORKERS", "default of `--workers`, also for `check`"),
    Variable("CLIPCLI_WEIGHTS_DIR", "default of `--weights-dir`; without it the Hugging Face cache"),
    Variable("CLIPCLI_NO_CACHE", "default of `--no-cache`: 1 turns the cache of vectors off"),
    Variable("CLIPCLI_OFFLINE", "default of `--offline`: 1 forbids connections"),
    Variable(
        "CLIPCLI_CACHE_DIR", "default of `--cache-dir`: clipcli's cache of vectors, bundles and model descriptions"
    ),
    Variable(
        "CLIPCLI_CACHE_MAX_SIZE",
        "default of `--cache-max-size`: size limit of the cache of vectors, such as `500M`; otherwise 2GB",
    ),
    Variable("CLIPCLI_CACHE_DTYPE", "default of `--cache-dtype`: `float32` (the default) or `float16`"),
    Variable(
        "CLIPCLI_AUTO_EXPORT",
        "default of `--auto-export`: 0 disables fast-starting copies of models, 1 enables them in CI too",
    ),
    Variable(
        "CLIPCLI_REMOTE_TIMEOUT",
        "default of `--remote-timeout`: seconds that a request to a URL may take; otherwise 60",
    ),
    Variable("CI", "set by CI servers: means `CLIPCLI_AUTO_EXPORT=0` if that is not set; `false` means no CI"),
    Variable("GITHUB_ACTIONS", "set to `true` by GitHub: failing images are marked in the pull request"),
    Variable("TF_BUILD", "set by Azure Pipelines: as with `CI`, commands to the server in file names are disarmed"),
    Variable(
        "GITHUB_WORKSPACE", "set by GitHub: the base of paths in marks and reports; otherwise the folder with `.git`"
    ),
    Variable("SUDO_UID", "set by sudo: root also trusts config files and repositories of that user"),
    Variable("XDG_DATA_HOME", "Linux: the parent folder of the trash; otherwise `~/.local/share`"),
    Variable(
        "XDG_STATE_HOME",
        "Linux: the parent folder of the key for journals; otherwise `~/.local/state`",
        foreign=True,
    ),
    Variable("XDG_CACHE_HOME", "Linux: the parent folder of caches; otherwise `~/.cache`", foreign=True),
    Variable("HF_HOME", "the folder of the hub's files: weights, token", foreign=True),
    Variable("HF_HUB_CACHE", "the folder of the hub's weights; otherwise `HF_HOME/hub`", foreign=True),
    Variable("HF_HUB_OFFLINE", "1: the same as `--offline`"),
    Variable("HF_TOKEN", "the token for gated and private repositories", secret=True, foreign=True),
    Variable("HF_ENDPOINT", "the address of another hub than huggingface.co", foreign=True),
    Variable("HTTPS_PROXY", "the proxy for connections to the hub", secret=True, foreign=True),
    Variable("RAY_ADDRESS", "the cluster of `--ray auto`", foreign=True),
    Variable("RAY_USE_TLS", "1: use TLS with the cluster of `--ray`", foreign=True),
    Variable("CUDA_VISIBLE_DEVICES", "NVIDIA devices that may be used", foreign=True),
    Variable("OMP_NUM_THREADS", "number of threads of torch and ONNX Runtime", foreign=True),
    Variable("ORT_DISABLE_TELEMETRY", "clipcli sets it to 1: ONNX Runtime sends no telemetry", foreign=True),
    Variable("NO_COLOR", "no colours in tables", foreign=True),
    Variable("TERM", "the type of the terminal; `dumb`: no progress bars; `dumb` or empty: no previews"),
    Variable("COLUMNS", "width of tables and of `--help`", foreign=True),
)

_FOR_LOWER_LAYERS = ("cache_dir", "cache_max_size", "cache_dtype", "auto_export", "remote_timeout")
"""Options whose values lower layers and child processes read from the environment."""


@contextmanager
def options_as_variables(values: Mapping[str, object]) -> Iterator[None]:
    """Set the environment variables of the given options while a command runs.

    Args:
        values: all options of the command by name; an option without a value leaves its variable unchanged.
    """
    variables = {variable_of(name): _text(values[name]) for name in _FOR_LOWER_LAYERS if values.get(name) is not None}
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
    """Return the environment variable of an option: `batch_size` or `--batch-size` → `CLIPCLI_BATCH_SIZE`."""
    return "CLIPCLI_" + option.removeprefix("--").replace("-", "_").upper()


def whole_number(option: str) -> int | None:
    """Return the value of an option's variable as an integer; None if it is not set.

    Raises:
        UsageError: it is not an integer above 0.
    """
    value = os.environ.get(variable_of(option))
    if not value:
        return None
    if not value.isascii() or not value.isdecimal() or not int(value):
        raise UsageError(f"{variable_of(option)} cannot be {value!r}", hint="a whole number above 0")
    return int(value)


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


OptionValues = dict[str, object]

_WITHOUT_DEFAULTS = {"check", "apply", "undo"}
"""Commands without defaults from the file: `check` reads it itself, and a plan is applied as it is."""
_WITH_PROMPTS = {"classify", "calibrate"}
"""Commands that use `prompts` from the file; for others, no prompts is a meaningful default."""
_WITH_VECTOR_FORMAT = {"embed", "merge"}
"""Commands whose `--format` is a format of vectors."""


def file_defaults(commands: Mapping[str, frozenset[str]], *, verbose: bool) -> dict[str, OptionValues]:
    """Return for each command the values of this folder's config file that are options of the command.

    Args:
        commands: command name (`models pull` for a subcommand) → its options.
        verbose: print the values and their file to stderr.

    Raises:
        ConfigError: the file cannot be used.
    """
    if commands.keys() <= _WITHOUT_DEFAULTS:
        return {}
    if named_config() is None and find_config() is None:
        return {}
    from clipcli.config.load import load_config  # most folders have no such file

    config = load_config()
    values = config_values(config)
    if verbose and values:
        settings = ", ".join(f"{name} = {value}" for name, value in values.items())
        Console(verbose=True).debug(f"defaults of {config.path}: {settings}")
    return {
        name: {key: values[key] for key in values if _applies(key, name, options)} for name, options in commands.items()
    }


def _applies(key: str, command: str, options: frozenset[str]) -> bool:
    if key not in options:
        return False
    if key == "format":
        return command not in _WITH_VECTOR_FORMAT
    return key != "prompts" or command in _WITH_PROMPTS


def config_values(config: Config) -> OptionValues:
    """Return the file's values in the form of the option parser; file names are relative to the config file."""
    defaults = config.defaults
    values_by_option: OptionValues = {
        "model": config.model_beside(defaults.model) if defaults.model else None,
        "device": defaults.device,
        "precision": defaults.precision,
        "engine": defaults.engine,
        "offline": defaults.offline,
        "weights_dir": config.weights_dir,
        "prompts": [config.beside(name) for name in defaults.prompts] or None,
        "format": defaults.format,
        "batch_size": defaults.batch_size,
        "workers": defaults.workers,
    }
    return {name: value for name, value in values_by_option.items() if value is not None}
