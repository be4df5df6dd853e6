"""One run of `rank`: what was asked, checked as a whole, then the corpus, then the hits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from clipcli.core.run_summary import RunSummary
from clipcli.errors import ExitCode, ImageError, InputsError, ModelError, UsageError
from clipcli.inputs.collect import STDIN, is_stream, nothing_left
from clipcli.inputs.query import Query, example, read_query
from clipcli.options.rank import TOP_K
from clipcli.output import CarriedColumns, ErrorRow
from clipcli.runs.rank.copy_hits import Keeper, check_folder
from clipcli.runs.rank.corpus import Corpus, FilePart, ImagePart
from clipcli.runs.rank.corpus_files import Sources, check_model, sort_out, warnings_of_reading
from clipcli.runs.rank.finder import CorpusFinder, HitLimits, IndexFinder
from clipcli.runs.rank.previews import Preview
from clipcli.runs.rank.queries import embed_queries, first_argument, read_queries
from clipcli.runs.rank.query_stream import QueryStream
from clipcli.runs.rank.recall import ExpectedHits, parse_expected
from clipcli.runs.rank.rows import OWN_COLUMNS, Searched
from clipcli.runs.rank.validate import refuse_all_of_an_index, refuse_columns, refuse_copies, refuse_mixtures
from clipcli.vectorfiles import ImageReading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from clipcli.core.console import Console
    from clipcli.inputs.collect import ImageRef
    from clipcli.inputs.row_filter import Condition
    from clipcli.inputs.sources.globs import Globs
    from clipcli.options.rank import CorpusOptions, HitOptions, KeepOptions, QueryOptions, RecallOptions
    from clipcli.options.shared import ModelOptions
    from clipcli.output.reports import Finding, Reporting
    from clipcli.output.rows import Row
    from clipcli.runs.base import Advance
    from clipcli.runs.rank.corpus import Part
    from clipcli.runs.rank.queries import EncodedQueries
    from clipcli.runs.rank.rows import Result
    from clipcli.session.session import Session


def plan(  # noqa: PLR0917 - a group of options each
    corpus: CorpusOptions, query: QueryOptions, hits: HitOptions, keep: KeepOptions, check: RecallOptions,
    console: Console, *, carry: Sequence[str] = (), where: Condition | None = None,
) -> RankRun:  # fmt: skip
    """Check everything that was asked before a model is touched.

    `carry` are columns of tables that hits keep, `where` says which rows of tables are searched.

    Raises:
        ClipcliError: options that do not go together, or a query, file of queries or of vectors that cannot be used.
    """
    arguments, lists, reporting = list(corpus.images or []), corpus.files_from or [], keep.parse()
    if query.queries == STDIN and is_stream(arguments, lists):
        raise UsageError("stdin cannot hold both images and queries", hint="give one of them in a file")
    refuse_mixtures(hits, keep, check, reporting)
    expected = parse_expected(check.relevance, check.min_recall or [])
    kept = keep.copy_to or keep.link_to or keep.preview
    stream = QueryStream() if query.queries == STDIN and expected is None and not kept else None
    queries = _queries(query, arguments, expected, arrive=stream is not None)
    _explain(queries, query, console)
    globs = corpus.globs
    sources = sort_out(arguments, lists, null=corpus.null, globs=globs, column=corpus.column)
    sources = replace(sources, detail=console.debug_once, keep=tuple(carry), where=where)
    refuse_columns(sources, carry, where)
    if sources.index is not None:
        refuse_all_of_an_index(hits, check)
    if expected and globs.keeps and sources.files:
        raise UsageError("--relevance measures whole vector files", hint="leave out --include and --exclude")
    for folder in (keep.copy_to, keep.link_to):
        if folder is not None:
            refuse_copies(sources)
            check_folder(folder)
    refs = sources.refs() if sources.has_images else []
    return RankRun(
        queries, sources, refs, globs, hits, keep, expected, query.prompts or [], RunSummary(console), reporting,
        corpus.no_orient, Preview(console, not corpus.no_orient, keep.fetch_names) if keep.preview else None, stream,
        CarriedColumns(carry, OWN_COLUMNS),
    )  # fmt: skip


def _explain(queries: Sequence[Query], query: QueryOptions, console: Console) -> None:
    """Say how words of the command line were understood, where they could mean something else."""
    for asked in queries:
        quoted = f"'\"{asked.name}\"'"
        if asked.is_example and not query.queries and not query.image:
            console.info_once(f"looking for pictures like {asked.name}; for these words, quote them: {quoted}")
        if asked.is_sum and not query.queries:
            console.info_once(f"looking for {asked} (double quotes inside keep a literal sign)")


def _queries(query: QueryOptions, arguments: list[str], expected: ExpectedHits | None, *, arrive: bool) -> list[Query]:
    """Return what is asked; where no option says it, the first argument, which is then taken from them.

    With `arrive`, those of stdin come later.
    """
    if "" in (query.image or []):
        raise UsageError("--image is empty", hint="name the image to look for; is a variable of the shell unset?")
    queries = [read_query(text) for text in query.query or []] + [example(path) for path in query.image or []]
    queries += read_queries(query.queries) if query.queries and not arrive else []
    if not queries and expected is not None:
        queries += expected.queries
    if not queries and not arrive:
        queries.append(first_argument(arguments))
    if any(asked.id is not None for asked in queries):  # then every row has the column
        queries = [asked if asked.id is not None else replace(asked, id="") for asked in queries]
    return queries


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
    """Queries that come while the run lasts."""
    carried: CarriedColumns = field(default_factory=lambda: CarriedColumns((), OWN_COLUMNS))
    _device: str = "auto"
    _failed_check: bool = False
    _found: list[Finding] = field(default_factory=list)
    _missed: list[Finding] = field(default_factory=list)
    _lost: set[str] = field(default_factory=set)

    unit: ClassVar[str] = "image"

    @property
    def total(self) -> int | None:
        """Return how many images there are; None for a list that is still coming."""
        return len(self.refs) if isinstance(self.refs, list) else None

    def follow(self, model: ModelOptions, *, given: bool) -> ModelOptions:
        """Return the model that made the vectors, where the command line names none."""
        self._device = model.choice().own_device
        own = self.sources.model
        if given or own is None or own == model.choice().model:
            return model
        self.report.console.info(f"{self.sources.made_by_model} was made by {own}; using it")
        return replace(model, model=own)

    def rows(self, session: Session, advance: Advance) -> Iterator[Row]:
        """Yield failures as they come, then the hits query by query, or the figures of a check."""
        check_model(self.sources, session.info)
        self._warn_of_reading(session)
        asked = embed_queries(session, self.queries, self.prompts)
        yield from self._unusable_queries(asked)
        limits = HitLimits.of(self.hits, TOP_K)
        if self.sources.index is not None:
            index = self.sources.index
            finder = IndexFinder(index, asked, limits, self.globs.keeps)
            self.report.done += index.info.rows
            yield from self._answers(session, finder, Searched(session.info.name, index.info.rows, index.info.kind))
            return
        images = ImagePart(session.info.dim)
        yield from self._embed(session, images, advance)
        every: list[Part] = [*map(FilePart, self.sources.files), images]
        parts = [part for part in every if len(part.names)]
        corpus = Corpus(parts, session.info.dim, self.sources.kind)
        if not len(corpus):
            if not self.report.failed:
                raise nothing_left(self.globs)
            return
        exact = CorpusFinder(corpus, asked, limits, self._keeps(images), self.report.console, self._device)
        if self.expected is not None:
            yield from self._measures(exact)
            return
        if exact.leaves_nothing:
            raise nothing_left(self.globs)
        yield from self._answers(session, exact, Searched(session.info.name, len(corpus), corpus.kind))

    def _answers(self, session: Session, finder: CorpusFinder | IndexFinder, searched: Searched) -> Iterator[Row]:
        """Yield the hits of the queries that were given, then of those that arrive."""
        results: list[Result] = []
        yield from self._hits(finder, searched, results)
        for batch in self.stream.batches() if self.stream is not None else ():
            for where, error in batch.faults:
                self.report.fail(where, error)
                yield ErrorRow.of(where, error, "query")
            yield from self._answer(session, finder, searched, results, batch.queries)
        self._write_pages(results, searched)

    def _answer(
        self, session: Session, finder: CorpusFinder | IndexFinder, searched: Searched, results: list[Result],
        queries: Sequence[Query],
    ) -> Iterator[Row]:  # fmt: skip
        """Yield the hits of queries that arrived together; one that cannot be answered is a row."""
        try:
            asked = embed_queries(session, queries, self.prompts)
        except UsageError as error:  # its terms cancel each other
            if len(queries) == 1:
                unusable = ImageError("read", error.message)
                self.report.fail(queries[0].name, unusable)
                yield ErrorRow.of(queries[0].name, unusable, "query")
            else:
                for query in queries:
                    yield from self._answer(session, finder, searched, results, [query])
            return
        yield from self._unusable_queries(asked)
        yield from self._hits(finder.with_queries(asked), searched, results)

    def _warn_of_reading(self, session: Session) -> None:
        """Say which vectors are of images that were read otherwise than those that this run reads."""
        reads = self.sources.has_images or any(term.is_image for query in self.queries for term in query.terms)
        ours = ImageReading(session.provenance.rendering, ", ".join(session.provenance.decoding)) if reads else None
        for text in warnings_of_reading(self.sources, ours):
            self.report.console.warning(text)

    def _keeps(self, images: ImagePart) -> Callable[[str], bool] | None:
        """Return which names of vector files take part; those of images passed when they were looked up."""
        keeps, passed = self.globs.keeps, frozenset(images.names)
        return None if keeps is None else lambda name: name in passed or keeps(name)

    def finish(self, session: Session) -> ExitCode:
        """Show thumbnails below all rows, say how it went, report a check, and return the exit code."""
        if self.preview is not None:
            self.preview.show()
        self.report.summarise()
        if self._found:
            from clipcli.output.reports import CheckReport

            said = f"{sum(finding.ok for finding in self._found)} of {len(self._found)} figures reached"
            check = CheckReport("rank", (*self._found, *self._missed), not self._failed_check, said, session.info.name)
            self.reporting.without_pages().write([check])
        return ExitCode.CHECK_FAILED if self._failed_check else self.report.exit_code

    def _unusable_queries(self, asked: EncodedQueries) -> Iterator[ErrorRow]:
        if asked.errors and not asked.queries and self.stream is None:
            term, error = next(iter(asked.errors.items()))
            more = f" (and {len(asked.errors) - 1} more)" if len(asked.errors) > 1 else ""
            what = f"image {term.text}" if term.is_image else repr(term.text)
            kind = ModelError if error.stage == "encode" else InputsError
            raise kind(f"the query {what} cannot be used: {error.reason} ({error.stage}){more}")
        for term, error in asked.errors.items():
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
                    self._lost.add(ref.name)
                    self.report.fail(ref.name, embedded.error)
                    yield ErrorRow.of(ref.name, embedded.error, fields=self.carried.renamed(ref.fields))
            else:
                self.report.ok()
                images.add(ref.name, ref.path, embedded.vector, embedded.digest, ref.fields)

    def _measures(self, finder: CorpusFinder) -> Iterator[Row]:
        assert self.expected is not None  # noqa: S101 - the caller looked
        console = self.report.console
        figures = self.expected.measures(finder, self.queries, frozenset(self._lost))
        for row in figures.rows:
            if row.needed is not None:
                holds = row.value >= row.needed
                self._failed_check |= not holds
                self._found.append(self.expected.finding(row))
                console.line(
                    f"check {'holds' if holds else 'fails'}: {row.measure} {row.value:.1%}, needed {row.needed:.1%}"
                )
            yield row
        if self._found and self.reporting.needs(ok=False):
            self._missed += self.expected.findings(figures)

    def _hits(self, finder: CorpusFinder | IndexFinder, searched: Searched, results: list[Result]) -> Iterator[Row]:
        """Yield the hits query by query; where pages want them, they are kept in `results`."""
        for result in finder.results():
            for hit, row in zip(result.hits, result.rows(searched.kind), strict=True):
                yield self.carried.row(row, hit.fields)
            yield from self._kept(result, len(finder.asked.queries), finder.limits)
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
            what = "1 picture is" if far == 1 else f"{far:,} pictures are"
            self.report.console.info(f"{what} not on the page: the vector file names URLs (--fetch-names fetches them)")

    def _kept(self, result: Result, queries: int, limits: HitLimits) -> Iterator[ErrorRow]:
        width = max(3, len(str(limits.top or len(result.hits))))
        for folder, link in ((self.keep.copy_to, False), (self.keep.link_to, True)):
            if folder is None:
                continue
            keeper = Keeper(folder, link, queries, width)
            for hit in result.hits:
                if error := keeper.keep(result, hit):
                    self.report.fail(hit.name, error)
                    yield ErrorRow.of(hit.name, error)
