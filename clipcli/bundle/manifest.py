"""manifest.json: what a bundle says about itself, to and from JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal

from clipcli.core.decode import DecodeError, decode, parse_json
from clipcli.core.encoder import ModelInfo, Precision, Scoring  # noqa: TC001 - decode reads annotations at run time
from clipcli.errors import BundleError

FORMAT = 1
"""The format this version writes, and the newest that it reads."""

Clean = Literal["lower", "whitespace", "canonicalize"]
"""open_clip's names for what happens to a text before its tokenizer sees it."""


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
    """Return the text of manifest.json, keys in a stable order."""
    return json.dumps({"format": FORMAT, **dataclasses.asdict(manifest)}, indent=2, ensure_ascii=False) + "\n"


def parse(text: str, where: str) -> Manifest:
    """Read manifest.json; `where` names the folder in errors.

    Raises:
        BundleError: a newer format, JSON that is none, values that are missing or of the wrong kind.
    """
    try:
        data = parse_json(text)
    except DecodeError as error:
        raise BundleError(f"{where}: manifest.json is {error}") from error
    if not isinstance(data, dict) or type(data.get("format")) is not int:
        raise BundleError(f"{where}: manifest.json has no format number", hint="It is not a clipcli bundle.")
    if data["format"] > FORMAT:
        raise BundleError(
            f"{where}: bundle format {data['format']} is newer than this clipcli reads ({FORMAT})",
            hint="Upgrade clipcli, or export the model again with this version.",
        )
    try:
        return decode(Manifest, data, unknown="ignore")
    except DecodeError as error:
        raise BundleError(f"{where}: manifest.json is incomplete: {error}", hint="Export the model again.") from error
