"""Check the options of `rank` together before a model is loaded."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from clipcli.core.console import RunSummary
from clipcli.errors import UsageError, VectorsError
from clipcli.inputs.collect import STDIN, is_stream
from clipcli.inputs.query import Query, image_query, read_query
from clipcli.inputs.sources.patterns import named_files
from clipcli.inputs.sources.text_tables import ALL_COLUMNS
from clipcli.output import CarriedColumns
from clipcli.runs.rank.index import Index, is_index
from clipcli.runs.rank.kept_hits import Preview, check_folder
from clipcli.runs.rank.queries import QueryStream, first_argument, read_queries
from clipcli.runs.rank.recall import ExpectedHits, parse_expected
from clipcli.runs.rank.rows import OWN_COLUMNS
from clipcli.runs.rank.run import RankRun, Sources, contents_of
from clipcli.vectorfiles import holds_vectors, open_vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.core.console import Console
    from clipcli.inputs.row_filter import Condition
    from clipcli.inputs.sources.patterns import Globs
    from clipcli.options.rank import CorpusOptions, HitOptions, KeepOptions, QueryOptions, RecallOptions
    from clipcli.output.reports import Reporting


def plan(  # noqa: PLR0917 - a group of options each
    corpus: CorpusOptions, query: QueryOptions, hits: HitOptions, keep: KeepOptions, check: RecallOptions,
    console: Console, *, carry: Sequence[str] = (), where: Condition | None = None,
) -> RankRun:  # fmt: skip
    """Check all options before a model is loaded.

    `carry` are columns of tables that hits keep, `where` says which rows of tables are searched.

    Raises:
        ClipcliError: options that do not go together, or a query, file of queries or of vectors that cannot be used.
    """
    arguments, lists, reporting = list(corpus.images or []), corpus.files_from or [], keep.parse()
    if query.queries == STDIN and is_stream(arguments, lists):
        raise UsageError("stdin cannot hold both images and queries", hint="give one of them in a file")
    refuse_mixtures(hits, keep, check, reporting)
    expected = parse_expected(check.relevance, check.min_recall or [])
    keeps_hits = keep.copy_to or keep.link_to or keep.preview
    stream = QueryStream() if query.queries == STDIN and expected is None and not keeps_hits else None
    queries = _queries(query, arguments, expected, arrive=stream is not None)
    _explain(queries, query, console)
    globs = corpus.globs
    sources = find_sources(arguments, lists, null=corpus.null, globs=globs, column=corpus.column)
    sources = replace(sources, detail=console.debug_once, keep=tuple(carry), where=where)
    refuse_columns(sources, carry, where)
    if sources.index is not None:
        refuse_all_of_an_index(hits, check)
    if expected and (globs.keeps or where is not None) and sources.files:
        raise UsageError("--relevance measures whole vector files", hint="leave out --include, --exclude and --where")
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


def find_sources(
    arguments: Sequence[str], lists: Sequence[str], *, null: bool, globs: Globs, column: str | None = None
) -> Sources:
    """Sort arguments into vector files, images and an index.

    Raises:
        UsageError: nothing to search, or `+` among the arguments.
        VectorsError: a vector file that cannot be used, or files that do not go together.
    """
    if not arguments and not lists:
        raise UsageError("no images to search", hint="name files, folders or vector files after the query")
    if "+" in arguments and not os.path.exists("+"):  # noqa: PTH110 - paths are strings here, any bytes included
        raise UsageError("a query with + or - is one argument", hint="quote it as a whole: 'horse + stripes'")
    arguments = named_files(arguments)
    if any(map(is_index, arguments)):
        if len(arguments) > 1 or lists:
            raise UsageError("an index is searched alone", hint="search other images in a run of their own")
        return Sources((), (), (), null, column, globs, index=Index(arguments[0]))
    vectors = [path for path in arguments if holds_vectors(path, column)]
    files = tuple(map(open_vectors, vectors))
    for file in files[1:]:
        if file.fingerprint != files[0].fingerprint or file.kind != files[0].kind:
            raise VectorsError(
                f"{file.path} and {files[0].path} are not of one kind: {contents_of(file)} and {contents_of(files[0])}",
                hint="vectors of different models cannot be compared",
            )
    images = tuple(path for path in arguments if path not in vectors)
    if files and files[0].kind == "text" and (images or lists):
        raise UsageError(
            f"{files[0].path} holds texts; images cannot be searched with them",
            hint="search texts and images in separate runs",
        )
    return Sources(files, images, tuple(lists), null, column, globs)


def _explain(queries: Sequence[Query], options: QueryOptions, console: Console) -> None:
    """Note how a query of the command line was read, if it could also be read in another way."""
    for query in queries:
        quoted = f"'\"{query.name}\"'"
        if query.is_example and not options.queries and not options.image:
            console.info_once(f"looking for pictures like {query.name}; for these words, quote them: {quoted}")
        if query.is_sum and not options.queries:
            console.info_once(f"looking for {query} (double quotes inside keep a literal sign)")


def _queries(
    options: QueryOptions, arguments: list[str], expected: ExpectedHits | None, *, arrive: bool
) -> list[Query]:
    """Return the queries of the options; without any, that of the first argument, which is removed from `arguments`.

    With `arrive`, queries come from stdin later.
    """
    if "" in (options.image or []):
        raise UsageError("--image is empty", hint="name the image to look for; is a variable of the shell unset?")
    queries = [read_query(text) for text in options.query or []] + [image_query(path) for path in options.image or []]
    queries += read_queries(options.queries) if options.queries and not arrive else []
    if not queries and expected is not None:
        queries += expected.queries
    if not queries and not arrive:
        queries.append(first_argument(arguments))
    if any(query.id is not None for query in queries):  # then every row has the column
        queries = [query if query.id is not None else replace(query, id="") for query in queries]
    return queries


def refuse_mixtures(hits: HitOptions, keep: KeepOptions, check: RecallOptions, reporting: Reporting) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: options of which one would be without effect.
    """
    if hits.all and hits.top_k is not None:
        raise UsageError("--all and --top-k do not go together", hint="choose one")
    if hits.min_score is not None and not -1 <= hits.min_score <= 1:
        raise UsageError("--min-score is a cosine, -1 to 1", hint="look at the scores without it first")
    if reporting.without_pages().paths and not check.min_recall:
        raise UsageError(
            "--report .xml, .sarif and .md are reports of checks",
            hint="add --min-recall K=R, or use .html, which shows hits",
        )
    if check.relevance:
        ignored = {
            "--top-k": hits.top_k, "--min-score": hits.min_score, "--relevant": hits.relevant, "--all": hits.all,
            "--copy-to": keep.copy_to, "--link-to": keep.link_to, "--preview": keep.preview,
            "--report .html": reporting.pages,
        }  # fmt: skip
        for option, value in ignored.items():
            if value is not None and value is not False and value != ():
                raise UsageError("--relevance writes figures, not hits", hint=f"leave out {option}")


def refuse_all_of_an_index(hits: HitOptions, check: RecallOptions) -> None:
    """Refuse options that only an exact search can answer.

    Raises:
        UsageError: an option that needs the scores of all rows.
    """
    problem = "an index knows the best few of a query only"
    if hits.all or hits.relevant or hits.exclude_copies or check.relevance:
        raise UsageError(problem, hint="search its vector file for --all, --relevant, --exclude-copies and --relevance")
    if hits.min_score is not None and hits.top_k is None:
        raise UsageError(problem, hint="say how many at most: --min-score and --top-k together")


def refuse_copies(sources: Sources) -> None:
    """Refuse to copy or link hits of a corpus of texts.

    Raises:
        UsageError: the corpus holds texts.
    """
    if sources.kind == "text":
        raise UsageError(
            f"{sources.made_by_model} holds texts: there are no files to keep",
            hint="leave out --copy-to and --link-to",
        )


def refuse_columns(sources: Sources, carry: Sequence[str], where: Condition | None) -> None:
    """Refuse columns that vector files do not carry, and all of an index. Raises UsageError."""
    if sources.index is not None and (carry or where is not None):
        option = "--keep" if carry else "--where"
        raise UsageError(f"an index has no columns for {option}", hint="search its vector file")
    for file in sources.files:
        file.require_columns("--keep", [name for name in carry if name != ALL_COLUMNS])
        if where is not None:
            where.bind(file.column_names)
