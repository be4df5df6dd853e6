"""`--dry-run`: estimate the number and size of inputs, the cached ones, and the time, without loading a model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from clipcli.engines.openclip_registry import check_name
from clipcli.inputs.collect import ImageRef, Listing
from clipcli.inputs.texts import TextRef
from clipcli.models.catalogue import ALIAS_NAMES, figures
from clipcli.output.targets import open_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.models.model import Model
    from clipcli.runs.embed.embed_inputs import EmbedInputs, Input
    from clipcli.session.session import Session
    from clipcli.vectorfiles import Kind

_INPUTS_AT_ONCE = 500
_MEGA = 1_000_000


@dataclass
class Work:
    """The work of a run."""

    kind: Kind
    inputs: int = 0
    bytes: int = 0
    """Size of the files; 0 for texts."""
    missing: int = 0
    """Files that do not exist or cannot be accessed."""
    cached: int = 0
    model_bytes: int | None = None
    """Size of the model; None if unknown without a download."""
    speed: float | None = None
    """Inputs per second in earlier runs with this model on this machine."""

    def lines(self) -> list[str]:
        """Return the estimate as text, one fact per line."""
        size = f", {self.bytes / _MEGA:,.1f} MB" if self.kind == "image" else ""
        model = "unknown size" if self.model_bytes is None else f"{self.model_bytes / _MEGA:,.0f} MB"
        left = self.inputs - self.missing - self.cached
        missing = [f"missing: {self.missing:,}"] if self.missing else []
        if left == 0:
            time = "nothing to compute"
        elif self.speed is None:
            time = "unknown: no run with this model is on record here"
        else:
            time = f"about {duration(left / self.speed)} at {self.speed:,.1f}/s, as in the last run"
        return [
            f"{self.kind}s: {self.inputs:,}{size}",
            *missing,
            f"in the cache: {self.cached:,}",
            f"model: {model}",
            f"time: {time}",
        ]


def print_estimate(session: Session, source: EmbedInputs[Input], shard: tuple[int, int]) -> None:
    """Count the inputs, look them up in the cache, and print the estimate.

    Raises:
        UnknownModelError: there is no such model.
    """
    model = session.model
    is_known = model.is_known
    if not is_known:
        check_name(model.spec, ALIAS_NAMES)
    work = Work(source.kind, model_bytes=_model_bytes(model))
    inputs = (one for _, one in Listing(source.inputs, source.name_of, *shard))
    while batch := list(islice(inputs, _INPUTS_AT_ONCE)):
        work.inputs += len(batch)
        texts = [one.text for one in batch if isinstance(one, TextRef) and one.problem is None]
        _look_at_images(work, session if is_known else None, [one for one in batch if isinstance(one, ImageRef)])
        if is_known and texts:
            work.cached += session.count_kept(texts, source.prompts)
    work.speed = _known_speed(session, source.kind) if is_known else None
    with open_target(None) as target:
        target.write("".join(f"{line}\n" for line in work.lines()).encode("utf-8"))


def _look_at_images(work: Work, session: Session | None, refs: Sequence[ImageRef]) -> None:
    """Add images to the work; `session` is None if the model, and so its cache, is unknown."""
    digests: list[str] = []
    for ref in refs:
        if ref.source is not None:
            work.bytes += ref.source.size or 0
            continue
        try:
            stat = os.stat(ref.path)  # noqa: PTH116 - paths are strings here, any bytes included
        except (OSError, ValueError):
            work.missing += 1
            continue
        work.bytes += stat.st_size
        if session is not None and (digest := session.cache.known_digest(ref.path, stat)) is not None:
            digests.append(digest)
    if session is not None:
        found = session.cache.get(session.image_space, digests)
        work.cached += sum(vector is not None for vector in found)


def keep_speed(session: Session, kind: Kind, speed: float) -> None:
    """Store the images or texts per second of a run for the next estimate with this model."""
    session.cache.keep_note(session.space, f"{kind}s a second", f"{speed:.4g}")


def _known_speed(session: Session, kind: Kind) -> float | None:
    note = session.cache.note(session.space, f"{kind}s a second")
    return float(note) if note else None


def _model_bytes(model: Model) -> int | None:
    """Return the model's size from its record or bundle, else four bytes per published parameter, else None."""
    if model.is_known:
        return model.known_bytes
    published = figures(model.spec.where, model.spec.version) if model.spec.kind == "tag" else None
    megabytes = published.download_megabytes if published else None
    return None if megabytes is None else megabytes * _MEGA


def duration(seconds: float) -> str:
    """Return a duration as text: `40 s`, `3 min`, `2 h 5 min`."""
    minutes = round(seconds / 60)
    if minutes < 2:  # noqa: PLR2004 - below two minutes seconds say more
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004 - two hours
