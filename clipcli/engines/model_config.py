"""Check the configs of a model. They are untrusted: they may choose sizes and known kinds, but never code.

Two kinds are read: open_clip's own (`open_clip_config.json`), and those of Hugging Face (`config.json`,
`tokenizer_config.json`), which can name classes, repositories and files of code. Forbidden keys are refused by name,
and only known keys are passed on.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from clipcli.core.files import is_file
from clipcli.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_TIMM_NAME: Final = re.compile(r"\w[\w.-]*")
_REPOSITORY: Final = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_LANGUAGE: Final = re.compile(r"[A-Za-z_-]{1,20}")
_SPECIAL_TOKEN: Final = re.compile(r"<[\w-]{1,40}>")
TOKENIZER_DATA: Final = (
    "tokenizer.json", "added_tokens.json", "sentencepiece.bpe.model", "spiece.model",
    "tokenizer.model", "vocab.txt", "vocab.json", "merges.txt",
)  # fmt: skip
"""Files of a tokenizer that hold only data."""
SPECIAL_TOKENS: Final = "special_tokens_map.json"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"
TYPE_CONFIG: Final = "config.json"
_CODE_KEYS: Final = ("auto_map", "trust_remote_code", "code_revision", "custom_pipelines")
"""Keys with which Hugging Face's libraries find or run code of a repository."""
_CLEAN_UPS: Final = ("lower", "whitespace", "canonicalize")
_LARGEST_NUMBER: Final = 1 << 24
"""Limit of a width, a vocabulary or an image's side; the largest published vocabulary has 256,000 entries."""
_MOST_LAYERS: Final = 1024
_LARGEST_BYTES: Final = 64 << 20
_MOST_VALUES: Final = 1_000_000
_CODE_HINT: Final = "clipcli does not run a model's code; use a model that open_clip and transformers support"


def tokenizer_files(folder: Path) -> list[Path]:
    """Return the files of a tokenizer in a folder, including its configs."""
    names = (*TOKENIZER_DATA, SPECIAL_TOKENS, TOKENIZER_CONFIG, TYPE_CONFIG)
    return [folder / name for name in names if is_file(folder / name)]


def check_model_config(config: Mapping[str, Any], name: str) -> None:
    """Refuse an open_clip config that names code or files, or has numbers out of range.

    Args:
        config: open_clip's `model_cfg`.
        name: the model's name for the message.

    Raises:
        ModelError: the config is refused.
    """
    refuse_code(config, name)
    timm_name = _part(config, "vision_cfg").get("timm_model_name")
    if timm_name and not _matches(_TIMM_NAME, timm_name):
        raise ModelError(
            f"{name}: timm_model_name {_shown(timm_name)} is not an architecture of timm",
            hint="a config may not name a repository or a folder there",
        )
    repo = _part(config, "text_cfg").get("hf_model_name")
    if repo and not is_repository(repo):
        raise ModelError(
            f"{name}: hf_model_name {_shown(repo)} is not a repository of the hub",
            hint="a config may not name a folder or a file there",
        )
    tokenizer_options(config, name)
    check_numbers(config, name)


def check_numbers(config: Mapping[str, Any], name: str) -> None:
    """Refuse a config with numbers that no model has. Raises ModelError, which names the key."""
    for key, value in _numbers(config):
        limit = _MOST_LAYERS if "layers" in key else _LARGEST_NUMBER
        if not -limit <= value <= limit:
            raise ModelError(f"{name}: {key} cannot be {value}", hint="the config is damaged")


def is_repository(name: object) -> bool:
    """Return whether a text can only be a repository of the hub: `org/name` or `name`, never a path."""
    return _matches(_REPOSITORY, name)


def tokenizer_options(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the checked arguments of a config for its tokenizer.

    Raises:
        ModelError: an unknown argument, or a value of the wrong type.
    """
    options = _part(config, "text_cfg").get("tokenizer_kwargs") or {}
    checks = {
        "clean": lambda value: value in _CLEAN_UPS,
        "strip_sep_token": lambda value: isinstance(value, bool),
        "language": lambda value: value is None or _matches(_LANGUAGE, value),
        "additional_special_tokens": lambda value: (
            isinstance(value, list)
            and len(value) <= _MOST_LAYERS
            and all(_matches(_SPECIAL_TOKEN, token) for token in value)
        ),
    }
    if not isinstance(options, dict):
        raise ModelError(f"{name}: tokenizer_kwargs is not a table", hint="the config is damaged")
    for key, value in options.items():
        if key not in checks:
            raise ModelError(f"{name}: tokenizer_kwargs has {_shown(key)}", hint=f"allowed are {', '.join(checks)}")
        if not checks[key](value):
            raise ModelError(f"{name}: tokenizer_kwargs: {key} cannot be {_shown(value)}", hint="the config is damaged")
    return dict(options)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        ModelError: the file cannot be read, is too large, names code, or is not an object.
    """
    try:
        value = parse_json(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(f"{path} cannot be read: {reason}", hint="download the model again") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} is not a JSON object", hint="download the model again")
    refuse_code(value, str(path))
    return value


def parse_json(path: Path) -> Any:
    """Return the value of a JSON file of bounded size and depth. Raises OSError and ValueError."""
    with path.open("rb") as stream:
        data = stream.read(_LARGEST_BYTES + 1)
    if len(data) > _LARGEST_BYTES:
        raise ValueError(f"it is larger than {_LARGEST_BYTES >> 20} MB")
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def refuse_code(config: Mapping[str, Any], source: str) -> None:
    """Refuse a config that names code, at any depth.

    Raises:
        ModelError: names the key.
    """
    for key, _ in _values(config):
        if key in _CODE_KEYS:
            raise ModelError(f"{source} names code to run ({key}) and is not loaded", hint=_CODE_HINT)


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    return ((key, value) for key, value in _values(config) if type(value) in {int, float})


def _values(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every value in a JSON document with its nearest key, without recursion."""
    stack: list[tuple[str, Any]] = [("", config)]
    while stack:
        key, value = stack.pop()
        yield key, value
        if isinstance(value, dict):
            stack += value.items()
        elif isinstance(value, (list, tuple)):
            stack += [(key, item) for item in value]
        if len(stack) > _MOST_VALUES:
            raise ModelError("a config of the model has more than a million values", hint="the config is damaged")


def _part(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = config.get(key)
    return part if isinstance(part, dict) else {}


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"  # noqa: PLR2004 - a line's worth
