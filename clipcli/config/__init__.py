"""clipcli.toml, or `[tool.clipcli]` in pyproject.toml: defaults, and the checks that `clipcli check` runs."""

from clipcli.config.reading import NAME as NAME
from clipcli.config.reading import find_config as find_config
from clipcli.config.reading import foreign_config as foreign_config
from clipcli.config.reading import load_config as load_config
from clipcli.config.spec import CheckSpec as CheckSpec
from clipcli.config.spec import Config as Config
from clipcli.config.spec import Defaults as Defaults
from clipcli.config.spec import DuplicateLevel as DuplicateLevel
