"""The rows of `classify`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from clipcli.output import RowBlock
from clipcli.output.rows import dumps, json_strings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Protocol

    from clipcli.tasks.classify import BestLabels

    class Entry(Protocol):
        """A label with its numbers."""

        @property
        def label(self) -> str: ...  # noqa: D102
        @property
        def score(self) -> float: ...  # noqa: D102
        @property
        def similarity(self) -> float: ...  # noqa: D102


OWN_COLUMNS = ("image", "label", "score", "labels", "expected", "ok", "error")
"""Names that a column of a table cannot have in the output."""
_DIGITS = 4
_JSON_DIGITS = 6


@dataclass(frozen=True)
class ClassifiedRow:
    """One image and the labels it got."""

    image: str
    label: str | None
    score: float
    labels: Sequence[Entry]
    """The best labels; `--top-k` says how many."""
    expected: str | None = None
    holds: bool | None = None
    """True if the answer is right; None if the image has no expected label."""
    checked: bool = False
    """True if the run is a check; all its rows then have the expected label."""
    multi_label: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns; a check adds `expected` and `ok`."""
        return ("image", "label", "score", "expected", "ok") if self.checked else ("image", "label", "score")

    @property
    def path(self) -> str | None:
        """Return the image for a list of bare paths: if it got a label; in a check, if it fails."""
        if self.checked:
            return self.image if self.holds is False else None
        return None if self.label is None else self.image

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        labels = [
            {"label": e.label, "score": round(e.score, _JSON_DIGITS), "similarity": round(e.similarity, _JSON_DIGITS)}
            for e in self.labels
        ]
        row: dict[str, object] = {
            "image": self.image, "label": self.label, "score": round(self.score, _JSON_DIGITS), "labels": labels
        }  # fmt: skip
        if self.checked:
            row |= {"expected": self.expected, "ok": self.holds}
        return row

    def cells(self) -> list[tuple[str, ...]]:
        """Return one line per label; without an answer, one line with an empty label."""
        ok = {True: "yes", False: "no", None: ""}[self.holds]
        check = (self.expected or "", ok) if self.checked else ()
        if len(self.labels) > 1 or (self.multi_label and self.labels):
            return [(self.image, e.label, f"{e.score:.{_DIGITS}f}", *check) for e in self.labels]
        return [(self.image, self.label or "", f"{self.score:.{_DIGITS}f}", *check)]


@dataclass(frozen=True)
class ClassifiedBlock(RowBlock):
    """Many images with their best labels."""

    images: Sequence[str]
    answers: BestLabels
    columns: ClassVar[tuple[str, ...]] = ("image", "label", "score")

    def rows(self) -> Iterator[ClassifiedRow]:
        """Yield one row per image."""
        for image, result in zip(self.images, self.answers.predictions(), strict=True):
            yield ClassifiedRow(image, result.label, result.score, result.ranked)

    def json_texts(self) -> list[str]:
        """Return the documented JSON objects."""
        answers = self.answers
        best, passed = answers.best.tolist(), answers.passed.tolist()
        names, none = json_strings(answers.names), dumps(answers.none_name)
        scores = list(map(repr, answers.scores.astype(np.float64).round(_JSON_DIGITS).tolist()))
        similarities = answers.similarities.astype(np.float64).round(_JSON_DIGITS).tolist()
        columns = zip(json_strings(self.images), best, passed, scores, similarities, strict=True)
        return [
            f'{{"image": {image}, "label": {names[number] if good else none}, "score": {score}, "labels": '
            f'[{{"label": {names[number]}, "score": {score}, "similarity": {similarity}}}]}}'
            for image, number, good, score, similarity in columns
        ]

    def cell_columns(self) -> Sequence[Sequence[str]]:
        """Return the cells column by column, one line per image."""
        answers = self.answers
        none = answers.none_name or ""
        chosen = zip(answers.best.tolist(), answers.passed.tolist(), strict=True)
        labels = [answers.names[number] if good else none for number, good in chosen]
        return self.images, labels, [f"{score:.{_DIGITS}f}" for score in answers.scores.tolist()]


@dataclass(frozen=True)
class PredictedRow:
    """One image and its scores by predictors."""

    image: str
    scores: Mapping[str, float]
    holds: bool | None
    """True if it is within all limits; None without limits."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Return a column for each score; with limits, whether they are kept."""
        return ("image", *self.scores) if self.holds is None else ("image", *self.scores, "ok")

    @property
    def path(self) -> str | None:
        """Return the image for a list of bare paths; with limits, only if it breaks one."""
        return None if self.holds else self.image

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        scores = {name: round(value, _JSON_DIGITS) for name, value in self.scores.items()}
        row: dict[str, object] = {"image": self.image, "scores": scores}
        return row if self.holds is None else {**row, "ok": self.holds}

    def cells(self) -> list[tuple[str, ...]]:
        """Return one line."""
        scores = [f"{value:.{_DIGITS}f}" for value in self.scores.values()]
        check = () if self.holds is None else ("yes" if self.holds else "no",)
        return [(self.image, *scores, *check)]
