"""Find a config file and read it; what is wrong is named with file, line and the nearest key."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipcli.config.schema import CHECK_KEYS, CHECKS, DEFAULT_KEYS, LABEL_KEYS, ConfigFaults, lines_of
from clipcli.config.settings import CheckSpec, Config, Defaults
from clipcli.config.trust import forbidden, is_own
from clipcli.core.decode import DecodeError, parse_toml
from clipcli.core.files import is_file, is_there
from clipcli.core.suggest import nearest
from clipcli.errors import ConfigError
from clipcli.inputs.text_files import Fault, read_text, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clipcli.config.schema import Place

NAME = "clipcli.toml"
_PYPROJECT = "pyproject.toml"
_SECTION = ("tool", "clipcli")


def find_config(start: str = ".") -> str | None:
    """Return the config file that rules a folder, if there is one.

    clipcli.toml, else a pyproject.toml with `[tool.clipcli]`, in the folder or in one above it as far as the top of the
    repository; outside of a repository the folder alone counts. Files and repositories of another user do not count.
    """
    return next((os.path.relpath(path) for path in _candidates(start) if is_own(path)), None)


def foreign_config(start: str = ".") -> str | None:
    """Return a config file that `find_config` passes over because it belongs to another user."""
    return next((os.path.relpath(path) for path in _candidates(start) if not is_own(path)), None)


def _candidates(start: str) -> Iterator[Path]:
    here = Path(start).absolute()
    above = [here, *here.parents]
    marks = ((depth, folder / ".git") for depth, folder in enumerate(above))
    top = next((depth for depth, mark in marks if is_there(mark) and is_own(mark)), 0)
    for folder in above[: top + 1]:
        if is_file(folder / NAME):
            yield folder / NAME
        if _has_section(folder / _PYPROJECT):
            yield folder / _PYPROJECT


def load_config(path: str | None = None) -> Config:
    """Read a config file; without a name the one of `CLIPCLI_CONFIG`, or that `find_config` finds, or an empty config.

    Raises:
        ConfigError: the file cannot be read, is not TOML, holds unknown keys, values of the wrong kind or a check that
            checks nothing, or was found and says what only a file that was named may; names the file, the line and the
            nearest key.
    """
    named = path or os.environ.get("CLIPCLI_CONFIG") or None
    chosen = named or find_config()
    if chosen is None:
        return Config()
    text = read_text(chosen)
    if isinstance(text, Fault):
        refuse([text], ConfigError)
    section = _SECTION if os.path.basename(chosen) == _PYPROJECT else ()  # noqa: PTH119 - any bytes included
    data: Any = _parse(text, chosen)
    for key in section:
        data = data.get(key, {}) if isinstance(data, dict) else {}
    if section and not data:
        raise ConfigError(f"{chosen} has no [tool.clipcli]", hint="clipcli check --init shows what can stand there")
    faults = ConfigFaults(chosen, section, lines_of(text), is_named=named is not None)
    return _config(data, chosen, faults)


def _has_section(path: Path) -> bool:
    """Return whether a pyproject.toml has a part for clipcli; one that is broken and has none is not our business."""
    if not is_file(path):
        return False
    text = read_text(str(path))
    return isinstance(text, str) and re.search(r"^\s*\[+\s*tool\s*\.\s*clipcli\b", text, re.MULTILINE) is not None


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return parse_toml(text)
    except DecodeError as error:
        message = str(error)
        where = re.search(r"line (\d+)", message)
        line = int(where[1]) if where else text.count("\n") + 1
        problem = re.sub(r"\s*\(at .*\)$", "", message.removeprefix("not TOML: "))
        refuse([Fault(source, line, f"not TOML: {problem[:1].lower()}{problem[1:]}")], ConfigError)


def _config(data: Mapping[str, Any], path: str, faults: ConfigFaults) -> Config:
    defaults = faults.values((), {key: value for key, value in data.items() if key != CHECKS}, DEFAULT_KEYS, (CHECKS,))
    _check_trust((), defaults, faults)
    tables = data.get(CHECKS, {})
    checks: list[CheckSpec] = []
    if isinstance(tables, dict):
        checks = [check for name, table in tables.items() if (check := _check(name, table, faults)) is not None]
    else:
        faults.add((CHECKS,), f"{CHECKS} should be tables, one a check", f"[{CHECKS}.NAME]")
    if faults.found:
        refuse(faults.in_order(), ConfigError)
    return Config(path, os.path.dirname(path), Defaults(**defaults), tuple(checks))  # noqa: PTH120


def _check_trust(key_path: Place, values: Mapping[str, Any], faults: ConfigFaults) -> None:
    """Add what a file that nobody named may not say."""
    if not faults.is_named:
        for key, problem, hint in forbidden(values, os.path.dirname(faults.source)):  # noqa: PTH120
            faults.add((*key_path, key), problem, hint)


def _check(name: str, table: object, faults: ConfigFaults) -> CheckSpec | None:
    key_path = (CHECKS, name)
    if not isinstance(table, dict):
        near = nearest(name, CHECK_KEYS)
        hint = f"[{CHECKS}.NAME] has to stand above {name}" if name in near else f"[{CHECKS}.NAME]"
        faults.add(key_path, f"the check {name!r} should be a table", hint)
        return None
    if not name.strip():
        faults.add(key_path, "a check needs a name", f"[{CHECKS}.NAME]")
    values = faults.values(key_path, table, CHECK_KEYS)
    _check_trust(key_path, values, faults)
    if faults.found:
        return None
    spec = CheckSpec(**{"name": name, "line": faults.line(key_path), "include": (), **values})
    if problem := _problem(spec):
        faults.add(key_path, f"the check {name!r} {problem[0]}", problem[1])
    return spec


def _problem(spec: CheckSpec) -> tuple[str, str] | None:
    """Return what is wrong with a check as a whole, and what to do about it."""
    expectations = [spec.expect is not None, spec.expect_from is not None, bool(spec.forbid)]
    if not spec.include:
        return "names no images", 'include = ["pictures/"]'
    if sum(expectations) > 1:
        return "asks for more than one thing", "one of expect, expect_from and forbid, and another check for the other"
    if not sum(expectations) and spec.duplicates is None:
        return "expects nothing", "give it expect, expect_from, forbid or duplicates"
    if not sum(expectations) and (idle := [key for key in LABEL_KEYS if getattr(spec, key)]):
        return f"has {idle[0]}, which has no say in duplicates", "give it expect, expect_from or forbid too"
    if spec.expect is not None and not spec.has_labels:
        return "has no labels", "expect needs other labels to choose from: labels, labels_file or thresholds"
    return None
