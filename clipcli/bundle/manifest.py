"""manifest.json, the description of a bundle, from and to JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal

from clipcli.core.decode import DecodeError, decode, parse_json
from clipcli.core.encoder import ModelInfo, Precision, Scoring  # noqa: TC001 - decode reads annotations at run time
from clipcli.errors import BundleError

FORMAT = 1
"""The format version that clipcli writes, and the newest that it reads."""

Clean = Literal["lower", "whitespace", "canonicalize"]
"""open_clip's names for the clean-up of a text before tokenization."""


@dataclass(frozen=True)
class TokenizerSpec:
    """Tokenizer settings that tokenizer.json lacks: the clean-up before, cutting and padding after."""

    clean: Clean
    vocab_size: int
    """Number of entries in tokenizer.json; tokenizers of other models rarely have the same."""
    end_ids: tuple[int, ...]
    """Tokens that end every text; they are kept when a text is cut."""
    pad_id: int
    blank_id: int | None
    """A token that becomes 0 after padding (open_clip's `strip_sep_token`)."""
    spelt_ids: tuple[int, ...]
    """Special tokens that are recognised where a text spells them out, as in open_clip's tokenizer."""
    probe: str
    """A cleaned text whose ids must be `probe_ids`; it detects a foreign tokenizer with a matching hash."""
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
    """The description of a bundle, readable without opening its towers."""

    info: ModelInfo
    scoring: Scoring
    precision: Precision
    """Of the stored weights; computation is in float32."""
    source: str
    """The spec of the model it was exported from."""
    revision: str | None
    """The commit of the source on its hub, if it has one."""
    tokenizer: TokenizerSpec
    vocab_size: int
    """Rows of the text tower's token embedding; every id is smaller."""
    files: tuple[FileEntry, ...] = ()


def to_json(manifest: Manifest) -> str:
    """Return the text of manifest.json, keys in a stable order."""
    return json.dumps({"format": FORMAT, **dataclasses.asdict(manifest)}, indent=2, ensure_ascii=False) + "\n"


def parse(text: str, folder: str) -> Manifest:
    """Parse the text of manifest.json; `folder` names the bundle in errors.

    Raises:
        BundleError: a newer format, invalid JSON, or values that are missing or of the wrong type.
    """
    try:
        data = parse_json(text)
    except DecodeError as error:
        raise BundleError(f"{folder}: manifest.json is {error}") from error
    if not isinstance(data, dict) or type(data.get("format")) is not int:
        raise BundleError(f"{folder}: manifest.json has no format number", hint="It is not a clipcli bundle.")
    if data["format"] > FORMAT:
        raise BundleError(
            f"{folder}: bundle format {data['format']} is newer than this clipcli reads ({FORMAT})",
            hint="Upgrade clipcli, or export the model again with this version.",
        )
    try:
        return decode(Manifest, data, unknown="ignore")
    except DecodeError as error:
        raise BundleError(f"{folder}: manifest.json is incomplete: {error}", hint="Export the model again.") from error
