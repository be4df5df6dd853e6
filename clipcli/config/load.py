"""Find and read the config file; faults are reported with file, line and the nearest key."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from clipcli.config.location import PYPROJECT, find_config, named_config
from clipcli.config.schema import (
    CHECK_KEYS,
    CHECKS,
    DEFAULT_KEYS,
    KEYS_WITHOUT_PAIRS,
    LABEL_KEYS,
    PAIR_KEYS,
    CheckSpec,
    Config,
    ConfigFaults,
    Defaults,
    lines_of,
)
from clipcli.core.decode import DecodeError, parse_toml
from clipcli.core.files import split_name
from clipcli.errors import ConfigError, nearest
from clipcli.inputs.text_files import Fault, quoted, read_text, refuse
from clipcli.models.catalogue import ALIASES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clipcli.config.schema import KeyPath


_TAG: Final = re.compile(r"\w[\w.-]*(/\w[\w.-]*){0,2}")
_MODEL_PREFIXES: Final = ("hf-hub:", "local-dir:")
_MANIFEST: Final = "manifest.json"
_SECTION: Final = ("tool", "clipcli")
"""The table of clipcli in pyproject.toml."""
_FILE_KEYS: Final = ("prompts", "labels_file", "expect_from", "thresholds", "groups", "head", "pairs")
"""Keys whose values may be names of files."""
TRUST_HINT: Final = "name the file to trust it: --config FILE (check), or CLIPCLI_CONFIG=FILE"


def restricted_values(table: Mapping[str, Any], folder: str) -> Iterable[tuple[str, str, str]]:
    """Yield the values that only a named config file may set: key, problem and hint.

    Args:
        table: keys and checked values of one table of the file.
        folder: the file's folder.
    """
    if "weights_dir" in table:
        yield "weights_dir", "a config file that was not named may not choose the folder of weights", TRUST_HINT
    model = table.get("model")
    if model is not None and not _is_allowed_model(model, folder):
        problem = f"a config file that was not named may not choose the model {quoted(model)}"
        yield "model", problem, f"it may choose an alias, a published tag or a bundle in its own folder; {TRUST_HINT}"
    for key in _FILE_KEYS:
        value = table.get(key, ())
        for name in (value,) if isinstance(value, str) else value:
            path = split_name(name)[1] if key == "head" else name
            if _is_outside(path, folder) or "://" in path:
                problem = f"a config file that was not named may not use a file outside its own folder ({quoted(name)})"
                yield key, problem, TRUST_HINT


def _is_allowed_model(model: str, folder: str) -> bool:
    name = model.strip()
    if name.startswith(_MODEL_PREFIXES) or "@" in name or _is_outside(name, folder):
        return False
    if name in {alias.name for alias in ALIASES}:
        return True
    bundle = os.path.join(folder, name, _MANIFEST)  # noqa: PTH118 - any bytes
    return _is_inside(bundle, folder) if os.path.exists(bundle) else _TAG.fullmatch(name) is not None  # noqa: PTH110


def _is_outside(name: str, folder: str) -> bool:
    """Return whether a name is a path outside the folder, seen from it or from the working folder."""
    if name.startswith("~") or os.path.isabs(name) or os.pardir in re.split(r"[/\\]", name):  # noqa: PTH117
        return not _is_inside(os.path.expanduser(os.path.join(folder, name)), folder)  # noqa: PTH111, PTH118
    paths = (os.path.join(folder, name), name)  # noqa: PTH118
    return any(os.path.lexists(path) and not _is_inside(path, folder) for path in paths)


def _is_inside(path: str, folder: str) -> bool:
    """Return whether a path is in a folder, following links."""
    top, real = os.path.realpath(folder or os.curdir), os.path.realpath(path)
    return real == top or real.startswith(top.rstrip(os.sep) + os.sep)


def load_config(path: str | None = None) -> Config:
    """Read a config file: the named one, else that of `CLIPCLI_CONFIG`, else that of `find_config`, else an empty one.

    Raises:
        ConfigError: the file cannot be read, is not TOML, has unknown keys, values of the wrong type or an empty check,
            or was not named and sets values that only a named file may set.
    """
    named = named_config(path)
    chosen = named or find_config()
    if chosen is None:
        return Config()
    text = read_text(chosen)
    if isinstance(text, Fault):
        refuse([text], ConfigError)
    section = _SECTION if os.path.basename(chosen) == PYPROJECT else ()  # noqa: PTH119 - any bytes included
    data: Any = _parse_file(text, chosen)
    for key in section:
        data = data.get(key, {}) if isinstance(data, dict) else {}
    if section and not data:
        raise ConfigError(f"{chosen} has no [tool.clipcli]", hint="clipcli check --init shows an example")
    faults = ConfigFaults(chosen, section, lines_of(text), is_named=named is not None)
    return _parse_config(data, chosen, faults)


def _parse_file(text: str, source: str) -> dict[str, Any]:
    try:
        return parse_toml(text)
    except DecodeError as error:
        message = str(error)
        line_match = re.search(r"line (\d+)", message)
        line = int(line_match[1]) if line_match else text.count("\n") + 1
        problem = re.sub(r"\s*\(at .*\)$", "", message.removeprefix("not TOML: "))
        refuse([Fault(source, line, f"not TOML: {problem[:1].lower()}{problem[1:]}")], ConfigError)


def _parse_config(data: Mapping[str, Any], path: str, faults: ConfigFaults) -> Config:
    defaults = faults.values((), {key: value for key, value in data.items() if key != CHECKS}, DEFAULT_KEYS, (CHECKS,))
    _check_trust((), defaults, faults)
    tables = data.get(CHECKS, {})
    checks: list[CheckSpec] = []
    if isinstance(tables, dict):
        checks = [check for name, table in tables.items() if (check := _parse_check(name, table, faults)) is not None]
    else:
        faults.add((CHECKS,), f"{CHECKS} should be one table per check", f"[{CHECKS}.NAME]")
    if faults.entries:
        refuse(faults.in_order(), ConfigError)
    return Config(path, os.path.dirname(path), Defaults(**defaults), tuple(checks))  # noqa: PTH120


def _check_trust(key_path: KeyPath, values: Mapping[str, Any], faults: ConfigFaults) -> None:
    """Add a fault for each value that only a named file may set."""
    if not faults.is_named:
        for key, problem, hint in restricted_values(values, os.path.dirname(faults.source)):  # noqa: PTH120
            faults.add((*key_path, key), problem, hint)


def _parse_check(name: str, table: object, faults: ConfigFaults) -> CheckSpec | None:
    key_path = (CHECKS, name)
    if not isinstance(table, dict):
        near = nearest(name, CHECK_KEYS)
        hint = f"put [{CHECKS}.NAME] above {name}" if name in near else f"[{CHECKS}.NAME]"
        faults.add(key_path, f"the check {name!r} should be a table", hint)
        return None
    if not name.strip():
        faults.add(key_path, "a check needs a name", f"[{CHECKS}.NAME]")
    values = faults.values(key_path, table, CHECK_KEYS)
    _check_trust(key_path, values, faults)
    if faults.entries:
        return None
    spec = CheckSpec(**{"name": name, "line": faults.line(key_path), "include": (), **values})
    if problem := _check_problem(spec):
        faults.add(key_path, f"the check {name!r} {problem[0]}", problem[1])
    return spec


def _check_problem(spec: CheckSpec) -> tuple[str, str] | None:
    """Return the problem of a check as a whole, and a hint, or None."""
    expectations = [spec.expect is not None, spec.expect_from is not None, bool(spec.forbid), spec.limits_scores]
    if spec.pairs or any(getattr(spec, key) is not None for key in PAIR_KEYS):
        return _pairs_problem(spec)
    if not spec.include:
        return "names no images", 'include = ["pictures/"]'
    if sum(expectations) > 1:
        return "has more than one expectation", "use one of expect, expect_from, forbid and min or max per check"
    if not sum(expectations) and spec.duplicates is None:
        return "has no expectation", "add expect, expect_from, forbid, min, max or duplicates, or pairs with min_score"
    return _idle_key(spec) or _missing_key(spec)


def _pairs_problem(spec: CheckSpec) -> tuple[str, str] | None:
    """Return the problem of a check of images and their texts."""
    if not spec.pairs:
        key = next(key for key in PAIR_KEYS if getattr(spec, key) is not None)
        return f"has {key} but no pairs", 'pairs = ["catalogue.csv"]'
    if spec.min_score is None:
        return "has pairs but no min_score", "min_score = 0.25"
    label_keys = [key for key in LABEL_KEYS if key != "prompts"]
    for key in (*KEYS_WITHOUT_PAIRS, *label_keys):
        if getattr(spec, key) is not None and getattr(spec, key) not in ((), False, {}):
            return f"has {key}, which pairs does not use", "check pairs and images in two checks"
    return None


def _idle_key(spec: CheckSpec) -> tuple[str, str] | None:
    """Return the problem of a check with a key that has no effect."""
    label_keys = [key for key in LABEL_KEYS if getattr(spec, key)]
    if spec.limits_scores and label_keys:
        return f"has {label_keys[0]}, which min and max do not use", "check labels and scores in two checks"
    if not (spec.names_labels or spec.limits_scores) and (label_keys or spec.head):
        return f"has {(*label_keys, 'head')[0]}, which duplicates does not use", "add expect, expect_from or forbid"
    return None


def _missing_key(spec: CheckSpec) -> tuple[str, str] | None:
    """Return the problem of a check that lacks a key which another one needs."""
    if spec.limits_scores and not spec.head:
        return "has a limit but no head", 'head = "aesthetic.safetensors"'
    if spec.expect is not None and not spec.has_labels:
        return "has no labels", "expect needs other labels to choose from: labels, labels_file, thresholds or head"
    return None
