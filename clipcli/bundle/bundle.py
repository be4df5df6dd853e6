"""Open a bundle and refuse an incomplete or changed one before any engine loads it; its manifest from and to JSON."""

from __future__ import annotations

import hashlib
import json
import stat
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from clipcli.core.decode import DecodeError, decode, parse_json
from clipcli.core.encoder import ModelInfo, Precision, Scoring  # noqa: TC001 - decode reads annotations at run time
from clipcli.core.files import (
    is_file,
    is_private,
    make_private_folder,
    open_private,
    read_bytes,
    read_text,
    reason_of,
    sha256_of,
    words_of,
)
from clipcli.errors import BundleError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path


MANIFEST = "manifest.json"
IMAGE_TOWER = "image.onnx"
TEXT_TOWER = "text.onnx"
TOKENIZER = "tokenizer.json"
_AGAIN = "export or download the model again"
_LARGEST_MANIFEST = 16 << 20
_LARGEST_GRAPH = 2 << 30
"""The limit of a protobuf message, and thus of a graph."""
_RACY_SECONDS = 2.0
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
    return json.dumps({"format": FORMAT, **asdict(manifest)}, indent=2, ensure_ascii=False) + "\n"


def parse_manifest(text: str, folder: str) -> Manifest:
    """Parse the text of manifest.json; `folder` names the bundle in errors.

    Raises:
        BundleError: a newer format, invalid JSON, or values that are missing or of the wrong type.
    """
    try:
        data = parse_json(text)
    except DecodeError as error:
        raise BundleError(f"{folder}: manifest.json is {error}") from error
    if not isinstance(data, dict) or type(data.get("format")) is not int:
        raise BundleError(f"{folder}: manifest.json has no format number", hint="it is not a clipcli bundle")
    if data["format"] > FORMAT:
        raise BundleError(
            f"{folder}: bundle format {data['format']} is newer than this clipcli reads ({FORMAT})",
            hint="upgrade clipcli, or export the model again with this version",
        )
    try:
        return decode(Manifest, data, unknown="ignore")
    except DecodeError as error:
        raise BundleError(f"{folder}: manifest.json is incomplete: {error}", hint="export the model again") from error


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are complete and unchanged."""

    folder: Path
    manifest: Manifest

    @property
    def info(self) -> ModelInfo:
        """Return the model's description."""
        return self.manifest.info

    @property
    def scoring(self) -> Scoring:
        """Return the function from cosines to scores."""
        return self.manifest.scoring

    @property
    def precision(self) -> Precision:
        """Return the precision of the stored weights."""
        return self.manifest.precision

    @property
    def image_tower(self) -> Path:
        """Return the path of the image tower's graph."""
        return self.folder / IMAGE_TOWER

    @property
    def text_tower(self) -> Path:
        """Return the path of the text tower's graph."""
        return self.folder / TEXT_TOWER

    @property
    def tokenizer(self) -> Path:
        """Return the path of the tokenizer."""
        return self.folder / TOKENIZER

    @cached_property
    def digest(self) -> str:
        """Return 32 hex digits over everything that vectors depend on: file hashes, preprocessing, tokenizer settings.

        The bundle's own claims (name, source, fingerprint) are left out, so no bundle can pass for another.
        """
        listed = self.manifest
        fed = {key: value for key, value in asdict(listed.info).items() if key not in {"name", "fingerprint"}}
        files = sorted((entry.name, entry.size, entry.sha256) for entry in listed.files)
        text = json.dumps([fed, asdict(listed.tokenizer), listed.vocab_size, listed.precision, files], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def size(self) -> int:
        """Return the size on disk in bytes, without the manifest."""
        return sum(entry.size for entry in self.manifest.files)


def is_bundle(folder: Path) -> bool:
    """Return whether the folder has a manifest; `read` checks the rest."""
    return is_file(folder / MANIFEST)


def read(folder: Path, *, stamps: Path | None = None) -> Bundle:
    """Open a bundle. Check sizes every time, hashes and external data only the first time.

    Args:
        folder: the bundle.
        stamps: a folder that records which files were checked, by device, inode, size and times: hashing the 600 MB
            of ViT-B-32 takes 0.4 s, as long as the rest of a run. None checks everything.

    Raises:
        BundleError: a file is missing, cut short, changed, outside the folder or from a newer format.
    """
    bundle = Bundle(folder, _read_manifest(folder))
    _check_sizes(bundle)
    states = _states(bundle)
    stamp = stamps / _signature(bundle, states) if stamps else None
    if stamp is None or not _is_file(stamp):
        check_hashes(bundle)
        if stamp is not None and _have_settled(states):
            # A cache that cannot be written only costs time.
            with suppress(OSError):
                make_private_folder(stamp.parent)
                open_private(stamp).close()
    return bundle


def check_hashes(bundle: Bundle) -> None:
    """Compare every file with its hash in the manifest, and every graph's external data with the file it points into.

    Raises:
        BundleError: names the first file that differs.
    """
    for entry in bundle.manifest.files:
        if sha256(bundle.folder / entry.name) != entry.sha256:
            raise BundleError(
                f"{bundle.folder / entry.name}: damaged: its SHA-256 differs from the manifest",
                hint=f"the file was changed or comes from another model; {_AGAIN}",
            )
    sizes = {entry.name: entry.size for entry in bundle.manifest.files}
    for tower in (bundle.image_tower, bundle.text_tower):
        _check_external(tower, sizes)


def _read_manifest(folder: Path) -> Manifest:
    try:
        text = read_text(folder / MANIFEST, _LARGEST_MANIFEST)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(f"{folder}: not a bundle: it has no {MANIFEST}") from error
    except (OSError, ValueError) as error:
        raise BundleError(f"{folder / MANIFEST}: cannot be read: {reason_of(error)}") from error
    parsed = parse_manifest(text, str(folder))
    names = {entry.name for entry in parsed.files}
    for entry in parsed.files:
        _check_name(folder, entry)
    for needed in (IMAGE_TOWER, TEXT_TOWER, TOKENIZER):
        if needed not in names:
            raise BundleError(f"{folder}: {MANIFEST} does not list {needed}", hint=_AGAIN)
    return parsed


def _check_name(folder: Path, entry: FileEntry) -> None:
    if not _is_plain_name(entry.name):
        raise BundleError(
            f"{folder}: {MANIFEST} names a file outside the bundle: {entry.name!r}",
            hint="a bundle names only files in its own folder; do not use this one unless you trust its author",
        )


def _is_plain_name(name: str) -> bool:
    """Return whether the name can only mean a file in the folder itself, on any system."""
    return bool(name) and name not in {".", ".."} and not any(mark in name for mark in "/\\:\0")


def _check_sizes(bundle: Bundle) -> None:
    for entry in bundle.manifest.files:
        path = bundle.folder / entry.name
        try:
            status = path.stat()
        except OSError as error:
            reason = "missing" if isinstance(error, FileNotFoundError) else error.strerror
            raise BundleError(f"{path}: {reason}", hint=f"the bundle is not complete; {_AGAIN}") from error
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path}: not a regular file", hint=_AGAIN)
        if status.st_size != entry.size:
            raise BundleError(
                f"{path}: {status.st_size} bytes, but the manifest says {entry.size}",
                hint=f"the file was cut short or replaced; {_AGAIN}",
            )


def _check_external(tower: Path, sizes: dict[str, int]) -> None:
    """Refuse external tensors outside the files that the manifest lists, so that no engine opens other files."""
    try:
        tensor_extents = list(extents(read_bytes(tower, _LARGEST_GRAPH)))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{tower}: {words_of(error)}", hint=_AGAIN) from error
    for extent in tensor_extents:
        if extent.location not in sizes:
            raise BundleError(
                f"{tower}: its weights point outside the bundle: {extent.location!r}",
                hint="do not use this bundle unless you trust its author",
            )
        if extent.offset < 0 or extent.length < 0 or extent.offset + extent.length > sizes[extent.location]:
            raise BundleError(f"{tower}: its weights reach past the end of {extent.location}", hint=_AGAIN)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex digits. Raises BundleError if it cannot be read."""
    try:
        return sha256_of(path)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error


def _states(bundle: Bundle) -> list[tuple[str, os.stat_result]]:
    names = (MANIFEST, *(entry.name for entry in bundle.manifest.files))
    return [(name, (bundle.folder / name).stat()) for name in names]


def _have_settled(states: list[tuple[str, os.stat_result]]) -> bool:
    """Return whether no file changed just now; another change in the same clock tick would go unnoticed."""
    return time.time() - max(state.st_ctime for _, state in states) > _RACY_SECONDS


def _is_file(path: Path) -> bool:
    try:
        return path.is_file() and is_private(path.parent)
    except OSError:  # no permission to enter the cache
        return False


def _signature(bundle: Bundle, states: list[tuple[str, os.stat_result]]) -> str:
    """Return a digest that changes when a file is written, replaced or moved in; users cannot set back a ctime."""
    digest = hashlib.sha256(str(bundle.folder.resolve()).encode(errors="surrogateescape"))
    for name, status in states:
        marks = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        digest.update(f"{name}{marks}".encode())
    return digest.hexdigest()


_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_NESTED: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
}
"""Message → field number → message of that field, for every path that can lead to a tensor."""


class Extent(NamedTuple):
    """One tensor's bytes in a file beside the graph."""

    location: str
    offset: int
    length: int


def extents(graph: bytes) -> Iterator[Extent]:
    """Yield every external tensor of a serialised ModelProto. Raises ValueError for other bytes."""
    try:
        for entries in _external(memoryview(graph), "model"):
            yield Extent(entries.get("location", ""), int(entries.get("offset", "0")), int(entries.get("length", "0")))
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"not an ONNX graph: {error}") from error


def _external(message: memoryview, kind: str) -> Iterator[dict[str, str]]:
    nested = _NESTED[kind]
    entries: dict[str, str] = {}
    for number, body in _fields(message):
        inner = nested.get(number)
        if inner == "external":
            pair = {field: bytes(part).decode() for field, part in _fields(body)}
            entries[pair.get(1, "")] = pair.get(2, "")
        elif inner:
            yield from _external(body, inner)
    if entries:
        yield entries


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield (field number, bytes) of every length-delimited field; skip numbers."""
    offset = 0
    while offset < len(message):
        key, offset = _varint(message, offset)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            _, offset = _varint(message, offset)
        elif wire == _BYTES:
            size, offset = _varint(message, offset)
            if offset + size > len(message):
                raise ValueError("not an ONNX graph: it ends inside a field")
            yield number, message[offset : offset + size]
            offset += size
        elif wire in {_FIXED32, _FIXED64}:
            offset += 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"not an ONNX graph: wire type {wire}")


def _varint(message: memoryview, offset: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the top bit says that more bytes follow
            return value, offset
        shift += 7
