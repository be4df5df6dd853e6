"""Records of loaded models, so that the next run can describe a model without loading it."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from clipcli.cache import cache_folder
from clipcli.core.decode import decode, parse_json
from clipcli.core.encoder import ModelInfo, Precision, Scoring  # noqa: TC001 - decode reads annotations at run time
from clipcli.core.files import (
    is_folder,
    is_private,
    is_sha256,
    make_private_folder,
    open_private,
    read_bytes,
    sha256_of,
)
from clipcli.engines.registry import ENGINES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.bundle import Bundle

_MAX_RECORD_BYTES = 1 << 20
"""Most bytes of a record."""
_FINGERPRINT = re.compile(r"[0-9a-f]{12}")
_RACY_SECONDS = 2.0
_MAX_NAME_LENGTH = 120
"""Most characters of a model's name in a file name."""


@dataclass(frozen=True)
class FileStamp:
    """The size and time of a file; if they differ, the file has changed."""

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """Return the stamp of a file. Raises OSError if it is missing."""
        stat = path.stat()
        return cls(str(path), stat.st_size, stat.st_mtime_ns)

    @property
    def is_current(self) -> bool:
        """Return whether the file is unchanged."""
        return self.now == self

    @property
    def now(self) -> FileStamp | None:
        """Return the present stamp of the path, or None."""
        try:
            return FileStamp.of(Path(self.path))
        except (OSError, ValueError):
            return None


@dataclass(frozen=True)
class Record:
    """The description of a model loaded from one file of weights."""

    info: ModelInfo
    scoring: Scoring
    weights: FileStamp
    others: tuple[FileStamp, ...]
    """Other files that define it: its config, and the hub's file with the commit of the revision."""
    revision: str | None
    device: str
    precision: Precision
    """The precision that `auto` chose on that device."""

    @property
    def stamps(self) -> tuple[FileStamp, ...]:
        """Return the stamps of all its files."""
        return (self.weights, *self.others)


def slug(name: str) -> str:
    """Return a model's name as a file name; long and ambiguous names get a digest."""
    plain = re.sub(r"[^\w.@-]+", "--", name).strip("-.")[:_MAX_NAME_LENGTH]
    if len(name) <= _MAX_NAME_LENGTH and not re.search(r"[^\w.@:/-]|--|[:/]{2}|^\.|\.$", name):
        return plain
    return f"{plain}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def bundle_folder(name: str) -> Path:
    """Return the cache folder of a model's bundle."""
    return cache_folder() / "bundles" / slug(name)


class FastCopy(NamedTuple):
    """A bundle in the cache, possibly unfinished."""

    folder: Path
    size: int
    """Size on disk in bytes."""


def fast_copies() -> list[FastCopy]:
    """Return the bundles in the cache."""
    with suppress(OSError):
        folders = sorted(path for path in (cache_folder() / "bundles").iterdir() if is_folder(path))
        return [FastCopy(folder, sum(file.stat().st_size for file in folder.iterdir())) for folder in folders]
    return []


def remove_fast_copies() -> list[FastCopy]:
    """Delete all bundles in the cache and the records of attempts; runs that use one have its files open."""
    copies = fast_copies()
    shutil.rmtree(cache_folder() / "bundles", ignore_errors=True)
    return copies


def remember_origin(bundle: Bundle) -> None:
    """Record that a bundle was made here from a model, so that both share cached vectors."""
    with suppress(OSError), open_private(make_private_folder(_origins()) / bundle.digest) as stream:
        stream.write(bundle.info.fingerprint)


def vectors_key(bundle: Bundle) -> str:
    """Return the cache key of a bundle's vectors: a digest over its files, or its source's fingerprint if made here.

    The fingerprint in the bundle is not used, since a bundle could claim that of another model.
    """
    with suppress(OSError):
        path = _origins() / bundle.digest
        if is_private(path.parent) and _FINGERPRINT.fullmatch(fingerprint := path.read_text(encoding="ascii")):
            return fingerprint
    return f"bundle-{bundle.digest}"


def _origins() -> Path:
    return cache_folder() / "origins"


def digest_of(path: Path) -> str:
    """Return the SHA-256 (hex) of a file, stored until the file changes.

    The hash in the file name of a hub's cache is not trusted, since any folder can have such names.
    """
    state = path.stat()
    identity = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    digest_file = cache_folder() / "digests" / hashlib.sha256(repr(identity).encode()).hexdigest()
    with suppress(OSError, ValueError):
        if is_private(digest_file.parent) and is_sha256(stored := digest_file.read_text(encoding="ascii")):
            return stored
    digest = sha256_of(path)
    with suppress(OSError):
        if time.time() - state.st_ctime > _RACY_SECONDS and path.stat() == state:
            make_private_folder(digest_file.parent)
            with open_private(digest_file) as stream:
                stream.write(digest)
    return digest


def measured_engine(key: Sequence[str]) -> str | None:
    """Return the engine that an earlier run found to be the faster one under a key, or None if none has measured."""
    with suppress(OSError, ValueError):
        path = _engine_file(key)
        if is_private(path.parent) and (name := path.read_text(encoding="ascii")) in ENGINES:
            return name
    return None


def keep_measured_engine(key: Sequence[str], engine: str) -> None:
    """Store which engine is the faster one, under a key of all that may change it."""
    path = _engine_file(key)
    with suppress(OSError):
        make_private_folder(path.parent)
        with open_private(path) as stream:
            stream.write(engine)


def _engine_file(key: Sequence[str]) -> Path:
    return cache_folder() / "engines" / hashlib.sha256(repr(key).encode()).hexdigest()


def stamps_folder() -> Path:
    """Return the folder that records which bundles were checked."""
    return cache_folder() / "stamps"


def is_first_use(name: str) -> bool:
    """Return whether this is the first call for `name` on this machine; always True if the cache cannot be written."""
    mark = cache_folder() / "seen" / slug(name)
    try:
        make_private_folder(mark.parent)
        open_private(mark, "x").close()
    except FileExistsError:
        return not mark.exists()
    except OSError:
        return True
    return True


def _record_file(name: str, key: str) -> Path:
    return cache_folder() / "models" / f"{slug(name)}.{slug(key)}.json"


def find(name: str, key: str) -> Record | None:
    """Return the record of a model if it can be read and its files are unchanged, else None.

    `key` is that of `loader.settings_key`: the device and precision.
    """
    return _if_current(_read(_record_file(name, key), name))


def find_any(name: str) -> Record | None:
    """Return a current record of a model for any settings, which identifies the model but not its precision here."""
    return next((record for record in _read_all(name) if _if_current(record)), None)


def has_new_revision(name: str) -> bool:
    """Return whether the hub's cache holds another commit of a model than at loading; missing files count as no."""
    stamps = (stamp for record in _read_all(name) for stamp in record.others if Path(stamp.path).parent.name == "refs")
    return any(stamp.now not in {None, stamp} for stamp in stamps)


def _read_all(name: str) -> Iterator[Record]:
    for path in sorted((cache_folder() / "models").glob(f"{glob.escape(slug(name))}.*.json")):
        if record := _read(path, name):
            yield record


def _if_current(record: Record | None) -> Record | None:
    return record if record and all(stamp.is_current for stamp in record.stamps) else None


def _read(path: Path, name: str) -> Record | None:
    try:
        if not is_private(path.parent):
            return None
        record = decode(Record, parse_json(read_bytes(path, _MAX_RECORD_BYTES)))
    except (OSError, ValueError):
        return None
    return record if record.info.name == name else None


def keep(record: Record, key: str) -> None:
    """Write a record atomically; a cache that cannot be written only costs time later."""
    import tempfile  # it takes 3 ms, and only a model's first run writes a record

    path = _record_file(record.info.name, key)
    with suppress(OSError):
        make_private_folder(path.parent)
        handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(asdict(record), stream)
            Path(part).replace(path)
        except OSError:
            Path(part).unlink(missing_ok=True)
