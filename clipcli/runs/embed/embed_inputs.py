"""The inputs of `embed`: images or texts, each with its position among all inputs."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import deque
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from clipcli.errors import ImageError, UsageError
from clipcli.inputs.collect import is_stream, is_words
from clipcli.inputs.sources.text_tables import ALL_COLUMNS
from clipcli.inputs.texts import read_texts
from clipcli.prompts import Label, load_prompts
from clipcli.session.features import NoVectorError
from clipcli.session.session import Session
from clipcli.vectorfiles import Failure
from clipcli.vectorfiles.columns import output_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from clipcli.core.console import Console
    from clipcli.core.vectors import Vector
    from clipcli.inputs.collect import ImageRef
    from clipcli.inputs.row_filter import Condition
    from clipcli.inputs.texts import TextRef
    from clipcli.options.embed import TextOptions
    from clipcli.options.shared import InputOptions
    from clipcli.prompts import PromptSet
    from clipcli.session.session import ImageEmbedder
    from clipcli.vectorfiles import Kind

Input = TypeVar("Input")
TableInput = TypeVar("TableInput", "ImageRef", "TextRef")
_TEXTS_AT_ONCE = 1024
_MANY = 10**9


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

    def name_of(self, one: Input) -> str:
        """Return the name of an input in rows."""
        ...

    def outcomes(self, session: ImageEmbedder, wanted: Iterable[tuple[int, Input]]) -> Iterator[EmbedOutcome]:
        """Yield a vector or an error for each (position, input), in order."""
        ...


@dataclass(frozen=True)
class ImageSource:
    """The images of the input options."""

    inputs: Iterable[ImageRef]
    count: int | None
    kept: tuple[str, ...] = ()
    """Columns of tables that are carried along."""
    kind: ClassVar[Kind] = "image"
    prompts: ClassVar[None] = None
    prompts_name: ClassVar[str] = ""
    expected_texts: ClassVar[int] = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """Return their names in the output."""
        return tuple(map(output_name, self.kept))

    @property
    def expected_images(self) -> int:
        """Return the number of images, or a large number if unknown."""
        return _MANY if self.count is None else self.count

    def name_of(self, one: ImageRef) -> str:
        """Return the name as the user wrote it."""
        return one.name

    def outcomes(self, session: ImageEmbedder, wanted: Iterable[tuple[int, ImageRef]]) -> Iterator[EmbedOutcome]:
        """Yield the results of the session's pipeline."""
        waiting: deque[tuple[int, ImageRef]] = deque()  # a worker of a cluster returns no carried columns

        def refs() -> Iterator[ImageRef]:
            for position, ref in wanted:
                waiting.append((position, ref))
                yield ref

        for embedded in session.embed_images(refs()):
            position, ref = waiting.popleft()
            fields = _carried(self.kept, ref.fields)
            yield EmbedOutcome(position, embedded.ref.name, embedded.vector, embedded.error, fields)


@dataclass(frozen=True)
class TextSource:
    """The texts of the command line, lists and tables; with prompts, each becomes the mean over its templates."""

    inputs: Iterable[TextRef]
    prompts: PromptSet | None
    at_once: int = _TEXTS_AT_ONCE
    count: int | None = None
    kept: tuple[str, ...] = ()
    """Columns of tables that are carried along."""
    kind: ClassVar[Kind] = "text"
    expected_images: ClassVar[int] = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """Return their names in the output."""
        return tuple(map(output_name, self.kept))

    @property
    def expected_texts(self) -> int:
        """Return the number of texts, or a large number if it is unknown or multiplied by templates."""
        return _MANY if self.count is None or self.prompts is not None else self.count

    @property
    def prompts_name(self) -> str:
        """Return the name of the templates and a hash of their content, since files change."""
        if self.prompts is None:
            return ""
        templates = json.dumps([self.prompts.templates, sorted(self.prompts.per_label.items())])
        return f"{self.prompts.name} ({hashlib.sha256(templates.encode()).hexdigest()[:8]})"

    def name_of(self, one: TextRef) -> str:
        """Return the text itself."""
        return one.text

    def outcomes(self, session: ImageEmbedder, wanted: Iterable[tuple[int, TextRef]]) -> Iterator[EmbedOutcome]:
        """Yield the results of texts, encoded in batches of `at_once`."""
        assert isinstance(session, Session)  # noqa: S101 - a cluster was refused: it embeds images
        stream = iter(wanted)
        while batch := list(islice(stream, self.at_once)):
            good = [ref.text for _, ref in batch if ref.problem is None]
            results = iter(self._embed(session, good))
            for position, ref in batch:
                result = next(results) if ref.problem is None else ImageError("read", ref.problem)
                fields = _carried(self.kept, ref.fields)
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


def image_source(
    options: InputOptions, console: Console, keep: Sequence[str] = (), where: Condition | None = None
) -> ImageSource:
    """Return the images of the command line; `keep` are columns of tables to carry, `where` chooses rows.

    Raises:
        UsageError: no images were given.
        InputsError: there are no images.
    """
    refs = _Refs(options, console, tuple(keep), where)
    if is_stream(options.images or [], options.files_from or []):
        kept, inputs = _peeked(iter(refs), keep)
        return ImageSource(inputs, None, kept)
    count, kept = 0, () if ALL_COLUMNS in keep else tuple(keep)
    for ref in refs:
        count += 1
        kept = kept or tuple(ref.fields)
    return ImageSource(refs, count, kept)


@dataclass(frozen=True)
class _Refs:
    """References that are collected again on each iteration, since a list of a million takes 0.3 GB."""

    options: InputOptions
    console: Console
    keep: tuple[str, ...]
    where: Condition | None

    def __iter__(self) -> Iterator[ImageRef]:
        return self.options.collect(self.console, keep=self.keep, where=self.where)


def _peeked(inputs: Iterator[TableInput], keep: Sequence[str]) -> tuple[tuple[str, ...], Iterator[TableInput]]:
    """Return the names of the carried columns and all inputs; for `all`, the first input says which there are."""
    if ALL_COLUMNS not in keep:
        return tuple(keep), inputs
    first = list(islice(inputs, 1))
    return tuple(first[0].fields) if first else (), chain(first, inputs)


def _carried(kept: Sequence[str], fields: Mapping[str, object]) -> dict[str, object]:
    return {output_name(name): fields.get(name) for name in kept}


def text_source(
    options: TextOptions, column: str | None, console: Console, keep: Sequence[str] = (), where: Condition | None = None
) -> TextSource:
    """Return the texts of the command line; `keep` are columns of tables to carry, `where` chooses rows.

    Raises:
        UsageError: options that do not go together.
        PromptsError: templates that cannot be used.
    """
    texts = read_texts(options.text or [], options.texts_from or [], column, console.warning, keep=keep, where=where)
    kept, texts = _peeked(texts, keep)
    count = None if options.texts_from else len(options.text or [])
    return TextSource(texts, load_prompts(options.prompts) if options.prompts else None, count=count, kept=kept)


def _arguments_as_texts(images: InputOptions, texts: TextOptions, console: Console) -> tuple[InputOptions, TextOptions]:
    """Treat arguments as texts if none of them can be a file, as in `embed "a dog"`."""
    arguments = images.images or []
    words = [argument for argument in arguments if is_words(argument)]
    phrases = [argument for argument in words if " " in argument.strip()]
    if not words:
        return images, texts
    if not phrases:
        console.info_once(f"{words[0]!r} is not a file; to embed it as a text: --text {shlex.quote(words[0])}")
        return images, texts
    if len(words) < len(arguments) or images.files_from:
        hint = f"images and texts go into separate outputs; for a text: --text {shlex.quote(phrases[0])}"
        raise UsageError(f"{phrases[0]!r} is not a file", hint=hint)
    subject = f"{words[0]!r} is no file, and" if len(words) == 1 else f"these {len(words)} are no files, and"
    console.info(f"{subject} embedded as text (the same as --text {shlex.quote(words[0])})")
    return replace(images, images=None), replace(texts, text=[*words, *(texts.text or [])])


def parse_source(
    images: InputOptions, texts: TextOptions, console: Console, keep: Sequence[str] = (), where: Condition | None = None
) -> ImageSource | TextSource:
    """Return the images or texts to embed; `keep` are columns of tables to carry, `where` chooses rows.

    Raises:
        UsageError: both images and texts, or options that need the other kind.
    """
    images, texts = _arguments_as_texts(images, texts, console)
    if texts.text or texts.texts_from:
        if images.images or images.files_from:
            raise UsageError("images and texts go into separate outputs", hint="run clipcli embed once for each")
        if images.globs.keeps is not None:
            raise UsageError("--include and --exclude choose images", hint="texts are all embedded")
        return text_source(texts, images.column, console, keep, where)
    if texts.prompts:
        raise UsageError("--prompts is for texts", hint="--text TEXT or --texts-from FILE")
    return image_source(images, console, keep, where)
