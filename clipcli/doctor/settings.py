"""What is set: variables of the environment, and the config file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from clipcli.config import NAME, foreign_config, load_config
from clipcli.defaults import config_values
from clipcli.doctor.rows import Finding
from clipcli.environment import VARIABLES
from clipcli.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator


def environment() -> Iterator[Finding]:
    """The variables that are set, secrets unspoken."""
    for variable in VARIABLES:
        value = os.environ.get(variable.name)
        if value is not None:
            yield Finding("environment", variable.name, "set, not shown" if variable.secret else value)


def config_file() -> Iterator[Finding]:
    """The file that rules the working folder, its defaults, and how many checks it holds."""
    try:
        config = load_config()
    except ConfigError as error:
        yield Finding("config", "file", error.message, ok=False)
        return
    if foreign := foreign_config():
        yield Finding("config", "passed over", f"{foreign}: it belongs to another user")
    if config.path is None:
        yield Finding("config", "file", f"none: no {NAME} and no [tool.clipcli] rules this folder")
        return
    yield Finding("config", "file", config.path)
    for name, value in config_values(config).items():
        yield Finding("config", name, ", ".join(value) if isinstance(value, list) else str(value))
    yield Finding("config", "checks", ", ".join(check.name for check in config.checks) or "none")
