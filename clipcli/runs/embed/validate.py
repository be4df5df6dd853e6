"""Check the options of `embed` together before a model is loaded: its inputs, its output, and its format."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

from clipcli.core.console import RunSummary
from clipcli.core.files import STDOUT, descriptor_of, is_file, is_folder, is_there
from clipcli.core.optional_packages import require_packages
from clipcli.core.redaction import redact, redact_url
from clipcli.errors import InputsError, UsageError, did_you_mean
from clipcli.inputs.collect import is_stream, is_words, parse_shard
from clipcli.inputs.sources.filesystems import check_writable, is_url
from clipcli.inputs.sources.text_tables import ALL_COLUMNS
from clipcli.inputs.texts import read_texts
from clipcli.prompts import load_prompts
from clipcli.runs.embed.embed_inputs import ImageInputs, TextInputs
from clipcli.runs.embed.run import EmbedRun, EmbedTarget
from clipcli.vectorfiles import STREAMS, VECTOR_FORMATS, format_of
from clipcli.vectorfiles.writer import staging_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.core.console import Console
    from clipcli.inputs.collect import ImageRef
    from clipcli.inputs.row_filter import Condition
    from clipcli.inputs.texts import TextRef
    from clipcli.options.embed import EmbedInputOptions, StateOptions, TextOptions, VectorOptions
    from clipcli.options.shared import InputOptions
    from clipcli.runs.embed.embed_inputs import TableInput
    from clipcli.runs.embed.token_states import TokenStatesRun
    from clipcli.vectorfiles import VectorDtype, VectorFormat

_STATES_SUFFIX: Final = ".safetensors"


def plan(
    inputs: InputOptions, texts: TextOptions, out: VectorOptions, console: Console,
    *, keep: Sequence[str] = (), where: Condition | None = None,
) -> EmbedRun[ImageRef] | EmbedRun[TextRef]:  # fmt: skip
    """Check the options before a model is loaded; `keep` are columns of tables to carry, `where` chooses their rows.

    Raises:
        UsageError: options do not go together.
        InputsError: there is nothing to embed, or the prompts cannot be used.
    """
    target = parse_target(out.output, out.format, out.dtype, out.shard, resume=out.resume)
    source = parse_inputs(inputs, texts, console, keep, where)
    if isinstance(source, ImageInputs):
        return EmbedRun(source, target, RunSummary(console), raw=not out.normalize)
    return EmbedRun(source, target, RunSummary(console), raw=not out.normalize)


def plan_states(
    inputs: EmbedInputOptions, texts: TextOptions, states: StateOptions, out: VectorOptions, console: Console
) -> TokenStatesRun:
    """Check the options of `--tokens` before a model is loaded.

    Raises:
        UsageError: options do not go together.
        InputsError: there are no texts.
    """
    from clipcli.runs.embed.token_states import TokenStatesRun  # few runs write states

    if not texts.text and not texts.texts_from:
        raise UsageError("--tokens is for texts", hint='embed --text "a dog" --tokens -o prompts.safetensors')
    if inputs.images or inputs.files_from or texts.prompts or out.shard or out.resume or not out.normalize:
        ignored = {"images": inputs.images, "--files-from": inputs.files_from, "--prompts": texts.prompts,
                 "--shard": out.shard, "--resume": out.resume, "--no-normalize": not out.normalize}  # fmt: skip
        raise UsageError(f"--tokens and {next(name for name, value in ignored.items() if value)} do not go together")
    if not out.output or not out.output.endswith(_STATES_SUFFIX) or out.format not in {"auto", "safetensors"}:
        raise UsageError("--tokens writes safetensors", hint=f"-o prompts{_STATES_SUFFIX}")
    refs = list(read_texts(texts.text or [], texts.texts_from or [], inputs.column))
    for ref in refs:
        if ref.problem is not None:
            raise InputsError(f"{ref.text}: {ref.problem}", hint="give texts that can be read")
    if not refs:
        raise InputsError("no texts", hint='--text "a dog"')
    return TokenStatesRun([ref.text for ref in refs], states, out.output, RunSummary(console))


def refuse_state_options(states: StateOptions) -> None:
    """Raise UsageError for an option of `--tokens` without it: images and whole texts have no such states."""
    defaults = type(states)()
    for each in fields(states):
        if getattr(states, each.name) != getattr(defaults, each.name):
            name = "--no-final-norm" if each.name == "final_norm" else f"--{each.name.replace('_', '-')}"
            raise UsageError(f"{name} is for --tokens", hint=f"add --tokens, or leave out {name}")


def parse_inputs(
    images: InputOptions, texts: TextOptions, console: Console, keep: Sequence[str] = (), where: Condition | None = None
) -> ImageInputs | TextInputs:
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
        return text_inputs(texts, images.column, console, keep, where)
    if texts.prompts:
        raise UsageError("--prompts is for texts", hint="--text TEXT or --texts-from FILE")
    return image_inputs(images, console, keep, where)


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


def image_inputs(
    options: InputOptions, console: Console, keep: Sequence[str] = (), where: Condition | None = None
) -> ImageInputs:
    """Return the images of the command line; `keep` are columns of tables to carry, `where` chooses rows.

    Raises:
        UsageError: no images were given.
        InputsError: there are no images.
    """
    refs = _Refs(options, console, tuple(keep), where)
    if is_stream(options.images or [], options.files_from or []):
        carried, inputs = _peeked(iter(refs), keep)
        return ImageInputs(inputs, None, carried)
    count, carried = 0, () if ALL_COLUMNS in keep else tuple(keep)
    for ref in refs:
        count += 1
        carried = carried or tuple(ref.fields)
    return ImageInputs(refs, count, carried)


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


def text_inputs(
    options: TextOptions, column: str | None, console: Console, keep: Sequence[str] = (), where: Condition | None = None
) -> TextInputs:
    """Return the texts of the command line; `keep` are columns of tables to carry, `where` chooses rows.

    Raises:
        UsageError: options that do not go together.
        PromptsError: templates that cannot be used.
    """
    texts = read_texts(options.text or [], options.texts_from or [], column, console.warning, keep=keep, where=where)
    carried, texts = _peeked(texts, keep)
    count = None if options.texts_from else len(options.text or [])
    return TextInputs(texts, load_prompts(options.prompts) if options.prompts else None, count=count, carried=carried)


def parse_target(
    output: str | None, format_name: str, dtype: str, shard: str | None = None, *, resume: bool = False
) -> EmbedTarget:
    """Check the output options.

    Raises:
        UsageError: an unknown format or type, or one that does not fit the output.
        PackageMissingError: the format needs a package that is not installed.
        OutputError: a URL that cannot be written.
    """
    if dtype not in {"float32", "float16"}:
        raise UsageError(f"no type {dtype!r}", hint="float32 or float16")
    output = None if output is not None and descriptor_of(output) == STDOUT else output
    url = output if output is not None and is_url(output) else None
    path = None if output in {None, "-"} else Path(redact_url(url).rpartition("/")[2] if url else str(output))
    pipe = str(path) if url is None and path is not None and _is_pipe(path) else None
    path = None if pipe else path
    if resume and path is None:
        raise UsageError("--resume needs -o FILE", hint="a run that writes to a pipe cannot be resumed")
    share = (1, 1) if shard is None else parse_shard(shard)
    if url is not None and url.endswith("/"):
        raise UsageError(f"{redact(url)} is a folder", hint=f"-o names a file: {redact(url)}all.parquet")
    chosen = _format(format_name, path)
    if chosen == "parquet":
        require_packages("parquet", "Parquet")
    if url is not None:
        check_writable(url)
        path = staging_path(url)
    return EmbedTarget(path, chosen, cast("VectorDtype", dtype), share, resume, url, pipe)


def _is_pipe(path: Path) -> bool:
    return descriptor_of(path) is not None or (is_there(path) and not is_file(path) and not is_folder(path))


def _format(name: str, path: Path | None) -> VectorFormat:
    name = "jsonl" if name == "ndjson" else name
    if name not in {"auto", *VECTOR_FORMATS}:
        names = ", ".join(VECTOR_FORMATS)
        raise UsageError(f"no format {name!r}", hint=f"{did_you_mean(name, VECTOR_FORMATS)} one of {names}".strip())
    if path is None:
        if name == "auto":
            return "jsonl"
        if name not in STREAMS:
            raise UsageError(
                f"{name} cannot be written to a pipe", hint="give -o FILE, or --format " + " or ".join(STREAMS)
            )
    chosen = format_of(path) if name == "auto" and path is not None else name
    if chosen is None:
        names = ", ".join(f".{name_}" for name_ in VECTOR_FORMATS)
        raise UsageError(
            f"cannot tell the format of {path}", hint=f"give --format, or a name that ends in one of {names}"
        )
    return cast("Literal['npy', 'npz', 'parquet', 'safetensors', 'jsonl', 'csv']", chosen)
