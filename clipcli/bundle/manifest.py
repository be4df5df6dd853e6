"""manifest.json: what a bundle says about itself, to and from JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args

from clipcli.encoder import Activation, Interpolation, ModelInfo, Precision, Preprocessing, ResizeMode, Scoring
from clipcli.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
"""The format this version writes, and the newest that it reads."""

Clean = Literal["lower", "whitespace", "canonicalize"]
"""open_clip's names for what happens to a text before its tokenizer sees it."""

_Json = dict[str, Any]
_T = TypeVar("_T")


@dataclass(frozen=True)
class TokenizerSpec:
    """What tokenizer.json does not say: the clean-up before it, cutting and padding after it."""

    clean: Clean
    vocab_size: int
    """Entries in tokenizer.json; another model's tokenizer seldom has as many."""
    end_ids: tuple[int, ...]
    """Tokens that close every text, kept when a text is cut."""
    pad_id: int
    blank_id: int | None
    """A token that becomes 0 after padding (open_clip's `strip_sep_token`)."""
    spelt_ids: tuple[int, ...]
    """Special tokens that count as such where a text spells them out, as open_clip's own tokenizer has it."""
    probe: str
    """A text, cleaned up already, whose ids must be `probe_ids`: finds a foreign tokenizer whose hash was recorded."""
    probe_ids: tuple[int, ...]


@dataclass(frozen=True)
class FileEntry:
    """One file of a bundle."""

    name: str
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Everything that is known of a bundle without opening its towers."""

    info: ModelInfo
    scoring: Scoring
    precision: Precision
    """Of the stored weights; computation is in float32."""
    source: str
    """The spec of the model it was exported from."""
    revision: str | None
    """The source's commit on its hub, or None where it has none."""
    tokenizer: TokenizerSpec
    vocab_size: int
    """Rows of the text tower's token embedding; no id may reach it."""
    files: tuple[FileEntry, ...] = ()


def to_json(manifest: Manifest) -> str:
    """The text of manifest.json, keys in a stable order."""
    return json.dumps({"format": FORMAT, **dataclasses.asdict(manifest)}, indent=2, ensure_ascii=False) + "\n"


def parse(text: str, where: str) -> Manifest:
    """Read manifest.json; `where` names the folder in errors.

    Raises:
        BundleError: a newer format, JSON that is none, values that are missing or of the wrong kind.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise BundleError(f"{where}: manifest.json is not JSON: {error}") from error
    if not isinstance(data, dict) or type(data.get("format")) is not int:
        raise BundleError(f"{where}: manifest.json has no format number", hint="It is not a clipcli bundle.")
    if data["format"] > FORMAT:
        raise BundleError(
            f"{where}: bundle format {data['format']} is newer than this clipcli reads ({FORMAT})",
            hint="Upgrade clipcli, or export the model again with this version.",
        )
    try:
        return _manifest(data)
    except (KeyError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise BundleError(f"{where}: manifest.json is incomplete: {what}", hint="Export the model again.") from error


def _manifest(data: _Json) -> Manifest:
    return Manifest(
        info=info_of(_get(data, "info", dict)),
        scoring=scoring_of(_get(data, "scoring", dict)),
        precision=cast("Precision", _choice(data, "precision", get_args(Precision))),
        source=_get(data, "source", str),
        revision=None if data["revision"] is None else _get(data, "revision", str),
        tokenizer=_tokenizer(_get(data, "tokenizer", dict)),
        vocab_size=_get(data, "vocab_size", int),
        files=tuple(
            FileEntry(_get(entry, "name", str), _get(entry, "size", int), _get(entry, "sha256", str))
            for entry in _get(data, "files", list)
        ),
    )


def info_of(data: _Json) -> ModelInfo:
    """A `ModelInfo` from its JSON; raises KeyError, TypeError or ValueError where it is none."""
    return ModelInfo(
        name=_get(data, "name", str),
        fingerprint=_get(data, "fingerprint", str),
        dim=_get(data, "dim", int),
        preprocessing=_preprocessing(_get(data, "preprocessing", dict)),
        context_length=_get(data, "context_length", int),
        causal_text=_get(data, "causal_text", bool),
    )


def _preprocessing(data: _Json) -> Preprocessing:
    height, width = (_typed(side, int, "image_size") for side in _get(data, "image_size", list))
    return Preprocessing(
        image_size=(height, width),
        mean=_channels(data, "mean"),
        std=_channels(data, "std"),
        interpolation=cast("Interpolation", _choice(data, "interpolation", get_args(Interpolation))),
        resize_mode=cast("ResizeMode", _choice(data, "resize_mode", get_args(ResizeMode))),
        fill_color=_get(data, "fill_color", int),
    )


def _channels(data: _Json, key: str) -> tuple[float, float, float]:
    red, green, blue = (_typed(value, float, key) for value in _get(data, key, list))
    return red, green, blue


def scoring_of(data: _Json) -> Scoring:
    """A `Scoring` from its JSON; raises KeyError, TypeError or ValueError where it is none."""
    activation = cast("Activation", _choice(data, "activation", get_args(Activation)))
    return Scoring(_typed(data["scale"], float, "scale"), _typed(data["bias"], float, "bias"), activation)


def _tokenizer(data: _Json) -> TokenizerSpec:
    return TokenizerSpec(
        clean=cast("Clean", _choice(data, "clean", get_args(Clean))),
        vocab_size=_get(data, "vocab_size", int),
        end_ids=_ids(data, "end_ids"),
        pad_id=_get(data, "pad_id", int),
        blank_id=None if data["blank_id"] is None else _get(data, "blank_id", int),
        spelt_ids=_ids(data, "spelt_ids"),
        probe=_get(data, "probe", str),
        probe_ids=_ids(data, "probe_ids"),
    )


def _ids(data: _Json, key: str) -> tuple[int, ...]:
    return tuple(_typed(value, int, key) for value in _get(data, key, list))


def _get(data: Mapping[str, object], key: str, kind: type[_T]) -> _T:
    return _typed(data[key], kind, key)


def _typed(value: object, kind: type[_T], key: str) -> _T:
    """The value if it is of that kind; whole numbers pass as floats, booleans never pass as numbers."""
    if kind is float and type(value) is int:
        return cast("_T", float(value))
    if type(value) is not kind:
        raise TypeError(f"{key} should be {kind.__name__}, not {type(value).__name__}")
    return value


def _choice(data: Mapping[str, object], key: str, allowed: tuple[str, ...]) -> str:
    value = _get(data, key, str)
    if value not in allowed:
        raise ValueError(f"{key} should be one of {', '.join(allowed)}, not {value!r}")
    return value
