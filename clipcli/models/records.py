"""What was learnt of a model when it was last loaded, so that the next run can do without loading it."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.cache import cache_folder, is_private, make_folder, open_file
from clipcli.core.decode import decode, parse_json
from clipcli.core.encoder import ModelInfo, Precision, Scoring  # noqa: TC001 - decode reads annotations at run time
from clipcli.core.files import is_folder, read_bytes
from clipcli.hub import sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.bundle import Bundle

_LARGEST = 1 << 20
"""Bytes of a record."""
_FINGERPRINT = re.compile(r"[0-9a-f]{12}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RACY_SECONDS = 2.0
_LONGEST = 120
"""Characters of a name in a file name."""


@dataclass(frozen=True)
class FileStamp:
    """A file as it was: another size or time means another file."""

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """Return the file as it is now. Raises OSError where it is not."""
        stat = path.stat()
        return cls(str(path), stat.st_size, stat.st_mtime_ns)

    @property
    def is_current(self) -> bool:
        """Return whether the file is still the one that was stamped."""
        return self.now == self

    @property
    def now(self) -> FileStamp | None:
        """Return the file of that path today."""
        try:
            return FileStamp.of(Path(self.path))
        except (OSError, ValueError):
            return None


@dataclass(frozen=True)
class Record:
    """One model, as it was loaded from one weights file."""

    info: ModelInfo
    scoring: Scoring
    weights: FileStamp
    others: tuple[FileStamp, ...]
    """Whatever else it was made from: its config, and the file that says which revision is meant."""
    revision: str | None
    device: str
    precision: Precision
    """What `--precision auto` came to on that device."""

    @property
    def stamps(self) -> tuple[FileStamp, ...]:
        """Return every file that it was made from."""
        return (self.weights, *self.others)


def slug(name: str) -> str:
    """Return a model's name as a file name; names that would become the same one, or a long one, get a digest."""
    plain = re.sub(r"[^\w.@-]+", "--", name).strip("-.")[:_LONGEST]
    if len(name) <= _LONGEST and not re.search(r"[^\w.@:/-]|--|[:/]{2}|^\.|\.$", name):
        return plain
    return f"{plain}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def bundle_folder(name: str) -> Path:
    """Return where a model's own export is kept."""
    return cache_folder() / "bundles" / slug(name)


@dataclass(frozen=True)
class FastCopy:
    """A bundle that clipcli made for itself, or what is left of one that was not finished."""

    folder: Path
    size: int
    """Bytes on disk."""


def fast_copies() -> list[FastCopy]:
    """Return what lies where `bundle_folder` points to."""
    with suppress(OSError):
        folders = sorted(path for path in (cache_folder() / "bundles").iterdir() if is_folder(path))
        return [FastCopy(folder, sum(file.stat().st_size for file in folder.iterdir())) for folder in folders]
    return []


def remove_fast_copies() -> list[FastCopy]:
    """Remove them all, and with them the marks of attempts that failed; a run at work with one has its files open."""
    found = fast_copies()
    shutil.rmtree(cache_folder() / "bundles", ignore_errors=True)
    return found


def remember_origin(bundle: Bundle) -> None:
    """Note that a bundle was made here from a model whose vectors it gives, so that both share what is kept."""
    with suppress(OSError), open_file(make_folder(_origins()) / bundle.digest) as stream:
        stream.write(bundle.info.fingerprint)


def vectors_key(bundle: Bundle) -> str:
    """What a bundle's vectors are kept under: a digest over its files, or its source's fingerprint if it was made here.

    Never what the bundle states: then one that states another model's fingerprint would answer for that model.
    """
    with suppress(OSError):
        path = _origins() / bundle.digest
        if is_private(path.parent) and _FINGERPRINT.fullmatch(found := path.read_text(encoding="ascii")):
            return found
    return f"bundle-{bundle.digest}"


def _origins() -> Path:
    return cache_folder() / "origins"


def digest_of(path: Path) -> str:
    """Return the sha256 (hex) of a file's content; kept for as long as the file does not change.

    The name that a hub's cache gives to a file is not taken for it: a folder from anywhere can have such names.
    """
    state = path.stat()
    marks = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    kept = cache_folder() / "digests" / hashlib.sha256(repr(marks).encode()).hexdigest()
    with suppress(OSError, ValueError):
        if is_private(kept.parent) and _SHA256.fullmatch(found := kept.read_text(encoding="ascii")):
            return found
    digest = sha256_of(path)
    with suppress(OSError):
        if time.time() - state.st_ctime > _RACY_SECONDS and path.stat() == state:
            make_folder(kept.parent)
            with open_file(kept) as stream:
                stream.write(digest)
    return digest


def stamps_folder() -> Path:
    """Return where it is kept which bundles were found whole."""
    return cache_folder() / "stamps"


def is_first_use(name: str) -> bool:
    """Return whether this is the first call for `name` on this machine; where that cannot be kept, every call is."""
    mark = cache_folder() / "seen" / slug(name)
    try:
        make_folder(mark.parent)
        open_file(mark, "x").close()
    except FileExistsError:
        return not mark.exists()
    except OSError:
        return True
    return True


def _file(name: str, place: str) -> Path:
    return cache_folder() / "models" / f"{slug(name)}.{slug(place)}.json"


def find(name: str, place: str) -> Record | None:
    """Return the record of a model, unless there is none, it cannot be read, or one of its files has changed since.

    `place` is what the record depends on besides the model: where it was asked to run.
    """
    return _current(_read(_file(name, place), name))


def find_any(name: str) -> Record | None:
    """Return a record of a model from wherever it ran: enough to tell which model it is, not how it runs here."""
    return next((record for record in _all(name) if _current(record)), None)


def has_moved_on(name: str) -> bool:
    """Return whether the hub's cache holds another commit of a model than when it was loaded.

    Files that are gone say no.
    """
    stamps = (stamp for record in _all(name) for stamp in record.others if Path(stamp.path).parent.name == "refs")
    return any(stamp.now not in {None, stamp} for stamp in stamps)


def _all(name: str) -> Iterator[Record]:
    for path in sorted((cache_folder() / "models").glob(f"{glob.escape(slug(name))}.*.json")):
        if record := _read(path, name):
            yield record


def _current(record: Record | None) -> Record | None:
    return record if record and all(stamp.is_current for stamp in record.stamps) else None


def _read(path: Path, name: str) -> Record | None:
    try:
        if not is_private(path.parent):
            return None
        record = decode(Record, parse_json(read_bytes(path, _LARGEST)))
    except (OSError, ValueError):
        return None
    return record if record.info.name == name else None


def keep(record: Record, place: str) -> None:
    """Write a record whole or not at all; a cache that cannot be written only costs time later."""
    path = _file(record.info.name, place)
    with suppress(OSError):
        make_folder(path.parent)
        handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(asdict(record), stream)
            Path(part).replace(path)
        except OSError:
            Path(part).unlink(missing_ok=True)
