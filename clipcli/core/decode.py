"""Untrusted JSON and TOML → Python values → dataclasses, with one kind of error whose words name the fault.

Whatever the text is, it either becomes a checked value or raises `DecodeError`: broken syntax, nesting without an end,
numbers without an end, values of another kind, missing and unknown fields.
"""

from __future__ import annotations

import json
import math
import os
import sys
import types
import typing
from collections import Counter
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, Union

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")
_LONGEST: Final = 40
"""Characters of a value that a message shows."""
_DEEPEST: Final = 100
_INTEGERS: Final = 2**63
_MANY_DOTS: Final = 1000


class DecodeError(ValueError):
    """Why a text is not what it should be, in one line."""


def parse_json(text: str | bytes, *, repeated: Literal["last", "refuse"] = "last") -> Any:
    """Return the value of a JSON text (UTF-8 where it is bytes). Raises DecodeError.

    `repeated` says what a key means that stands twice in one object: its last value, or nothing at all.
    """
    hook = _unique if repeated == "refuse" else None
    try:
        value = json.loads(text.decode("utf-8") if isinstance(text, bytes) else text, object_pairs_hook=hook)
    except DecodeError:
        raise
    except UnicodeDecodeError as error:
        raise DecodeError("not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise DecodeError(f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}{_where(error)}") from error
    except RecursionError as error:
        raise DecodeError("nested too deeply") from error
    except ValueError as error:  # an integer of more digits than Python reads
        raise DecodeError("a number in it is too long") from error
    _check_depth(value)
    return value


def parse_toml(text: str | bytes) -> dict[str, Any]:
    """Return the table of a TOML text (UTF-8 where it is bytes).

    Raises:
        DecodeError: no TOML, or nested too deeply. Its cause is the parser's own error where there is one.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        value = tomllib.loads(_shallow(text.decode("utf-8") if isinstance(text, bytes) else text))
    except UnicodeDecodeError as error:
        raise DecodeError("not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise DecodeError(f"not TOML: {error}") from error
    except RecursionError as error:
        raise DecodeError("nested too deeply") from error
    except DecodeError:
        raise
    except (ValueError, OverflowError) as error:
        raise DecodeError("a number or a date in it is out of range") from error
    _check_depth(value)
    return dict(value)


def decode(kind: type[T], value: object, *, unknown: Literal["refuse", "ignore"] = "refuse") -> T:
    """Return `value`, an object of JSON or a table of TOML, as an instance of the dataclass `kind`.

    Strings of JSON stay as they are, lists become tuples where the dataclass says so, and an integer stands for a
    float. Fields named in `metadata["key"]` are found under that name.

    Raises:
        DecodeError: a field is missing, unknown or of another kind.
    """
    if not isinstance(value, dict):
        raise DecodeError("not a JSON object")
    hints = _hints(typing.cast("Any", kind))
    given: dict[str, Any] = {}
    known: set[str] = set()
    for field in fields(typing.cast("Any", kind)):
        key = field.metadata.get("key", field.name)
        known.add(key)
        if key in value:
            given[field.name] = _converted(hints[field.name], value[key], key, unknown)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise DecodeError(f"no {key!r}")
    strange = sorted(set(value) - known) if unknown == "refuse" else []
    if strange:
        raise DecodeError(f"no field {shown(strange[0])} is known")
    return kind(**given)


def shown(value: object) -> str:
    """Return a value as a message shows it: in one line, and not longer than a line."""
    text = repr(value) if not isinstance(value, dict | list) else f"{'{…}' if isinstance(value, dict) else '[…]'}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    whole = dict(pairs)
    if len(whole) != len(pairs):
        key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise DecodeError(f"{shown(key)} stands twice in one object")
    return whole


def is_file_name(text: str) -> bool:
    """Return whether a text can be the name of a file: no NUL, and no character that no file name has."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _shallow(text: str) -> str:
    """Return a text of TOML whose lines are not nested without an end, which a parser takes long to find out."""
    if any(line.count(".") + line.count("[") + line.count("{") > _MANY_DOTS for line in text.splitlines()):
        raise DecodeError("nested too deeply")
    return text


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def _converted(kind: Any, value: Any, key: str, unknown: Literal["refuse", "ignore"]) -> Any:
    """One value. Raises DecodeError, which names the field."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in {Union, types.UnionType}:
        return _any_of(inner, value, key, unknown)
    if origin is Literal and any(value == choice and type(value) is type(choice) for choice in inner):
        return value
    if origin in {tuple, list} and isinstance(value, list):
        kinds = [inner[0]] * len(value) if origin is list or inner[-1] is Ellipsis else list(inner)
        if len(kinds) != len(value):
            raise DecodeError(f"{key} should have {len(kinds)} values, not {len(value)}")
        return origin(_converted(item_kind, item, key, unknown) for item_kind, item in zip(kinds, value, strict=True))
    if origin is dict and isinstance(value, dict):
        return {name: _converted(inner[1], item, f"{key}.{name}"[:_LONGEST], unknown) for name, item in value.items()}
    if is_dataclass(kind) and isinstance(value, dict):
        try:
            return decode(typing.cast("type", kind), value, unknown=unknown)
        except DecodeError as error:
            raise DecodeError(f"{key}: {error}") from error
    if origin is None and _is(kind, value):
        return float(value) if kind is float else value
    raise _unfit(kind, value, key)


def _unfit(kind: Any, value: Any, key: str) -> DecodeError:
    """Say which type is expected and which was given."""
    if typing.get_origin(kind) is Literal:
        return DecodeError(f"{key} should be one of {', '.join(map(str, typing.get_args(kind)))}, not {shown(value)}")
    expected = "dict" if is_dataclass(kind) else getattr(typing.get_origin(kind) or kind, "__name__", str(kind))
    expected = "list" if expected == "tuple" else expected
    actual = type(value).__name__
    return DecodeError(f"{key} should be {expected}, not {actual if actual != expected else shown(value)}")


def _any_of(kinds: tuple[Any, ...], value: Any, key: str, unknown: Literal["refuse", "ignore"]) -> Any:
    last: DecodeError | None = None
    if value is None and type(None) in kinds:
        return None
    for kind in kinds:
        if kind is not type(None):
            try:
                return _converted(kind, value, key, unknown)
            except DecodeError as error:
                last = error
    if last is None:
        raise _unfit(kinds[0], value, key)
    raise last


def _is(kind: Any, value: Any) -> bool:
    """Return whether a value is of a plain kind: whole numbers fit 64 bits, others are finite."""
    if kind in {Any, object}:
        return True
    if isinstance(value, bool):
        return kind is bool
    if kind is int:
        return isinstance(value, int) and -_INTEGERS <= value < _INTEGERS
    if kind is float:
        return isinstance(value, int | float) and abs(value) < _INTEGERS * 2.0**900 and math.isfinite(value)
    return isinstance(kind, type) and isinstance(value, kind)


def _check_depth(value: Any) -> None:
    """Whoever walks the value later may do so by recursion. Raises DecodeError."""
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise DecodeError("nested too deeply")


def _where(error: json.JSONDecodeError) -> str:
    line = "" if error.lineno == 1 else f"line {error.lineno}, "
    return f" ({line}column {error.colno})"
