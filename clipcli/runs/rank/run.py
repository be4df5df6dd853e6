"""One run of `rank`: reads the corpus and yields the hits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from clipcli.errors import ExitCode, ImageError, InputsError, ModelError, UsageError, VectorsError
from clipcli.inputs.collect import collect, is_stream, nothing_left
from clipcli.options.rank import TOP_K
from clipcli.output import CarriedColumns, ErrorRow
from clipcli.runs.rank.corpus import Corpus, FilePart, ImagePart
from clipcli.runs.rank.finder import CorpusFinder, HitLimits, IndexFinder
from clipcli.runs.rank.kept_hits import Keeper
from clipcli.runs.rank.queries import QueryStream, embed_queries
from clipcli.runs.rank.rows import OWN_COLUMNS, Searched
from clipcli.vectorfiles import ImageReading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Literal

    from clipcli.core.console import RunSummary
    from clipcli.core.encoder import ModelInfo
    from clipcli.inputs.collect import ImageRef
    from clipcli.inputs.query import Query
    from clipcli.inputs.row_filter import Condition
    from clipcli.inputs.sources.patterns import Globs
    from clipcli.options.rank import HitOptions, KeepOptions
    from clipcli.options.shared import ModelOptions
    from clipcli.output.reports import Finding, Reporting
    from clipcli.output.rows import Row
    from clipcli.runs.base import Advance
    from clipcli.runs.rank.corpus import Part
    from clipcli.runs.rank.index import Index
    from clipcli.runs.rank.kept_hits import Preview
    from clipcli.runs.rank.queries import EncodedQueries
    from clipcli.runs.rank.recall import ExpectedHits
    from clipcli.runs.rank.rows import Result
    from clipcli.session.session import Session
    from clipcli.vectorfiles import VectorFile


@dataclass(frozen=True)
class Sources:
    """The inputs of the corpus."""

    files: tuple[VectorFile, ...]
    images: tuple[str, ...]
    """Files, folders and `-`."""
    lists: tuple[str, ...]
    """Files that list images."""
    null: bool
    column: str | None
    """Column of tables that holds images."""
    globs: Globs
    """The filter of names."""
    keep: tuple[str, ...] = ()
    """Columns of tables that hits keep."""
    where: Condition | None = None
    """The filter of rows in tables."""
    index: Index | None = None
    """The only source if there is one."""
    detail: Callable[[str], object] | None = None
    """Called with a message that names the skipped folders."""

    @property
    def model(self) -> str | None:
        """Return the model that the index or the vector files name, when there are any."""
        if self.index is not None:
            return self.index.info.model or None
        return next((file.model for file in self.files if file.model), None)

    @property
    def kind(self) -> Literal["image", "text"]:
        """Return whether images or texts are searched."""
        if self.index is not None:
            return self.index.info.kind
        return self.files[0].kind if self.files else "image"

    @property
    def made_by_model(self) -> str:
        """Return the path of the index, or of the first vector file, for messages."""
        return self.index.path if self.index is not None else str(self.files[0].path)

    @property
    def has_images(self) -> bool:
        """Return whether images have to be embedded."""
        return bool(self.images or self.lists)

    def refs(self) -> Iterable[ImageRef]:
        """Return the images; a list unless names arrive on stdin."""
        refs: Iterator[ImageRef] = collect(
            self.images,
            files_from=self.lists,
            null=self.null,
            column=self.column,
            keep=self.keep,
            where=self.where,
            globs=self.globs,
            detail=self.detail,
        )
        return refs if is_stream(self.images, self.lists) else list(refs)

    def require_model(self, info: ModelInfo) -> None:
        """Refuse vectors that this model did not make.

        Raises:
            VectorsError: another model, or another dimension.
        """
        index = self.index
        if index is not None and index.info.fingerprint != info.fingerprint:
            hint = f"--model {index.info.model}" if index.info.model else None
            raise VectorsError(f"{index.path}: an index of {index.info.model}, not of {info.name}", hint=hint)
        for file in self.files:
            if file.fingerprint != info.fingerprint:
                hint = f"--model {file.model}" if file.model else "name the model that made it with --model"
                raise VectorsError(f"{file.path}: its vectors are {contents_of(file)}, not of {info.name}", hint=hint)
            if file.dim != info.dim:
                raise VectorsError(f"{file.path}: {file.dim} numbers per vector, but {info.name} has {info.dim}")

    def reading_warnings(self, own_reading: ImageReading | None) -> list[str]:
        """Return a warning for each vector file whose images were read in another way than the others of this run.

        Args:
            own_reading: how this run reads images; None if it reads none: files are then compared with the first.
        """
        readings = [(str(file.path), file.info.reading) for file in self.files]
        if self.index is not None:
            readings.append((self.index.path, self.index.info.reading))
        if self.kind == "text" or not readings:
            return []
        reference_name, first = readings[0] if own_reading is None else (None, own_reading)
        return [
            f"{name}: {text}" for name, reading in readings if (text := reading.difference_from(first, reference_name))
        ]


def contents_of(file: VectorFile) -> str:
    """Return what a vector file holds, for messages."""
    return f"{file.kind}s of {file.model or f'model {file.fingerprint}'}"


@dataclass
class RankRun:
    """One run, ready to go."""

    queries: Sequence[Query]
    sources: Sources
    refs: Iterable[ImageRef]
    globs: Globs
    hits: HitOptions
    keep: KeepOptions
    expected: ExpectedHits | None
    prompts: Sequence[str]
    report: RunSummary
    reporting: Reporting
    no_orient: bool = False
    preview: Preview | None = None
    stream: QueryStream | None = None
    """Queries that arrive on stdin during the run."""
    carried: CarriedColumns = field(default_factory=lambda: CarriedColumns((), OWN_COLUMNS))
    _device: str = "auto"
    _failed_check: bool = False
    _checked_findings: list[Finding] = field(default_factory=list)
    _missed_findings: list[Finding] = field(default_factory=list)
    _unreadable: set[str] = field(default_factory=set)

    unit: ClassVar[str] = "image"

    @property
    def total(self) -> int | None:
        """Return the number of images; None for a list that is still arriving on stdin."""
        return len(self.refs) if isinstance(self.refs, list) else None

    def follow(self, model: ModelOptions, *, is_named: bool) -> ModelOptions:
        """Return the model options, with the model that made the vectors unless the command line names one."""
        self._device = model.choice().own_device
        vectors_model = self.sources.model
        if is_named or vectors_model is None or vectors_model == model.choice().model:
            return model
        self.report.console.info(f"{self.sources.made_by_model} was made by {vectors_model}; using it")
        return replace(model, model=vectors_model)

    def rows(self, session: Session, advance: Advance) -> Iterator[Row]:
        """Yield rows of failed images, then the hits of each query, or the figures of a check."""
        self.sources.require_model(session.info)
        self._warn_of_reading(session)
        encoded = embed_queries(session, self.queries, self.prompts)
        yield from self._unusable_queries(encoded)
        limits = HitLimits.of(self.hits, TOP_K)
        if self.sources.index is not None:
            index = self.sources.index
            finder = IndexFinder(index, encoded, limits, self.globs.keeps)
            self.report.done += index.info.rows
            yield from self._answers(session, finder, Searched(session.info.name, index.info.rows, index.info.kind))
            return
        images = ImagePart(session.info.dim)
        yield from self._embed(session, images, advance)
        every: list[Part] = [*(FilePart(file, self.sources.keep) for file in self.sources.files), images]
        parts = [part for part in every if len(part.names)]
        corpus = Corpus(parts, session.info.dim, self.sources.kind)
        if not len(corpus):
            if not self.report.failed:
                raise nothing_left(self.globs)
            return
        where = self.sources.where if self.sources.files else None
        exact = CorpusFinder(corpus, encoded, limits, self._keeps(images), self.report.console, where, self._device)
        if self.expected is not None:
            yield from self._measures(exact)
            return
        if exact.leaves_nothing:
            raise nothing_left(self.globs, where)
        yield from self._answers(session, exact, Searched(session.info.name, len(corpus), corpus.kind))

    def _answers(self, session: Session, finder: CorpusFinder | IndexFinder, searched: Searched) -> Iterator[Row]:
        """Yield the hits of the queries of the command line, then of those that arrive on stdin."""
        results: list[Result] = []
        yield from self._hits(finder, searched, results)
        for batch in self.stream.batches() if self.stream is not None else ():
            for line, error in batch.faults:
                self.report.fail(line, error)
                yield ErrorRow.of(line, error, "query")
            yield from self._answer(session, finder, searched, results, batch.queries)
        self._write_pages(results, searched)

    def _answer(
        self, session: Session, finder: CorpusFinder | IndexFinder, searched: Searched, results: list[Result],
        queries: Sequence[Query],
    ) -> Iterator[Row]:  # fmt: skip
        """Yield the hits of queries that arrived together; one that cannot be answered is a row."""
        try:
            encoded = embed_queries(session, queries, self.prompts)
        except UsageError as error:  # its terms cancel each other
            if len(queries) == 1:
                unusable = ImageError("read", error.message)
                self.report.fail(queries[0].name, unusable)
                yield ErrorRow.of(queries[0].name, unusable, "query")
            else:
                for query in queries:
                    yield from self._answer(session, finder, searched, results, [query])
            return
        yield from self._unusable_queries(encoded)
        yield from self._hits(finder.with_queries(encoded), searched, results)

    def _warn_of_reading(self, session: Session) -> None:
        """Warn of vectors whose images were read in another way than this run reads images."""
        reads = self.sources.has_images or any(term.is_image for query in self.queries for term in query.terms)
        own_reading = (
            ImageReading(session.provenance.rendering, ", ".join(session.provenance.decoding)) if reads else None
        )
        for text in self.sources.reading_warnings(own_reading):
            self.report.console.warning(text)

    def _keeps(self, images: ImagePart) -> Callable[[str], bool] | None:
        """Return the filter of names, for vector files; images of this run have passed it already."""
        keeps, passed = self.globs.keeps, frozenset(images.names)
        return None if keeps is None else lambda name: name in passed or keeps(name)

    def finish(self, session: Session) -> ExitCode:
        """Show the thumbnails, print the summary, write the report of a check, and return the exit code."""
        if self.preview is not None:
            self.preview.show()
        self.report.summarise()
        if self._checked_findings:
            from clipcli.output.reports import CheckReport

            reached = sum(finding.ok for finding in self._checked_findings)
            summary = f"{reached} of {len(self._checked_findings)} figures reached"
            check = CheckReport(
                "rank",
                (*self._checked_findings, *self._missed_findings),
                not self._failed_check,
                summary,
                session.info.name,
            )
            self.reporting.without_pages().write([check])
        return ExitCode.CHECK_FAILED if self._failed_check else self.report.exit_code

    def _unusable_queries(self, encoded: EncodedQueries) -> Iterator[ErrorRow]:
        if encoded.errors and not encoded.queries and self.stream is None:
            term, error = next(iter(encoded.errors.items()))
            more = f" (and {len(encoded.errors) - 1} more)" if len(encoded.errors) > 1 else ""
            name = f"image {term.text}" if term.is_image else repr(term.text)
            kind = ModelError if error.stage == "encode" else InputsError
            raise kind(f"the query {name} cannot be used: {error.reason} ({error.stage}){more}")
        for term, error in encoded.errors.items():
            self.report.fail(term.text, error)
            yield ErrorRow.of(term.text, error, "image" if term.is_image else "query")

    def _embed(self, session: Session, images: ImagePart, advance: Advance) -> Iterator[ErrorRow]:
        for file in self.sources.files:
            self.report.done += len(file)
        for embedded in session.embed_images(self.refs):
            advance(1)
            ref = embedded.ref
            if embedded.vector is None:
                if embedded.error is not None:
                    self._unreadable.add(ref.name)
                    self.report.fail(ref.name, embedded.error)
                    yield ErrorRow.of(ref.name, embedded.error, fields=self.carried.renamed(ref.fields))
            else:
                self.report.ok()
                images.add(ref.name, ref.path, embedded.vector, embedded.digest, ref.fields)

    def _measures(self, finder: CorpusFinder) -> Iterator[Row]:
        assert self.expected is not None  # noqa: S101 - the caller looked
        console = self.report.console
        figures = self.expected.measures(finder, self.queries, frozenset(self._unreadable))
        for row in figures.rows:
            if row.needed is not None:
                holds = row.value >= row.needed
                self._failed_check |= not holds
                self._checked_findings.append(self.expected.finding(row))
                console.line(
                    f"check {'holds' if holds else 'fails'}: {row.measure} {row.value:.1%}, needed {row.needed:.1%}"
                )
            yield row
        if self._checked_findings and self.reporting.needs(ok=False):
            self._missed_findings += self.expected.findings(figures)

    def _hits(self, finder: CorpusFinder | IndexFinder, searched: Searched, results: list[Result]) -> Iterator[Row]:
        """Yield the hits of each query; if a page is to be written, keep them in `results`."""
        for result in finder.results():
            for hit, row in zip(result.hits, result.rows(searched.kind), strict=True):
                yield self.carried.row(row, hit.fields)
            yield from self._save_hits(result, len(finder.encoded.queries), finder.limits)
            if not result.hits:
                self.report.console.info(f"nothing found for {result.query.name!r}")
            if self.preview is not None:
                self.preview.add(result, searched.kind)
            if self.reporting.pages:
                results.append(replace(result, number=len(results) + 1))

    def _write_pages(self, results: Sequence[Result], searched: Searched) -> None:
        for page in self.reporting.pages:
            from clipcli.runs.rank.hits_page import HitsPage

            HitsPage(page, searched, not self.no_orient, self.keep.fetch_names).write(results)
        far = sum(hit.is_far for result in results for hit in result.hits)
        if far and not self.keep.fetch_names:
            count = "1 picture is" if far == 1 else f"{far:,} pictures are"
            self.report.console.info(
                f"{count} not on the page: the vector file names URLs (--fetch-names fetches them)"
            )

    def _save_hits(self, result: Result, queries: int, limits: HitLimits) -> Iterator[ErrorRow]:
        width = max(3, len(str(limits.top or len(result.hits))))
        for folder, link in ((self.keep.copy_to, False), (self.keep.link_to, True)):
            if folder is None:
                continue
            keeper = Keeper(folder, link, queries, width)
            for hit in result.hits:
                if error := keeper.keep(result, hit):
                    self.report.fail(hit.name, error)
                    yield ErrorRow.of(hit.name, error)
