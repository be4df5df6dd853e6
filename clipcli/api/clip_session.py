"""A model kept open for several calls; each method works like the command of the same name."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipcli.api.arguments import as_files, as_labels, as_names, as_texts, is_one, listed, references
from clipcli.api.results import Classification, DuplicateImage, Embedding, Embeddings, RankedImage, Results
from clipcli.core.console import Console, RunSummary
from clipcli.core.vectors import stack, unit_length
from clipcli.errors import InputsError, VectorsError
from clipcli.inputs.query import Query, image_query, read_query
from clipcli.options.classify import ScoreOptions
from clipcli.options.dedupe import DuplicateOptions
from clipcli.options.shared import InputOptions, RunOptions
from clipcli.output.rows import ErrorRow
from clipcli.prompts import load_prompts, require_prompts
from clipcli.runs.classify.run import ClassifyRun
from clipcli.runs.dedupe.validate import plan as plan_dedupe
from clipcli.runs.rank.queries import embed_queries
from clipcli.tasks.search.flat import SearchLimits, UnusableRowError, rows_a_block, search
from clipcli.vectorfiles import holds_vectors, open_vectors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from clipcli.api.arguments import Picture, Pictures
    from clipcli.core.vectors import Vectors
    from clipcli.inputs.collect import ImageRef
    from clipcli.session.session import Session

_LOGGER = logging.getLogger("clipcli")
_VECTORS = 2
"""Number of dimensions of an array of vectors."""


class LogConsole(Console):
    """Sends a command's messages to Python's logging, under `clipcli`, instead of stderr."""

    def __init__(self) -> None:
        super().__init__(quiet=True)

    def line(self, text: str) -> None:
        """Log a message at level INFO; failures are also in the results."""
        _LOGGER.info("%s", text)

    def warning(self, text: str) -> None:
        """Log a message at level WARNING."""
        _LOGGER.warning("%s", text)


@dataclass(frozen=True)
class ClipSession:
    """A model and its cache, kept open. `clipcli.open_session` creates one."""

    session: Session
    """The session of the commands; not part of the stable interface."""

    @property
    def model(self) -> str:
        """Return the model's full name."""
        return self.session.info.name

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of the model; only vectors with the same fingerprint can be compared."""
        return self.session.info.fingerprint

    @property
    def dim(self) -> int:
        """Return the length of a vector."""
        return self.session.info.dim

    def classify(
        self, images: Pictures, labels: Sequence[str] | Mapping[str, Sequence[str]], *,
        prompts: str | Sequence[str] | None = None, top_k: int = 1, threshold: float | None = None,
        multi_label: bool = False, none: str | None = None,
    ) -> Results[Classification]:  # fmt: skip
        """Classify images; see `clipcli.classify`."""
        options = ScoreOptions(top_k=top_k, threshold=threshold, multi_label=multi_label, none=none)
        results = list(self._classified(listed(images), labels, prompts, options))
        return Results(results, [(result.image, result.error) for result in results if result.error is not None])

    def iter_classify(
        self, images: Pictures, labels: Sequence[str] | Mapping[str, Sequence[str]], *,
        prompts: str | Sequence[str] | None = None, top_k: int = 1, threshold: float | None = None,
        multi_label: bool = False, none: str | None = None,
    ) -> Iterator[Classification]:  # fmt: skip
        """Yield the results of `classify` as they are ready; `images` may be a generator, and memory is bounded."""
        options = ScoreOptions(top_k=top_k, threshold=threshold, multi_label=multi_label, none=none)
        return self._classified(references(images), labels, prompts, options)

    def _classified(
        self, refs: Iterable[ImageRef], labels: Sequence[str] | Mapping[str, Sequence[str]],
        prompts: str | Sequence[str] | None, options: ScoreOptions,
    ) -> Iterator[Classification]:  # fmt: skip
        parsed_labels, templates = as_labels(labels), load_prompts(as_names(prompts))
        require_prompts(parsed_labels, templates)
        run = ClassifyRun(refs, parsed_labels, templates, (), options, None, RunSummary(self.session.console))
        return (_classification(row) for row in run.rows(self.session, _nothing))

    def embed(
        self, images: Pictures | None = None, *, texts: Sequence[str] | None = None,
        prompts: str | Sequence[str] | None = None,
    ) -> Embeddings:  # fmt: skip
        """Embed images or texts; see `clipcli.embed`."""
        if (images is None) == (texts is None):
            raise TypeError("embed takes either images or texts=[…]")
        if texts is not None:
            text_list = as_texts(texts, "texts")
            names = as_names(prompts)
            labels = as_labels(text_list) if names else ()
            vectors = (
                self.session.embed_labels(labels, load_prompts(names)) if names else self.session.embed_texts(text_list)
            )
            return Embeddings(tuple(text_list), vectors, self.model, self.fingerprint)
        if prompts is not None:
            raise TypeError("prompts are for texts")
        embedded = list(self._embedded(listed(images)))  # type: ignore[arg-type]
        good = [(item.name, item.vector) for item in embedded if item.vector is not None]
        errors = tuple((item.name, item.error) for item in embedded if item.error is not None)
        vectors = stack([vector for _, vector in good], self.dim)
        return Embeddings(tuple(name for name, _ in good), vectors, self.model, self.fingerprint, errors)

    def iter_embed(self, images: Pictures) -> Iterator[Embedding]:
        """Yield the results of `embed` as they are ready; `images` may be a generator, and memory is bounded."""
        return self._embedded(references(images))

    def _embedded(self, refs: Iterable[ImageRef]) -> Iterator[Embedding]:
        for item in self.session.embed_images(refs):
            error = None if item.error is None else f"{item.error.stage}: {item.error.reason}"
            yield Embedding(item.ref.name, item.vector, error)

    def rank(
        self, query: Picture | Sequence[Picture], images: Pictures | Embeddings | Vectors, *,
        top_k: int | None = 10, min_score: float | None = None, prompts: str | Sequence[str] | None = None,
    ) -> Results[RankedImage]:  # fmt: skip
        """Rank images; see `clipcli.rank`."""
        names, queries = self._queries(query, as_names(prompts))
        corpus = self._corpus(images)
        if queries.shape[1] != corpus.vectors.shape[1]:
            raise VectorsError(f"vectors of {corpus.vectors.shape[1]} numbers, but the model's have {queries.shape[1]}")
        floors = None if min_score is None else np.full(len(queries), min_score, np.float32)
        step = rows_a_block(self.dim, len(queries))
        blocks = ((start, corpus.vectors[start : start + step]) for start in range(0, len(corpus), step))
        try:
            hits_by_query = search(queries, blocks, SearchLimits(top_k, floors), corpus.names)
        except UnusableRowError as error:
            raise VectorsError(f"these vectors cannot be searched: {error}") from error
        hits = [
            RankedImage(name, rank, corpus.names[row], float(score), int(row))
            for name, hit in zip(names, hits_by_query, strict=True)
            for rank, (row, score) in enumerate(zip(hit.rows, hit.scores, strict=True), 1)
        ]
        return Results(hits, corpus.errors)

    def _queries(self, query: object, prompts: Sequence[str]) -> tuple[list[str], Vectors]:
        """Return the names of the queries, and their (queries, dim) vectors."""
        queries: Iterable[object] = [query] if is_one(query) else query  # type: ignore[assignment]
        names, rows = [], []
        for number, item in enumerate(queries):
            if isinstance(item, (str, os.PathLike)):
                parsed: Query = read_query(item) if isinstance(item, str) else image_query(os.fspath(item))
                encoded = embed_queries(self.session, [parsed], prompts)
                for fault in encoded.errors.values():
                    raise InputsError(f"query {parsed.name}: {fault.reason}")
                names.append(parsed.name)
                rows.append(encoded.vectors[0])
                continue
            name = f"query[{number}]"
            for embedded in self._embedded(references(item, "query")):  # type: ignore[arg-type]
                if embedded.vector is None:
                    raise InputsError(f"{name}: {embedded.error}")
                names.append(name)
                rows.append(embedded.vector)
        if not rows:
            raise InputsError("nothing to look for")
        return names, stack(rows, self.dim)

    def _corpus(self, images: Pictures | Embeddings | npt.NDArray[np.floating]) -> Embeddings:
        """Return the vectors to search, with their names."""
        if isinstance(images, Embeddings):
            embeddings = images
        elif isinstance(images, np.ndarray) and images.ndim == _VECTORS and np.issubdtype(images.dtype, np.floating):
            rows = unit_length(np.asarray(images, np.float32))
            return Embeddings(tuple(map(str, range(len(rows)))), rows, self.model, self.fingerprint)
        elif isinstance(images, (str, os.PathLike)) and holds_vectors(os.fspath(images)):
            file = open_vectors(os.fspath(images))
            embeddings = Embeddings(tuple(file.names), file.matrix(), file.model, file.fingerprint)
        else:
            return self.embed(images)
        if embeddings.fingerprint != self.fingerprint:
            raise VectorsError(
                f"these vectors are of {embeddings.model}, not of {self.model}", hint=f"model={embeddings.model!r}"
            )
        return embeddings

    def dedupe(
        self, images: Pictures, *, level: str = "similar", min_similarity: float | None = None,
        rotations: bool = False, keep: str | None = None,
    ) -> Results[DuplicateImage]:  # fmt: skip
        """Find duplicates; see `clipcli.dedupe`."""
        options = DuplicateOptions(level=level, similar=min_similarity, rotations=rotations, keep=keep)
        run = plan_dedupe(InputOptions(images=[]), options, RunOptions(), self.session.console)
        with tempfile.TemporaryDirectory(prefix="clipcli-") as folder:
            run.refs = list(as_files(listed(images), Path(folder)))
            rows = list(run.rows(self.session, _nothing))
        duplicates = [
            DuplicateImage(row.group, row.image, row.level, row.plan.keep, row.similarity, row.reason)
            for row in rows
            if not isinstance(row, ErrorRow)
        ]
        errors = [(row.image, f"{row.stage}: {row.reason}") for row in rows if isinstance(row, ErrorRow)]
        return Results(duplicates, errors)


def _classification(row: object) -> Classification:
    if isinstance(row, ErrorRow):
        return Classification(row.image, None, None, error=f"{row.stage}: {row.reason}")
    return Classification(row.image, row.label, row.score, tuple(row.labels))  # type: ignore[attr-defined]


def _nothing(_steps: int) -> None:
    """Show no progress."""
