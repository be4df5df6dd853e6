"""`embed --tokens`: write the text tower's states per token to a safetensors file."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final, cast

import numpy as np

from clipcli.core.console import RunSummary
from clipcli.core.files import size_words
from clipcli.errors import ExitCode, InputsError, ModelError, UsageError
from clipcli.inputs.texts import read_texts
from clipcli.models.spec import parse_model
from clipcli.output.json import dumps
from clipcli.output.targets import open_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from clipcli.core.console import Console
    from clipcli.engines.openclip import OpenClipEncoder, TokenChunk
    from clipcli.models.spec import Choice
    from clipcli.options.embed import EmbedInputOptions, StateOptions, TextOptions, VectorOptions
    from clipcli.runs.base import Advance
    from clipcli.session.session import Session

_MOST_BYTES: Final = 8 << 30
_SUFFIX: Final = ".safetensors"


@dataclass(frozen=True)
class EncodedChunk:
    """One row of the file."""

    chunk: TokenChunk
    states: npt.NDArray[np.float32]
    """(length, width)."""
    pooled: npt.NDArray[np.float32]
    """(dim,), not unit length."""


def plan_states(
    inputs: EmbedInputOptions, texts: TextOptions, states: StateOptions, out: VectorOptions, console: Console
) -> TokenStatesRun:
    """Check the options before a model is loaded.

    Raises:
        UsageError: options do not go together.
        InputsError: there are no texts.
    """
    if not texts.text and not texts.texts_from:
        raise UsageError("--tokens is for texts", hint='embed --text "a dog" --tokens -o prompts.safetensors')
    if inputs.images or inputs.files_from or texts.prompts or out.shard or out.resume or not out.normalize:
        given = {"images": inputs.images, "--files-from": inputs.files_from, "--prompts": texts.prompts,
                 "--shard": out.shard, "--resume": out.resume, "--no-normalize": not out.normalize}  # fmt: skip
        raise UsageError(f"--tokens and {next(name for name, value in given.items() if value)} do not go together")
    if not out.output or not out.output.endswith(_SUFFIX) or out.format not in {"auto", "safetensors"}:
        raise UsageError("--tokens writes safetensors", hint=f"-o prompts{_SUFFIX}")
    refs = list(read_texts(texts.text or [], texts.texts_from or [], inputs.column))
    for ref in refs:
        if ref.problem is not None:
            raise InputsError(f"{ref.text}: {ref.problem}", hint="give texts that can be read")
    if not refs:
        raise InputsError("no texts", hint='--text "a dog"')
    return TokenStatesRun([ref.text for ref in refs], states, out.output, RunSummary(console))


@dataclass
class TokenStatesRun:
    """A checked run of `embed --tokens`."""

    texts: Sequence[str]
    options: StateOptions
    output: str
    report: RunSummary
    unit: ClassVar[str] = "text"

    @property
    def total(self) -> int:
        """Return the number of texts."""
        return len(self.texts)

    def choice(self, choice: Choice) -> Choice:
        """Return the choice with the torch engine, the only one that gives states. Raises UsageError."""
        if parse_model(choice.model).kind == "bundle" or choice.runs_bundles:
            raise UsageError(
                f"{choice.model} through ONNX gives no states by token",
                hint="name another model, such as -m ViT-L-14/openai",
            )
        return replace(choice, engine="openclip")

    def rows(self, session: Session, advance: Advance) -> Iterator[EncodedChunk]:
        """Yield the states of each chunk. Raises ModelError, UsageError."""
        from clipcli.engines.openclip import TextStates

        options = self.options
        states = TextStates(
            cast("OpenClipEncoder", session.model.encoder), options.layer,
            final_norm=options.final_norm, pad_with_end=options.pad_with_end,
        )  # fmt: skip
        if not options.chunks and (cut := [count for count in states.count_cut(self.texts) if count]):
            self.report.console.warning(
                f"{len(cut)} texts are cut ({max(cut)} tokens at most); --chunks keeps them whole"
            )
        chunks = states.chunks(self.texts, several=options.chunks)
        for start in range(0, len(chunks), 16):
            batch = chunks[start : start + 16]
            hidden, pooled = states.encode(batch)
            for chunk, chunk_states, embedding in zip(batch, hidden, pooled, strict=True):
                if not np.isfinite(chunk_states).all():
                    raise ModelError("the model gave numbers that are not finite", hint="--precision fp32")
                yield EncodedChunk(chunk, chunk_states, embedding)
        for _ in self.texts:
            self.report.ok()
            advance(1)

    def finish(self, session: Session) -> ExitCode:  # noqa: ARG002 - as every run
        """Return the exit code."""
        self.report.summarise()
        return self.report.exit_code

    @contextmanager
    def open_sink(self, session: Session) -> Iterator[StatesSink]:
        """Open the file, which appears when it is complete. Raises OutputError."""
        from safetensors.numpy import save

        with open_target(self.output) as target:
            sink = StatesSink([])
            yield sink
            description = {
                "clipcli_states": 1, "model": session.info.name, "fingerprint": session.info.fingerprint,
                "layer": self.options.layer, "final_norm": self.options.final_norm,
                "padding": "end" if self.options.pad_with_end else "zero", "texts": list(self.texts),
            }  # fmt: skip
            target.write(save(sink.tensors(), metadata={"clipcli": dumps(description)}))


@dataclass
class StatesSink:
    """Collects the rows of the file."""

    kept: list[EncodedChunk]
    size: int = 0

    def write(self, row: EncodedChunk) -> None:
        """Add a row. Raises InputsError if the rows exceed the limit of memory."""
        self.size += row.states.nbytes
        if self.size > _MOST_BYTES:
            raise InputsError(f"more than {size_words(_MOST_BYTES)} of states", hint="give the texts in several runs")
        self.kept.append(row)

    def tensors(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the tensors of the file, with one row per chunk."""
        chunks = [row.chunk for row in self.kept]
        ids = np.array([chunk.ids for chunk in chunks], np.int64)
        used = np.array([chunk.used for chunk in chunks], np.int64)
        return {
            "states": np.stack([row.states for row in self.kept]),
            "pooled": np.stack([row.pooled for row in self.kept]),
            "ids": ids,
            "mask": (np.arange(ids.shape[1]) < used[:, None]).astype(np.uint8),
            "text": np.array([chunk.text for chunk in chunks], np.int64),
        }
