"""Defaults from the config file become defaults of the options; the command line and the environment go before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipcli.config import load_config
from clipcli.core.console import Console

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clipcli.config import Config

Values = dict[str, object]

_OWN_WAY = {"check", "apply", "undo"}
"""`check` reads the file itself, `--config` and all; what a plan says is done as it says."""
_WITH_PROMPTS = {"classify", "calibrate"}
"""Elsewhere no prompts is the default, and means something."""
_VECTORS = {"embed", "merge"}
"""Their formats are those of vectors."""


def file_defaults(commands: Mapping[str, frozenset[str]], *, verbose: bool) -> dict[str, Values]:
    """For each command, the values of the config file that rules this folder which are options of that command.

    Args:
        commands: by name (`models pull` for a verb of a group), the options that each has.
        verbose: say on stderr which file set what.

    Raises:
        ConfigError: the file cannot be used.
    """
    if commands.keys() <= _OWN_WAY:
        return {}
    config = load_config()
    values = config_values(config)
    if verbose and values:
        settings = ", ".join(f"{name} = {value}" for name, value in values.items())
        Console(verbose=True).debug(f"defaults of {config.path}: {settings}")
    return {
        name: {key: values[key] for key in values if _holds(key, name, options)} for name, options in commands.items()
    }


def _holds(key: str, command: str, options: frozenset[str]) -> bool:
    if key not in options:
        return False
    if key == "format":
        return command not in _VECTORS
    return key != "prompts" or command in _WITH_PROMPTS


def config_values(config: Config) -> Values:
    """Return what the file sets, as the option parser takes it; file names are relative to the config file."""
    defaults = config.defaults
    every: Values = {
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
    return {name: value for name, value in every.items() if value is not None}
