"""What `embed` turns into vectors: images or texts, one after the other, each with its place among all inputs."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import deque
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from clipcli.errors import ImageError, UsageError
from clipcli.inputs.collect import is_stream, is_words
from clipcli.inputs.texts import read_texts
from clipcli.prompts import Label, load_prompts
from clipcli.session.features import NoVectorError
from clipcli.session.session import Session
from clipcli.vectorfiles import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clipcli.core.console import Console
    from clipcli.core.vectors import Vector
    from clipcli.inputs.collect import ImageRef
    from clipcli.inputs.texts import TextRef
    from clipcli.options.embed import TextOptions
    from clipcli.options.shared import InputOptions
    from clipcli.prompts import PromptSet
    from clipcli.session.image_embedder import ImageEmbedder
    from clipcli.vectorfiles import Kind

Input = TypeVar("Input")
_TEXTS_AT_ONCE = 1024
_MANY = 10**9


@dataclass(frozen=True)
class EmbedOutcome:
    """What became of one input: a vector (dim,), or an error."""

    position: int
    name: str
    vector: Vector | None
    error: ImageError | None = None

    @property
    def failure(self) -> Failure | None:
        """Return the error with its place, if there is one."""
        if self.error is None:
            return None
        return Failure(self.name, self.error.stage, self.error.reason, self.position)


class EmbedInputs(Protocol[Input]):
    """Inputs of one kind."""

    @property
    def kind(self) -> Kind:
        """Return what the rows are."""
        ...

    @property
    def count(self) -> int | None:
        """Return how many there are, unless that is known only at the end."""
        ...

    @property
    def prompts(self) -> PromptSet | None:
        """Return what the inputs are put into."""
        ...

    @property
    def prompts_name(self) -> str:
        """Its name; empty for nothing."""
        ...

    @property
    def expected_images(self) -> int:
        """How many images the engine should prepare for: all inputs of all shards, so that each gives the same bits."""
        ...

    @property
    def expected_texts(self) -> int:
        """Return the same of texts."""
        ...

    @property
    def inputs(self) -> Iterable[Input]:
        """Return all of them, in order."""
        ...

    def name_of(self, one: Input) -> str:
        """Return what stands for an input in every row."""
        ...

    def outcomes(self, session: ImageEmbedder, wanted: Iterable[tuple[int, Input]]) -> Iterator[EmbedOutcome]:
        """Return a vector or an error for each (position, input), in order; streams."""
        ...


@dataclass(frozen=True)
class ImageSource:
    """Images by the usual grammar."""

    inputs: Iterable[ImageRef]
    count: int | None
    kind: ClassVar[Kind] = "image"
    prompts: ClassVar[None] = None
    prompts_name: ClassVar[str] = ""
    expected_texts: ClassVar[int] = 0

    @property
    def expected_images(self) -> int:
        """Many, when nobody knows."""
        return _MANY if self.count is None else self.count

    def name_of(self, one: ImageRef) -> str:
        """As the user wrote it."""
        return one.name

    def outcomes(self, session: ImageEmbedder, wanted: Iterable[tuple[int, ImageRef]]) -> Iterator[EmbedOutcome]:
        """Through the session's pipeline."""
        positions: deque[int] = deque()

        def refs() -> Iterator[ImageRef]:
            for position, ref in wanted:
                positions.append(position)
                yield ref

        for embedded in session.embed_images(refs()):
            yield EmbedOutcome(positions.popleft(), embedded.ref.name, embedded.vector, embedded.error)


@dataclass(frozen=True)
class TextSource:
    """Texts of the command line, of lists and of tables; with prompts each becomes the ensemble of its templates."""

    inputs: Iterable[TextRef]
    prompts: PromptSet | None
    at_once: int = _TEXTS_AT_ONCE
    count: int | None = None
    kind: ClassVar[Kind] = "text"
    expected_images: ClassVar[int] = 0

    @property
    def expected_texts(self) -> int:
        """Many, when nobody knows; templates multiply them."""
        return _MANY if self.count is None or self.prompts is not None else self.count

    @property
    def prompts_name(self) -> str:
        """Return the set's name and a hash of what is in it, since files change."""
        if self.prompts is None:
            return ""
        templates = json.dumps([self.prompts.templates, sorted(self.prompts.per_label.items())])
        return f"{self.prompts.name} ({hashlib.sha256(templates.encode()).hexdigest()[:8]})"

    def name_of(self, one: TextRef) -> str:
        """Return the text itself."""
        return one.text

    def outcomes(self, session: ImageEmbedder, wanted: Iterable[tuple[int, TextRef]]) -> Iterator[EmbedOutcome]:
        """Some hundreds of texts at a time."""
        assert isinstance(session, Session)  # noqa: S101 - a cluster was refused: it embeds images
        stream = iter(wanted)
        while some := list(islice(stream, self.at_once)):
            good = [ref.text for _, ref in some if ref.problem is None]
            results = iter(self._embed(session, good))
            for position, ref in some:
                result = next(results) if ref.problem is None else ImageError("read", ref.problem)
                if isinstance(result, ImageError):
                    yield EmbedOutcome(position, ref.text, None, result)
                else:
                    yield EmbedOutcome(position, ref.text, result)

    def _embed(self, session: Session, texts: Sequence[str]) -> Sequence[Vector | ImageError]:
        try:
            if self.prompts is None:
                return list(session.embed_texts(texts))
            return list(session.embed_labels([Label(text, (text,)) for text in texts], self.prompts))
        except NoVectorError as error:
            return error.results


def image_source(options: InputOptions, console: Console) -> ImageSource:
    """Return the images of the command line.

    Raises:
        UsageError: none were named.
        InputsError: nothing came of the names.
    """
    if is_stream(options.images or [], options.files_from or []):
        return ImageSource(options.collect(console), None)
    refs = _Refs(options, console)
    return ImageSource(refs, sum(1 for _ in refs))


@dataclass(frozen=True)
class _Refs:
    """Images looked up anew whenever they are gone through: a million of them would take 0.3 GB as a list."""

    options: InputOptions
    console: Console

    def __iter__(self) -> Iterator[ImageRef]:
        return self.options.collect(self.console)


def text_source(options: TextOptions, column: str | None, console: Console) -> TextSource:
    """Return the texts of the command line.

    Raises:
        UsageError: options that do not go together.
        PromptsError: templates that cannot be used.
    """
    texts = read_texts(options.text or [], options.texts_from or [], column, console.warning)
    count = None if options.texts_from else len(options.text or [])
    return TextSource(texts, load_prompts(options.prompts) if options.prompts else None, count=count)


def _arguments_as_texts(images: InputOptions, texts: TextOptions, console: Console) -> tuple[InputOptions, TextOptions]:
    """Take arguments for texts where none of them can be a file: `embed "a dog"`."""
    arguments = images.images or []
    words = [argument for argument in arguments if is_words(argument)]
    phrases = [argument for argument in words if " " in argument.strip()]
    if not words:
        return images, texts
    if not phrases:
        console.info_once(f"{words[0]!r} is no file; to embed it as a text: --text {shlex.quote(words[0])}")
        return images, texts
    if len(words) < len(arguments) or images.files_from:
        hint = f"images and texts go into separate outputs; for a text: --text {shlex.quote(phrases[0])}"
        raise UsageError(f"{phrases[0]!r} is no file", hint=hint)
    what = f"{words[0]!r} is no file, and" if len(words) == 1 else f"these {len(words)} are no files, and"
    console.info(f"{what} embedded as text (the same as --text {shlex.quote(words[0])})")
    return replace(images, images=None), replace(texts, text=[*words, *(texts.text or [])])


def parse_source(images: InputOptions, texts: TextOptions, console: Console) -> ImageSource | TextSource:
    """Return what to embed.

    Raises:
        UsageError: images and texts at once, or options without what they need.
    """
    images, texts = _arguments_as_texts(images, texts, console)
    if texts.text or texts.texts_from:
        if images.images or images.files_from:
            raise UsageError("images and texts go into separate outputs", hint="run clipcli embed once for each")
        if images.globs.keeps is not None:
            raise UsageError("--include and --exclude choose images", hint="texts are all embedded")
        return text_source(texts, images.column, console)
    if texts.prompts:
        raise UsageError("--prompts is for texts", hint="--text TEXT or --texts-from FILE")
    return image_source(images, console)
