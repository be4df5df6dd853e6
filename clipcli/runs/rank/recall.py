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
from clipcli.errors import LabelsError, UsageError, did_you_mean
from clipcli.inputs.query import Query, image_query, words_query
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

_TARGETS = ("image", "images", "text", "texts", "path", "relevant")
_QUERIES = ("query", "caption", "query_image")


@dataclass(frozen=True)
class ExpectedPair:
    """One row of the table: a query and an image or text that it should find."""

    query: Query
    target: str
    line: int

    @property
    def key(self) -> str:
        """Return the id or the words of the query; rows with the same key belong to one query."""
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
    if not pairs and not faults.entries:
        faults.add(None, "holds no rows", "query,image")
    if faults.entries:
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
    encoded = next((name for name in _QUERIES if isinstance(row.get(name), str)), None)
    targets = next((row[name] for name in _TARGETS if name in row), None)
    names = targets if isinstance(targets, list) else [targets]
    identifier = row.get("id")
    if (encoded is None and identifier is None) or not names or not all(isinstance(name, str) for name in names):
        faults.add(line, "needs a query and an image", "columns query (or query_image) and image (or text)")
        return
    key = None if identifier is None else str(identifier)
    value = str(row[encoded]) if encoded else str(key)
    query = image_query(value, identifier=key) if encoded == "query_image" else words_query(value, identifier=key)
    for name in names:
        yield ExpectedPair(query, str(name), line)


_RECALL = re.compile(r"(\d+)=(0|1|0?\.\d+|1\.0*|0\.\d+)")
_QUERIES_AT_ONCE = 4096
_SUGGESTED_FROM = 20_000
"""Names above this number are not searched for the nearest one."""


@dataclass(frozen=True)
class ExpectedRows:
    """The expected rows of one query."""

    rows: set[int] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    """Images that could not be read."""


@dataclass(frozen=True)
class Figures:
    """The figures of all queries, and the best rank of each."""

    rows: Sequence[MeasureRow]
    best: Sequence[tuple[Query, int | None]]
    """Each query with the best rank among its expected images; None if none of them could be read."""


@dataclass(frozen=True)
class ExpectedHits:
    """The table of expected hits and the required recall."""

    source: str
    folder: str
    pairs: tuple[ExpectedPair, ...]
    needed: Mapping[int, float]
    """Required recall by depth k."""

    @property
    def queries(self) -> tuple[Query, ...]:
        """Return the queries of the table, each once; used if the command line names none."""
        return tuple({pair.key: pair.query for pair in self.pairs}.values())

    def finding(self, row: MeasureRow) -> Finding:
        """Return a checked figure as a finding for reports; its path is that of the table."""
        from clipcli.output.reports import Finding

        needed = row.needed or 0.0
        return Finding(
            self.source, self.source, row.value >= needed, expected=f"{row.measure} of at least {needed:.1%}",
            found=f"{row.value:.1%}", title=row.measure,
        )  # fmt: skip

    def findings(self, figures: Figures) -> Iterator[Finding]:
        """Yield a finding for each query with no expected image among the best k, for reports.

        k is the smallest depth whose recall is too low; if all are reached, the smallest depth (reports call these
        queries tolerated).
        """
        from clipcli.output.reports import Finding

        checked = {row.measure: row for row in figures.rows if row.needed is not None}
        failing = [k for k in self.needed if checked[f"recall@{k}"].value < self.needed[k]]
        depth = min(failing or self.needed, default=0)
        targets: dict[str, list[str]] = {}
        for pair in self.pairs:
            targets.setdefault(pair.key, []).append(pair.target)
        for query, best in figures.best:
            if best is None or best > depth:
                names = targets.get(query.id or "") or targets[query.name]
                more = f"it or one of {len(names) - 1} more " if len(names) > 1 else ""
                found = (
                    "none of them" if best is None and more else "nothing" if best is None else f"it at rank {best:,}"
                )
                expected = f"{more}among the best {depth} of {query.name!r}"
                path = os.path.join(self.folder, names[0])  # noqa: PTH118 - any bytes included
                yield Finding(names[0], path, ok=False, expected=expected, found=found, title=query.id or query.name)

    def measures(self, finder: CorpusFinder, queries: Sequence[Query], lost: frozenset[str]) -> Figures:
        """Return the figures over all queries that the table names.

        Args:
            finder: the corpus, and the queries that have a vector.
            queries: all queries of the run; one without a vector finds nothing.
            lost: images that could not be read: they count as not found.

        Raises:
            LabelsError: the table names an image that is not in the corpus, or none of the queries.
            VectorsError: unusable rows in the corpus.
        """
        by_key = self._expected_rows(finder.corpus, lost)
        known = [
            (query, expected) for query in queries if (expected := by_key.get(query.id or "") or by_key.get(query.name))
        ]
        if not known:
            raise LabelsError(f"{self.source} has none of the queries", hint="columns query (or id) and image")
        ranks = _ranks(finder, known)
        counts = [len(own) + len(expected.lost) for own, (_, expected) in zip(ranks, known, strict=True)]
        figures = evaluate(ranks, sorted({*DEPTHS, *self.needed}), counts)
        measures = [
            *(MeasureRow(f"recall@{k}", value, self.needed.get(k)) for k, value in figures.recall.items()),
            MeasureRow(
                "median_rank", figures.median_rank if np.isfinite(figures.median_rank) else len(finder.corpus) + 1.0
            ),
            MeasureRow("mean_average_precision", figures.mean_average_precision),
            MeasureRow("queries", figures.queries),
        ]
        best = (int(own.min()) if len(own) else None for own in ranks)
        return Figures(measures, tuple((query, rank) for (query, _), rank in zip(known, best, strict=True)))

    def _expected_rows(self, corpus: Corpus, lost: frozenset[str]) -> dict[str, ExpectedRows]:
        """Return the expected rows of each query, by its id or words."""
        as_named = {name: row for row, name in reversed(list(enumerate(corpus.names)))}
        missing, by_key = [], dict[str, ExpectedRows]()
        normal: dict[str, int] | None = None
        for pair in self.pairs:
            row = as_named.get(pair.target)
            if row is None and corpus.kind == "image":
                normal = normal or {os.path.abspath(name): row for name, row in as_named.items()}  # noqa: PTH100
                beside = os.path.join(self.folder, pair.target)  # noqa: PTH118
                candidates = (os.path.abspath(path) for path in (pair.target, beside))  # noqa: PTH100
                row = next((normal[path] for path in candidates if path in normal), None)
            expected = by_key.setdefault(pair.key, ExpectedRows())
            if row is not None:
                expected.rows.add(row)
            elif {pair.target, os.path.join(self.folder, pair.target)} & lost:  # noqa: PTH118
                expected.lost.add(pair.target)
            else:
                missing.append(pair)
        if missing:
            near = did_you_mean(missing[0].target, as_named) if len(as_named) <= _SUGGESTED_FROM else ""
            problem = f"{quoted(missing[0].target)} is not among what is searched"
            refuse([Fault(self.source, pair.line, problem, near) for pair in missing], LabelsError)
        return by_key


def _ranks(finder: CorpusFinder, known: Sequence[tuple[Query, ExpectedRows]]) -> list[Rows]:
    """Return, for each query, the ranks of its expected rows; empty if the query has no vector."""
    vectors = dict(zip(finder.encoded.queries, finder.encoded.vectors, strict=True))
    ranks = [np.empty(0, np.int64)] * len(known)
    usable = [number for number, (query, _) in enumerate(known) if query in vectors]
    for start in range(0, len(usable), _QUERIES_AT_ONCE):
        batch = usable[start : start + _QUERIES_AT_ONCE]
        excluded = [finder.excluded(known[number][0]) for number in batch]
        rows = [
            np.array(sorted(known[n][1].rows - {*own.tolist()}), np.int64)
            for n, own in zip(batch, excluded, strict=True)
        ]
        ranks_of_batch = _ranks_of_rows(finder.corpus, np.stack([vectors[known[n][0]] for n in batch]), rows, excluded)
        for number, own in zip(batch, ranks_of_batch, strict=True):
            ranks[number] = own
    return ranks


def _ranks_of_rows(corpus: Corpus, queries: Vectors, rows: Sequence[Rows], excluded: Sequence[Rows]) -> list[Rows]:
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
