"""`embed --tokens`: write the text tower's states per token to a safetensors file."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final, cast

import numpy as np

from clipcli.core.files import size_words
from clipcli.errors import ExitCode, InputsError, ModelError, UsageError
from clipcli.models.spec import parse_model
from clipcli.output.rows import dumps
from clipcli.output.targets import open_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from clipcli.core.console import RunSummary
    from clipcli.engines.openclip import OpenClipEncoder, TokenChunk
    from clipcli.models.spec import Choice
    from clipcli.options.embed import StateOptions
    from clipcli.runs.base import Advance
    from clipcli.session.session import Session

_MOST_BYTES: Final = 8 << 30


@dataclass(frozen=True)
class EncodedChunk:
    """One row of the file."""

    chunk: TokenChunk
    states: npt.NDArray[np.float32]
    """(length, width)."""
    pooled: npt.NDArray[np.float32]
    """(dim,), not unit length."""


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

    chunks: list[EncodedChunk]
    size: int = 0

    def write(self, row: EncodedChunk) -> None:
        """Add a row. Raises InputsError if the rows exceed the limit of memory."""
        self.size += row.states.nbytes
        if self.size > _MOST_BYTES:
            raise InputsError(f"more than {size_words(_MOST_BYTES)} of states", hint="give the texts in several runs")
        self.chunks.append(row)

    def tensors(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the tensors of the file, with one row per chunk."""
        chunks = [row.chunk for row in self.chunks]
        ids = np.array([chunk.ids for chunk in chunks], np.int64)
        used = np.array([chunk.used for chunk in chunks], np.int64)
        return {
            "states": np.stack([row.states for row in self.chunks]),
            "pooled": np.stack([row.pooled for row in self.chunks]),
            "ids": ids,
            "mask": (np.arange(ids.shape[1]) < used[:, None]).astype(np.uint8),
            "text": np.array([chunk.text for chunk in chunks], np.int64),
        }
