"""clipcli.toml, or `[tool.clipcli]` in pyproject.toml: defaults of options, and the checks for `clipcli check`."""

from clipcli.config.load import NAME as NAME
from clipcli.config.load import find_config as find_config
from clipcli.config.load import foreign_config as foreign_config
from clipcli.config.load import load_config as load_config
from clipcli.config.schema import CheckSpec as CheckSpec
from clipcli.config.schema import Config as Config
from clipcli.config.schema import Defaults as Defaults
from clipcli.config.schema import DuplicateLevel as DuplicateLevel
