"""`--dry-run`: how many inputs, how many bytes, what is kept already, how long it may take. Loads no model."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clipcli.catalogue import figures
from clipcli.inputs import ImageRef
from clipcli.output.targets import open_target
from clipcli.sharding import Listing

if TYPE_CHECKING:
    from clipcli.embedding.sources import Input, Source
    from clipcli.session import Session
    from clipcli.vectorfiles import Kind

_KEYS_AT_ONCE = 500
_MEGA = 1_000_000


@dataclass
class Work:
    """What there is to do."""

    kind: Kind
    inputs: int = 0
    bytes: int = 0
    """Of files; 0 for texts."""
    cached: int = 0
    model_bytes: int | None = None
    """None when nobody knows without a download."""
    speed: float | None = None
    """Inputs a second in earlier runs with this model on this machine."""

    def lines(self) -> list[str]:
        """For people, one fact a line."""
        size = f", {self.bytes / _MEGA:,.1f} MB" if self.kind == "image" else ""
        model = "unknown size" if self.model_bytes is None else f"{self.model_bytes / _MEGA:,.0f} MB"
        left = self.inputs - self.cached
        if left == 0:
            time = "nothing to compute"
        elif self.speed is None:
            time = "unknown: this model has not run here yet"
        else:
            time = f"about {duration(left / self.speed)} at {self.speed:,.1f}/s, as in the last run"
        return [
            f"{self.kind}s: {self.inputs:,}{size}",
            f"in the cache: {self.cached:,}",
            f"model: {model}",
            f"time: {time}",
        ]


def print_estimate(session: Session, source: Source[Input], shard: tuple[int, int]) -> None:
    """Count, look into the cache, and print."""
    work = Work(source.kind, model_bytes=_model_bytes(session))
    known = session.model.is_known
    counter = _Counter(work, session if known else None)
    for _, one in Listing(source.inputs, source.name_of, *shard):
        counter.add(one if isinstance(one, ImageRef) else None)
    counter.look_up()
    work.speed = _known_speed(session, source.kind) if known else None
    with open_target(None) as target:
        target.write("".join(f"{line}\n" for line in work.lines()).encode("utf-8"))


@dataclass
class _Counter:
    work: Work
    session: Session | None
    """None when the model, and so what it has in the cache, is not known."""
    _digests: list[str] = field(default_factory=list)

    def add(self, ref: ImageRef | None) -> None:
        self.work.inputs += 1
        if ref is None:
            return
        if ref.source is not None:
            self.work.bytes += ref.source.size or 0
            return
        with suppress(OSError, ValueError):
            stat = os.stat(ref.path)  # noqa: PTH116 - paths are strings here, any bytes included
            self.work.bytes += stat.st_size
            digest = self.session.cache.known_digest(ref.path, stat) if self.session else None
            if digest is not None:
                self._digests.append(digest)
        if len(self._digests) >= _KEYS_AT_ONCE:
            self.look_up()

    def look_up(self) -> None:
        if self.session is not None:
            found = self.session.cache.get(self.session.image_space, self._digests)
            self.work.cached += sum(vector is not None for vector in found)
        self._digests = []


def keep_speed(session: Session, kind: Kind, speed: float) -> None:
    """Note the images or texts a second of a run of some length, for the next estimate with this model here."""
    session.cache.keep_note(session.space, f"{kind}s a second", f"{speed:.4g}")


def _known_speed(session: Session, kind: Kind) -> float | None:
    note = session.cache.note(session.space, f"{kind}s a second")
    return float(note) if note else None


def _model_bytes(session: Session) -> int | None:
    """From its record or bundle, else four bytes a parameter as published."""
    model = session.model
    if model.is_known:
        return model.known_bytes
    published = figures(model.spec.where, model.spec.version) if model.spec.kind == "tag" else None
    return published.download_megabytes * _MEGA if published else None


def duration(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h 5 min`."""
    minutes = round(seconds / 60)
    if minutes < 2:  # noqa: PLR2004 - below two minutes seconds say more
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004 - two hours
