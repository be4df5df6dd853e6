"""clipcli.toml, or `[tool.clipcli]` in pyproject.toml: defaults of options, and the checks for `clipcli check`.

location.py          where the file is; all that a start without one imports
load.py              the file → a checked `Config`
schema.py            keys with the types of their values, and the dataclasses they become
option_defaults.py   defaults of options, from environment variables and the file
"""
