"""What was learnt of a model when it was last loaded, so that the next run can do without loading it."""

from __future__ import annotations

import json
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.bundle.manifest import info_of, scoring_of
from clipcli.cache import cache_folder

if TYPE_CHECKING:
    from clipcli.encoder import ModelInfo, Precision, Scoring


@dataclass(frozen=True)
class Stamp:
    """A file as it was: another size or time means another file."""

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """The file as it is now. Raises OSError where it is not."""
        stat = path.stat()
        return cls(str(path), stat.st_size, stat.st_mtime_ns)

    @property
    def is_current(self) -> bool:
        """Whether the file is still the one that was stamped."""
        try:
            return Stamp.of(Path(self.path)) == self
        except OSError:
            return False


@dataclass(frozen=True)
class Record:
    """One model, as it was loaded from one weights file."""

    info: ModelInfo
    scoring: Scoring
    weights: Stamp
    revision: str | None
    device: str
    precision: Precision
    """What `--precision auto` came to on that device."""


def slug(name: str) -> str:
    """A model's name as a file name."""
    return re.sub(r"[^\w.@-]+", "--", name).strip("-")[:180]


def bundle_folder(name: str) -> Path:
    """Where a model's own export is kept."""
    return cache_folder() / "bundles" / slug(name)


def stamps_folder() -> Path:
    """Where it is kept which bundles were found whole."""
    return cache_folder() / "stamps"


def _file(name: str, asked_device: str) -> Path:
    return cache_folder() / "models" / f"{slug(name)}.{slug(asked_device)}.json"


def find(name: str, asked_device: str) -> Record | None:
    """The record of a model, unless there is none, it cannot be read, or the weights have changed since."""
    try:
        data = json.loads(_file(name, asked_device).read_text(encoding="utf-8"))
        record = Record(
            info_of(data["info"]),
            scoring_of(data["scoring"]),
            Stamp(**data["weights"]),
            data["revision"],
            data["device"],
            data["precision"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if record.weights.is_current else None


def keep(record: Record, asked_device: str) -> None:
    """Write a record whole or not at all; a cache that cannot be written only costs time later."""
    path = _file(record.info.name, asked_device)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(asdict(record), stream)
        Path(part).replace(path)
