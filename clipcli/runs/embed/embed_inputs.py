"""The inputs of `embed`: images or texts, each with its position among all inputs, and an estimate of their work.

`--dry-run` prints the estimate: the number and size of inputs, the cached ones, and the time. It loads no model.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from clipcli.engines.openclip_registry import check_name
from clipcli.errors import ImageError
from clipcli.inputs.collect import ImageRef, Listing
from clipcli.inputs.texts import TextRef
from clipcli.models.catalogue import ALIAS_NAMES, figures
from clipcli.output.targets import open_target
from clipcli.prompts import Label
from clipcli.session.features import NoVectorError
from clipcli.session.session import Session
from clipcli.vectorfiles import Failure
from clipcli.vectorfiles.columns import output_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from clipcli.core.vectors import Vector
    from clipcli.models.model import Model
    from clipcli.prompts import PromptSet
    from clipcli.session.session import ImageEmbedder
    from clipcli.vectorfiles import Kind

Input = TypeVar("Input")
TableInput = TypeVar("TableInput", "ImageRef", "TextRef")
_TEXTS_AT_ONCE = 1024
_INPUTS_AT_ONCE = 500
_MEGA = 1_000_000
_UNKNOWN_COUNT = 10**9


@dataclass(frozen=True)
class EmbedOutcome:
    """The result of one input: a (dim,) vector, or an error."""

    position: int
    name: str
    vector: Vector | None
    error: ImageError | None = None
    fields: Mapping[str, object] = field(default_factory=dict)
    """Its carried columns."""

    @property
    def failure(self) -> Failure | None:
        """Return the error with its position, or None."""
        if self.error is None:
            return None
        return Failure(self.name, self.error.stage, self.error.reason, self.position, self.fields)


class EmbedInputs(Protocol[Input]):
    """Inputs of one kind."""

    @property
    def kind(self) -> Kind:
        """Return the kind of the inputs."""
        ...

    @property
    def count(self) -> int | None:
        """Return the number of inputs, or None if unknown."""
        ...

    @property
    def prompts(self) -> PromptSet | None:
        """Return the templates for texts, or None."""
        ...

    @property
    def prompts_name(self) -> str:
        """Return the name of the templates; empty without any."""
        ...

    @property
    def expected_images(self) -> int:
        """Return the number of images of all shards, for which the engine prepares, so that all give the same bits."""
        ...

    @property
    def expected_texts(self) -> int:
        """Return the same for texts."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of tables that are carried along, as the output calls them."""
        ...

    @property
    def inputs(self) -> Iterable[Input]:
        """Return all inputs, in order."""
        ...

    def name_of(self, item: Input) -> str:
        """Return the name of an input in rows."""
        ...

    def outcomes(self, session: ImageEmbedder, inputs: Iterable[tuple[int, Input]]) -> Iterator[EmbedOutcome]:
        """Yield a vector or an error for each (position, input), in order."""
        ...


@dataclass(frozen=True)
class ImageInputs:
    """The images of the input options."""

    inputs: Iterable[ImageRef]
    count: int | None
    carried: tuple[str, ...] = ()
    """Columns of tables that are carried along."""
    kind: ClassVar[Kind] = "image"
    prompts: ClassVar[None] = None
    prompts_name: ClassVar[str] = ""
    expected_texts: ClassVar[int] = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """Return their names in the output."""
        return tuple(map(output_name, self.carried))

    @property
    def expected_images(self) -> int:
        """Return the number of images, or a large number if unknown."""
        return _UNKNOWN_COUNT if self.count is None else self.count

    def name_of(self, item: ImageRef) -> str:
        """Return the name as the user wrote it."""
        return item.name

    def outcomes(self, session: ImageEmbedder, inputs: Iterable[tuple[int, ImageRef]]) -> Iterator[EmbedOutcome]:
        """Yield the results of the session's pipeline."""
        waiting: deque[tuple[int, ImageRef]] = deque()  # a worker of a cluster returns no carried columns

        def refs() -> Iterator[ImageRef]:
            for position, ref in inputs:
                waiting.append((position, ref))
                yield ref

        for embedded in session.embed_images(refs()):
            position, ref = waiting.popleft()
            fields = _carried_fields(self.carried, ref.fields)
            yield EmbedOutcome(position, embedded.ref.name, embedded.vector, embedded.error, fields)


@dataclass(frozen=True)
class TextInputs:
    """The texts of the command line, lists and tables; with prompts, each becomes the mean over its templates."""

    inputs: Iterable[TextRef]
    prompts: PromptSet | None
    at_once: int = _TEXTS_AT_ONCE
    count: int | None = None
    carried: tuple[str, ...] = ()
    """Columns of tables that are carried along."""
    kind: ClassVar[Kind] = "text"
    expected_images: ClassVar[int] = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """Return their names in the output."""
        return tuple(map(output_name, self.carried))

    @property
    def expected_texts(self) -> int:
        """Return the number of texts, or a large number if it is unknown or multiplied by templates."""
        return _UNKNOWN_COUNT if self.count is None or self.prompts is not None else self.count

    @property
    def prompts_name(self) -> str:
        """Return the name of the templates and a hash of their content, since files change."""
        if self.prompts is None:
            return ""
        templates = json.dumps([self.prompts.templates, sorted(self.prompts.per_label.items())])
        return f"{self.prompts.name} ({hashlib.sha256(templates.encode()).hexdigest()[:8]})"

    def name_of(self, item: TextRef) -> str:
        """Return the text itself."""
        return item.text

    def outcomes(self, session: ImageEmbedder, inputs: Iterable[tuple[int, TextRef]]) -> Iterator[EmbedOutcome]:
        """Yield the results of texts, encoded in batches of `at_once`."""
        assert isinstance(session, Session)  # noqa: S101 - a cluster was refused: it embeds images
        stream = iter(inputs)
        while batch := list(islice(stream, self.at_once)):
            good = [ref.text for _, ref in batch if ref.problem is None]
            results = iter(self._embed(session, good))
            for position, ref in batch:
                result = next(results) if ref.problem is None else ImageError("read", ref.problem)
                fields = _carried_fields(self.carried, ref.fields)
                if isinstance(result, ImageError):
                    yield EmbedOutcome(position, ref.text, None, result, fields)
                else:
                    yield EmbedOutcome(position, ref.text, result, None, fields)

    def _embed(self, session: Session, texts: Sequence[str]) -> Sequence[Vector | ImageError]:
        try:
            if self.prompts is None:
                return list(session.embed_texts(texts))
            return list(session.embed_labels([Label(text, (text,)) for text in texts], self.prompts))
        except NoVectorError as error:
            return error.results


def _carried_fields(columns: Sequence[str], fields: Mapping[str, object]) -> dict[str, object]:
    return {output_name(name): fields.get(name) for name in columns}


@dataclass
class WorkEstimate:
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
        remaining = self.inputs - self.missing - self.cached
        missing = [f"missing: {self.missing:,}"] if self.missing else []
        if remaining == 0:
            time = "nothing to compute"
        elif self.speed is None:
            time = "unknown: no run with this model is on record here"
        else:
            time = f"about {duration(remaining / self.speed)} at {self.speed:,.1f}/s, as in the last run"
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
    is_described = model.is_described
    if not is_described:
        check_name(model.spec, ALIAS_NAMES)
    work = WorkEstimate(source.kind, model_bytes=_model_bytes(model))
    inputs = (item for _, item in Listing(source.inputs, source.name_of, *shard))
    while batch := list(islice(inputs, _INPUTS_AT_ONCE)):
        work.inputs += len(batch)
        texts = [item.text for item in batch if isinstance(item, TextRef) and item.problem is None]
        _add_images(work, session if is_described else None, [item for item in batch if isinstance(item, ImageRef)])
        if is_described and texts:
            work.cached += session.count_kept(texts, source.prompts)
    work.speed = _known_speed(session, source.kind) if is_described else None
    with open_target(None) as target:
        target.write("".join(f"{line}\n" for line in work.lines()).encode("utf-8"))


def _add_images(work: WorkEstimate, session: Session | None, refs: Sequence[ImageRef]) -> None:
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
        vectors = session.cache.get(session.image_space, digests)
        work.cached += sum(vector is not None for vector in vectors)


def keep_speed(session: Session, kind: Kind, speed: float) -> None:
    """Store the images or texts per second of a run for the next estimate with this model."""
    session.cache.keep_note(session.space, f"{kind}s a second", f"{speed:.4g}")


def _known_speed(session: Session, kind: Kind) -> float | None:
    note = session.cache.note(session.space, f"{kind}s a second")
    return float(note) if note else None


def _model_bytes(model: Model) -> int | None:
    """Return the model's size from its record or bundle, else four bytes per published parameter, else None."""
    if model.is_described:
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
