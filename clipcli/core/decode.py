"""Decode untrusted JSON and TOML into Python values and dataclasses.

A text either becomes a checked value or raises `DecodeError`, whose message names the fault: broken syntax, endless
nesting, endless numbers, values of the wrong type, missing and unknown fields.
"""

from __future__ import annotations

import json
import math
import os
import re
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
"""Most characters of a value that a message repeats."""
_DEEPEST: Final = 100
_INTEGERS: Final = 2**63
_MANY_DOTS: Final = 1000
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_HIGH, _LOW, _BYTES = 0xD800 >> 10, 0xDC00 >> 10, 0xDC80 >> 7


class DecodeError(ValueError):
    """The reason why a text cannot be decoded, in one line."""


def parse_json(text: str | bytes, *, repeated: Literal["last", "refuse"] = "last") -> Any:
    """Return the value of a JSON text; bytes are read as UTF-8. Raises DecodeError.

    `repeated` decides about a key that occurs twice in one object: take the last value, or refuse the text.
    """
    hook = _unique if repeated == "refuse" else None
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(text, object_pairs_hook=hook)
        _refuse_half_pairs(text)
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


class HalfPairError(DecodeError):
    """Raised for JSON whose syntax is right, but which spells half of a surrogate pair."""


def _refuse_half_pairs(text: str) -> None:
    if _has_half_pair(text):
        raise HalfPairError("half of a surrogate pair in it, which is no text")


def _has_half_pair(text: str) -> bool:
    """Return whether a JSON text spells a surrogate without its other half, which no output could be written with.

    U+DC80 to U+DCFF stand alone: they are the bytes of file names that are no UTF-8, as Python has them.
    """
    if "\\ud" not in text and "\\uD" not in text:
        return False
    after_high = -1
    for escape in _ESCAPE.finditer(text):
        code = int(escape[1], 16) if escape[1] else 0
        is_high, is_low = code >> 10 == _HIGH, code >> 10 == _LOW
        if after_high >= 0:
            if escape.start() != after_high or not is_low:
                return True
            after_high = -1
        elif is_high:
            after_high = escape.end()
        elif is_low and code >> 7 != _BYTES:
            return True
    return after_high >= 0


def parse_toml(text: str | bytes) -> dict[str, Any]:
    """Return the table of a TOML text; bytes are read as UTF-8.

    Raises:
        DecodeError: not TOML, or nested too deeply. Its cause is the parser's own error if there is one.
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
    """Return `value`, a JSON object or a TOML table, as an instance of the dataclass `kind`.

    Lists become tuples where the dataclass declares tuples, and an integer is accepted for a float. A field with
    `metadata["key"]` is looked up under that name.

    Raises:
        DecodeError: a field is missing, unknown or of the wrong type.
    """
    if not isinstance(value, dict):
        raise DecodeError("not a JSON object")
    hints = _hints(typing.cast("Any", kind))
    arguments: dict[str, Any] = {}
    keys: set[str] = set()
    for field in fields(typing.cast("Any", kind)):
        key = field.metadata.get("key", field.name)
        keys.add(key)
        if key in value:
            arguments[field.name] = _converted(hints[field.name], value[key], key, unknown)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise DecodeError(f"no {key!r}")
    strange = sorted(set(value) - keys) if unknown == "refuse" else []
    if strange:
        raise DecodeError(f"no field {shown(strange[0])} is known")
    return kind(**arguments)


def shown(value: object) -> str:
    """Return a value for a message: in one line and not too long."""
    text = repr(value) if not isinstance(value, dict | list) else f"{'{…}' if isinstance(value, dict) else '[…]'}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise DecodeError(f"{shown(key)} occurs twice in one object")
    return members


def is_file_name(text: str) -> bool:
    """Return whether a text can be a file name: no NUL, and every character can be encoded."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _shallow(text: str) -> str:
    """Return the TOML text, or raise DecodeError for endless nesting, which would keep the parser busy for long."""
    if any(line.count(".") + line.count("[") + line.count("{") > _MANY_DOTS for line in text.splitlines()):
        raise DecodeError("nested too deeply")
    return text


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def _converted(kind: Any, value: Any, key: str, unknown: Literal["refuse", "ignore"]) -> Any:
    """Return a value as the type `kind`. Raises DecodeError, which names the field."""
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
    """Return the error that names the expected and the actual type."""
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
    """Return whether a value is of a plain type; integers must fit 64 bits, floats must be finite."""
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
    """Refuse deep nesting, so that later code may walk the value recursively. Raises DecodeError."""
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
