"""One run of `score`: how well each image fits its own text."""

from __future__ import annotations

import json
import tempfile
from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

import numpy as np

from clipcli.core.console import printable
from clipcli.errors import ExitCode, ImageError
from clipcli.output import ErrorRow
from clipcli.output.reports import CheckReport, Finding, Reporting
from clipcli.prompts import Label
from clipcli.runs.score.rows import ScoredRow
from clipcli.session.features import NoVectorError
from clipcli.session.session import open_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clipcli.core.console import Console, RunSummary
    from clipcli.core.vectors import Vector
    from clipcli.inputs.collect import ImageRef
    from clipcli.inputs.image_texts import Pair
    from clipcli.models.spec import Choice
    from clipcli.options.score import ScoreLimitOptions
    from clipcli.output import CarriedColumns, Row
    from clipcli.prompts import PromptSet
    from clipcli.runs.base import Advance
    from clipcli.session.prepare import SessionOptions
    from clipcli.session.session import Session

    Result: TypeAlias = Vector | ImageError

_TEXTS_AT_ONCE: Final = 128
"""Pairs whose texts go to the model in one batch."""
_PAIRS_AT_ONCE: Final = 1024
"""Pairs that each model embeds before the next model, if there are several."""


@dataclass(frozen=True)
class ScoreSessions:
    """One session per model, by the name that the user gave it."""

    by_model: dict[str, Session]

    def finish(self) -> None:
        """Do the work that each session deferred."""
        for session in self.by_model.values():
            session.finish()


@contextmanager
def open_sessions(
    choices: Sequence[Choice], console: Console, options: SessionOptions, expected: int | None
) -> Iterator[ScoreSessions]:
    """Open a session for each model, prepared for this number of pairs. Raises as `open_session`."""
    with ExitStack() as stack:
        by_model = {}
        for choice in choices:
            opened = open_session(choice, console, options, expected_images=expected, expected_texts=expected)
            by_model[choice.model] = stack.enter_context(opened)
        yield ScoreSessions(by_model)


@dataclass
class ScoreRun:
    """One run, ready to go."""

    pairs: Iterable[Pair]
    limits: ScoreLimitOptions
    prompts: PromptSet | None
    carried: CarriedColumns
    report: RunSummary
    reporting: Reporting = field(default_factory=Reporting)
    findings: list[Finding] = field(default_factory=list)
    name: str = "score"
    """The name of this run in reports."""
    expected: int | None = None
    """The number of pairs for which the engines prepare; None if unknown."""
    _total: float = 0.0
    _reached: int = 0
    unit: ClassVar[str] = "pair"
    total: ClassVar[None] = None

    @property
    def is_check(self) -> bool:
        """Return whether the exit code says if enough pairs reach the score."""
        return self.limits.min_share is not None

    def rows(self, sessions: ScoreSessions, advance: Advance) -> Iterator[Row]:
        """Yield one row per pair within the limits, in input order; a pair without image or text is a failure."""
        if self.limits.top_share is not None:
            yield from self._best(self._scored(sessions, advance), self.limits.top_share)
            return
        for pair, row in self._scored(sessions, advance):
            if self.is_check or self._reaches(row):
                yield self.carried.row(row, pair.fields) if isinstance(row, ScoredRow) else row

    def finish(self, sessions: ScoreSessions) -> ExitCode:
        """Print the summary, write the reports, and return the exit code."""
        self.report.summarise("pair")
        if self.report.done:
            console, done = self.report.console, self.report.done
            console.info(f"{done:,} pairs, mean score {self._total / done:.4f}{self._reached_words()}")
        if self.is_check:
            self.report.console.line(f"check {'holds' if self._holds else 'fails'}: {self._outcome()}")
        self.reporting.write(
            [self.check_report(", ".join(session.info.name for session in sessions.by_model.values()))]
        )
        return self.exit_code

    def check_report(self, model: str) -> CheckReport:
        """Return the report of a run that has ended; `model` is the name of its model, or of its models."""
        holds = self._holds if self.is_check else not self.report.failed
        return CheckReport(self.name, tuple(self.findings), holds, self._outcome(), model)

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code of a run that has ended."""
        return ExitCode.CHECK_FAILED if self.is_check and not self._holds else self.report.exit_code

    @property
    def _holds(self) -> bool:
        pairs = self.report.done + self.report.failed
        return self._reached >= (self.limits.min_share or 0.0) * pairs

    def _outcome(self) -> str:
        pairs = self.report.done + self.report.failed
        if self.limits.min_score is None:
            return f"{self.report.done} of {pairs} pairs scored, nothing was expected of them"
        share = self._reached / pairs if pairs else 0.0
        needed = f", needed {self.limits.min_share:.1%}" if self.limits.min_share is not None else ""
        return f"{self._reached} of {pairs} pairs reach {self.limits.min_score:g}, {share:.1%}{needed}"

    def _reached_words(self) -> str:
        limit = self.limits.min_score
        return "" if limit is None else f"; {self._reached:,} reach {limit:g}"

    def _reaches(self, row: Row) -> bool:
        limit = self.limits.min_score
        return not isinstance(row, ScoredRow) or limit is None or row.score >= limit

    def _scored(self, sessions: ScoreSessions, advance: Advance) -> Iterator[tuple[Pair, ScoredRow | ErrorRow]]:
        """Yield each pair with its row, counted and compared with the limit."""
        stream = self._embedded(list(sessions.by_model.values()))
        while block := list(islice(stream, _TEXTS_AT_ONCE)):
            good = [pair.text or "" for pair, images in block if _first_error(images) is None]
            texts = {name: self._texts(session, good) for name, session in sessions.by_model.items()}
            position = 0
            for pair, images in block:
                advance(1)
                error = _first_error(images)
                if error is None:
                    own = [results[position] for results in texts.values()]
                    position += 1
                    error = _first_error(own)
                yield pair, (self._failed(pair, error) if error else self._row(pair, list(texts), images, own))

    def _row(self, pair: Pair, models: Sequence[str], images: Sequence[Result], texts: Sequence[Result]) -> ScoredRow:
        scores = {
            model: float(np.dot(image, text))  # type: ignore[arg-type]  # the caller looked for errors
            for model, image, text in zip(models, images, texts, strict=True)
        }
        self.report.ok()
        limit, score = self.limits.min_score, scores[models[0]]
        holds = score >= limit if self.is_check and limit is not None else None
        row = ScoredRow(pair.ref.name, pair.text or "", scores, holds)
        self._total += score
        self._reached += self._reaches(row)
        required = None if limit is None or not self.is_check else f"a score of {limit:g}"
        finding = Finding(pair.ref.name, pair.ref.path, holds is not False, required, row.text, limit, score)
        self._add_finding(finding)
        if holds is False:
            self.report.console.line(f"{printable(row.image)}: {score:.4f} is below {limit:g}: {printable(row.text)}")
        return row

    def _failed(self, pair: Pair, error: ImageError) -> ErrorRow:
        self.report.fail(pair.ref.name, error)
        self._add_finding(Finding(pair.ref.name, pair.ref.path, ok=False, error=f"{error.reason} ({error.stage})"))
        text = {} if pair.text is None else {"text": pair.text}
        return ErrorRow.of(pair.ref.name, error, fields={**text, **self.carried.renamed(pair.fields)})

    def _add_finding(self, finding: Finding) -> None:
        if self.reporting.needs(ok=finding.ok):
            self.findings.append(finding)

    def _embedded(self, sessions: Sequence[Session]) -> Iterator[tuple[Pair, Sequence[Result]]]:
        """Yield each pair with its image's vector of every model, or the error; in order."""
        if len(sessions) == 1:
            yield from ((pair, [result]) for pair, result in _images(sessions[0], self.pairs))
            return
        stream = iter(self.pairs)
        while block := list(islice(stream, _PAIRS_AT_ONCE)):
            columns = [[result for _, result in _images(session, block)] for session in sessions]
            yield from zip(block, map(list, zip(*columns, strict=True)), strict=True)

    def _texts(self, session: Session, texts: Sequence[str]) -> Sequence[Result]:
        """Return a vector or an error for each text, put into the prompts if there are any."""
        try:
            if self.prompts is None:
                return list(session.embed_texts(texts))
            return list(session.embed_labels([Label(text, (text,)) for text in texts], self.prompts))
        except NoVectorError as error:
            return error.results

    def _best(self, scored: Iterator[tuple[Pair, ScoredRow | ErrorRow]], share: float) -> Iterator[Row]:
        """Yield the best share of all pairs, in input order; they wait in a file, since the last may be the best."""
        scores: list[float] = []
        with tempfile.TemporaryFile() as waiting:
            for pair, row in scored:
                if isinstance(row, ErrorRow):
                    yield row
                    continue
                scores.append(row.score)
                kept = [row.image, row.text, row.scores, self.carried.renamed(pair.fields)]
                waiting.write(json.dumps(kept).encode("ascii") + b"\n")
            best = _best_rows(np.array(scores), share)
            waiting.seek(0)
            for number, line in enumerate(waiting):
                image, text, own, fields = json.loads(line)
                row = ScoredRow(image, text, own)
                if number in best and self._reaches(row):
                    yield self.carried.row(row, fields)


def _best_rows(scores: np.ndarray, share: float) -> frozenset[int]:
    """Return the numbers of the best share, rounded to whole rows; of equal scores, the first."""
    count = round(len(scores) * share)
    return frozenset(np.argsort(-scores, kind="stable")[:count].tolist())


def _first_error(results: Iterable[Result]) -> ImageError | None:
    return next((result for result in results if isinstance(result, ImageError)), None)


def _images(session: Session, pairs: Iterable[Pair]) -> Iterator[tuple[Pair, Result]]:
    """Yield each pair with the vector of its image, or the error, as they come."""
    waiting: deque[Pair] = deque()

    def refs() -> Iterator[ImageRef]:
        for pair in pairs:
            waiting.append(pair)
            yield pair.ref

    for embedded in session.embed_images(refs()):
        pair = waiting.popleft()
        if embedded.vector is not None:
            yield pair, embedded.vector
        else:
            yield pair, embedded.error or ImageError("read", "no vector")
