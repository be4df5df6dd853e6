"""The TOML parser: the standard library's, or on Python 3.10 the package that became it."""

from __future__ import annotations

import sys
from typing import Any, cast

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TomlError: type[ValueError] = tomllib.TOMLDecodeError


def parse(text: str) -> dict[str, Any]:
    """A TOML text as nested dicts. Raises TomlError."""
    return cast("dict[str, Any]", tomllib.loads(text))
