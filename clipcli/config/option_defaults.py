"""Default values of options from the config file; the command line and the environment take precedence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipcli.config import load_config
from clipcli.core.console import Console

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clipcli.config import Config

Values = dict[str, object]

_OWN_WAY = {"check", "apply", "undo"}
"""Commands without defaults from the file: `check` reads it itself, and a plan is applied as it is."""
_WITH_PROMPTS = {"classify", "calibrate"}
"""Commands that use `prompts` from the file; for others, no prompts is a meaningful default."""
_VECTORS = {"embed", "merge"}
"""Commands whose `--format` is a format of vectors."""


def file_defaults(commands: Mapping[str, frozenset[str]], *, verbose: bool) -> dict[str, Values]:
    """Return for each command the values of this folder's config file that are options of the command.

    Args:
        commands: command name (`models pull` for a subcommand) → its options.
        verbose: print the values and their file to stderr.

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
    """Return the file's values in the form of the option parser; file names are relative to the config file."""
    defaults = config.defaults
    values_by_option: Values = {
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
