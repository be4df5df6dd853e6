"""Read the expected rows of each query and compute figures of recall."""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from clipcli.core.decode import DecodeError, parse_json
from clipcli.core.suggest import did_you_mean
from clipcli.errors import LabelsError, UsageError
from clipcli.inputs.query import Query, example, literal
from clipcli.inputs.text_files import Fault, Faults, quoted, read_text, refuse, shown_name
from clipcli.runs.rank.rows import MeasureRow
from clipcli.tasks.search.flat import UnusableRowError, rows_a_block
from clipcli.tasks.search.retrieval import DEPTHS, Relevant, evaluate, relevant_ranks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from clipcli.core.vectors import Vectors
    from clipcli.output.reports import Finding
    from clipcli.runs.rank.corpus import Corpus
    from clipcli.runs.rank.finder import CorpusFinder
    from clipcli.tasks.search.flat import Rows

_FOUND = ("image", "images", "text", "texts", "path", "relevant")
_QUERIES = ("query", "caption", "query_image")


@dataclass(frozen=True)
class ExpectedPair:
    """One row of the table: this query should find this."""

    query: Query
    found: str
    line: int

    @property
    def key(self) -> str:
        """Rows of the same are of one query."""
        return self.query.id or self.query.name


def read_pairs(path: str) -> tuple[ExpectedPair, ...]:
    """Read the table.

    A CSV has columns query (or query_image) and image (or text); a JSONL the same, with a text or a list of them. An id
    keeps queries of the same words apart.

    Raises:
        LabelsError: a table that cannot be used.
    """
    text, faults = read_text(path, errors="surrogateescape"), Faults(shown_name(path))
    if isinstance(text, Fault):
        refuse([text], LabelsError)
    rows = _json_rows(text, faults) if path.lower().endswith((".jsonl", ".ndjson")) else _csv_rows(text, faults)
    pairs = tuple(rows)
    if not pairs and not faults.found:
        faults.add(None, "holds no rows", "query,image")
    if faults.found:
        refuse(faults.in_order(), LabelsError)
    return pairs


def _csv_rows(text: str, faults: Faults) -> Iterator[ExpectedPair]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        for row in reader:
            yield from _pairs({key: value for key, value in row.items() if value}, reader.line_num, faults)
    except csv.Error as error:
        faults.add(reader.line_num, f"not CSV: {error}")


def _json_rows(text: str, faults: Faults) -> Iterator[ExpectedPair]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = parse_json(line)
            except DecodeError as error:
                faults.add(number, str(error), "one object per line")
                continue
            yield from _pairs(row if isinstance(row, dict) else {}, number, faults)


def _pairs(row: Mapping[str, object], line: int, faults: Faults) -> Iterator[ExpectedPair]:
    asked = next((name for name in _QUERIES if isinstance(row.get(name), str)), None)
    found = next((row[name] for name in _FOUND if name in row), None)
    names = found if isinstance(found, list) else [found]
    identifier = row.get("id")
    if (asked is None and identifier is None) or not names or not all(isinstance(name, str) for name in names):
        faults.add(line, "needs a query and an image", "columns query (or query_image) and image (or text)")
        return
    key = None if identifier is None else str(identifier)
    value = str(row[asked]) if asked else str(key)
    query = example(value, identifier=key) if asked == "query_image" else literal(value, identifier=key)
    for name in names:
        yield ExpectedPair(query, str(name), line)


_RECALL = re.compile(r"(\d+)=(0|1|0?\.\d+|1\.0*|0\.\d+)")
_QUERIES_AT_ONCE = 4096
_SUGGESTED_FROM = 20_000
"""Names above this number are not searched for the nearest one."""


@dataclass(frozen=True)
class Sought:
    """The expected rows of one query."""

    rows: set[int] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    """Images that could not be read."""


@dataclass(frozen=True)
class Figures:
    """The figures of all queries, and the best rank of each."""

    rows: Sequence[MeasureRow]
    best: Sequence[tuple[Query, int | None]]
    """Of every query, the rank of the first image that it should find; None where no such image could be read."""


@dataclass(frozen=True)
class ExpectedHits:
    """The table and what is needed."""

    source: str
    folder: str
    pairs: tuple[ExpectedPair, ...]
    needed: Mapping[int, float]
    """Smallest recall by depth."""

    @property
    def queries(self) -> tuple[Query, ...]:
        """Return the table's own, each once, for a run that asks nothing else."""
        return tuple({pair.key: pair.query for pair in self.pairs}.values())

    def finding(self, row: MeasureRow) -> Finding:
        """Return a figure that is checked, as reports for CI take it: the table stands for its images."""
        from clipcli.output.reports import Finding

        needed = row.needed or 0.0
        return Finding(
            self.source, self.source, row.value >= needed, expected=f"{row.measure} of at least {needed:.1%}",
            found=f"{row.value:.1%}", title=row.measure,
        )  # fmt: skip

    def findings(self, figures: Figures) -> Iterator[Finding]:
        """The queries that a figure lost, as reports take them: of those below what is needed, the one that asks most.

        Where all hold, the queries that the strictest of them lost: reports call these tolerated.
        """
        from clipcli.output.reports import Finding

        checked = {row.measure: row for row in figures.rows if row.needed is not None}
        failing = [k for k in self.needed if checked[f"recall@{k}"].value < self.needed[k]]
        depth = min(failing or self.needed, default=0)
        wanted: dict[str, list[str]] = {}
        for pair in self.pairs:
            wanted.setdefault(pair.key, []).append(pair.found)
        for query, best in figures.best:
            if best is None or best > depth:
                names = wanted.get(query.id or "") or wanted[query.name]
                more = f"it or one of {len(names) - 1} more " if len(names) > 1 else ""
                found = (
                    "none of them" if best is None and more else "nothing" if best is None else f"it at rank {best:,}"
                )
                expected = f"{more}among the best {depth} of {query.name!r}"
                path = os.path.join(self.folder, names[0])  # noqa: PTH118 - any bytes included
                yield Finding(names[0], path, ok=False, expected=expected, found=found, title=query.id or query.name)

    def measures(self, finder: CorpusFinder, queries: Sequence[Query], lost: frozenset[str]) -> Figures:
        """Return the figures over all queries that the table speaks of.

        Args:
            finder: what is searched, and the queries that have a vector.
            queries: all that were asked; one without a vector finds nothing.
            lost: images that could not be read: they count as not found.

        Raises:
            LabelsError: the table names what is not in the corpus, or knows none of the queries.
            VectorsError: unusable rows in the corpus.
        """
        sought = self._sought(finder.corpus, lost)
        known = [(query, found) for query in queries if (found := sought.get(query.id or "") or sought.get(query.name))]
        if not known:
            raise LabelsError(f"{self.source} speaks of none of the queries", hint="columns query (or id) and image")
        ranks = _ranks(finder, known)
        counts = [len(own) + len(found.lost) for own, (_, found) in zip(ranks, known, strict=True)]
        figures = evaluate(ranks, sorted({*DEPTHS, *self.needed}), counts)
        measures = [
            *(MeasureRow(f"recall@{k}", value, self.needed.get(k)) for k, value in figures.recall.items()),
            MeasureRow(
                "median_rank", figures.median_rank if np.isfinite(figures.median_rank) else len(finder.corpus) + 1.0
            ),
            MeasureRow("mean_average_precision", figures.mean_average_precision),
            MeasureRow("queries", figures.queries),
        ]
        best = (int(found.min()) if len(found) else None for found in ranks)
        return Figures(measures, tuple((query, rank) for (query, _), rank in zip(known, best, strict=True)))

    def _sought(self, corpus: Corpus, lost: frozenset[str]) -> dict[str, Sought]:
        """Return what to find, by id or words of the query."""
        as_named = {name: row for row, name in reversed(list(enumerate(corpus.names)))}
        missing, sought = [], dict[str, Sought]()
        normal: dict[str, int] | None = None
        for pair in self.pairs:
            row = as_named.get(pair.found)
            if row is None and corpus.kind == "image":
                normal = normal or {os.path.abspath(name): row for name, row in as_named.items()}  # noqa: PTH100
                beside = os.path.join(self.folder, pair.found)  # noqa: PTH118
                places = (os.path.abspath(path) for path in (pair.found, beside))  # noqa: PTH100
                row = next((normal[place] for place in places if place in normal), None)
            found = sought.setdefault(pair.key, Sought())
            if row is not None:
                found.rows.add(row)
            elif {pair.found, os.path.join(self.folder, pair.found)} & lost:  # noqa: PTH118
                found.lost.add(pair.found)
            else:
                missing.append(pair)
        if missing:
            near = did_you_mean(missing[0].found, as_named) if len(as_named) <= _SUGGESTED_FROM else ""
            problem = f"{quoted(missing[0].found)} is not among what is searched"
            refuse([Fault(self.source, pair.line, problem, near) for pair in missing], LabelsError)
        return sought


def _ranks(finder: CorpusFinder, known: Sequence[tuple[Query, Sought]]) -> list[Rows]:
    """Of every query, the ranks of what it should find; none where the query has no vector."""
    vectors = dict(zip(finder.asked.queries, finder.asked.vectors, strict=True))
    ranks = [np.empty(0, np.int64)] * len(known)
    usable = [number for number, (query, _) in enumerate(known) if query in vectors]
    for start in range(0, len(usable), _QUERIES_AT_ONCE):
        some = usable[start : start + _QUERIES_AT_ONCE]
        excluded = [finder.excluded(known[number][0]) for number in some]
        rows = [
            np.array(sorted(known[n][1].rows - {*own.tolist()}), np.int64)
            for n, own in zip(some, excluded, strict=True)
        ]
        found = _counted(finder.corpus, np.stack([vectors[known[n][0]] for n in some]), rows, excluded)
        for number, own in zip(some, found, strict=True):
            ranks[number] = own
    return ranks


def _counted(corpus: Corpus, queries: Vectors, rows: Sequence[Rows], excluded: Sequence[Rows]) -> list[Rows]:
    flat = np.concatenate(rows)
    vectors = np.split(corpus.take(flat), np.cumsum([len(own) for own in rows])[:-1])
    try:
        blocks = corpus.blocks(rows_a_block(corpus.dim, len(flat)))
        return relevant_ranks(Relevant(queries, rows, vectors, excluded), blocks, corpus.name)
    except UnusableRowError as error:
        raise corpus.refusal(error) from error


def parse_expected(path: str | None, needed: Sequence[str]) -> ExpectedHits | None:
    """Read `--relevance` and `--min-recall`.

    Raises:
        UsageError: `--min-recall` alone, or not K=R.
        LabelsError: a table that cannot be used.
    """
    limits: dict[int, float] = {}
    for limit in needed:
        read = _RECALL.fullmatch(limit)
        if read is None or int(read[1]) == 0:
            raise UsageError(f"--min-recall {limit}: not K=R", hint="recall@5 of at least 0.8 is 5=0.8")
        limits[int(read[1])] = float(read[2])
    if path is None:
        if limits:
            raise UsageError("--min-recall needs something to check", hint="add --relevance FILE")
        return None
    return ExpectedHits(shown_name(path), os.path.dirname(path), read_pairs(path), limits)  # noqa: PTH120
