"""Rows of another command, one by one, and which of them are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.core.console import printable
from clipcli.errors import InputsError, UsageError
from clipcli.inputs.sources.text_tables import IMAGE_COLUMNS, column_of
from clipcli.output.rows import as_json, cell_of
from clipcli.runs.select.bare_rows import open_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from clipcli.core.console import RunSummary
    from clipcli.inputs.row_filter import Condition, RowFilter

ERROR_COLUMN = "error"


@dataclass(frozen=True)
class SelectedRow:
    """A row as it was read."""

    image: str
    columns: tuple[str, ...]
    fields: Mapping[str, object]

    @property
    def path(self) -> str:
        """Return the image, in a list of bare paths."""
        return self.image

    def record(self) -> Mapping[str, object]:
        """Return every column."""
        return {name: as_json(value) for name, value in self.fields.items() if name != ERROR_COLUMN}

    def cells(self) -> list[tuple[str, ...]]:
        """One line."""
        return [tuple(cell_of(self.fields.get(name)) for name in self.columns)]


@dataclass(frozen=True)
class RowWishes:
    """The conditions for chosen rows."""

    column: str | None = None
    """That names images; None takes the first of a usual name."""
    score_column: str = "score"
    min_score: float | None = None
    top_share: float | None = None
    """Of the rows that the other conditions leave."""
    where: Condition | None = None

    @property
    def needs_score(self) -> bool:
        """Return whether a row without a score cannot be judged."""
        return self.min_score is not None or self.top_share is not None


@dataclass
class RowReader:
    """Reads files of rows, and counts what it passes over."""

    wishes: RowWishes
    report: RunSummary
    read: int = 0
    errors: int = 0
    """Rows of inputs that the other command could not use."""

    def rows(self, files: Sequence[str]) -> Iterator[tuple[SelectedRow, float]]:
        """Yield the rows that pass, each with its score, 0 where none is needed; `top_share` is not looked at.

        Raises:
            InputsError: a file cannot be read, or has no column of images or of scores.
            UsageError: the condition names a column that there is not.
        """
        for file in files:
            with open_rows(file, self.wishes.column) as table:
                column = column_of(table.shown, self.wishes.column, table.columns, IMAGE_COLUMNS)
                if self.wishes.needs_score and self.wishes.score_column not in table.columns:
                    raise _no_scores(table.shown, self.wishes.score_column, table.columns)
                columns = tuple(name for name in table.columns if name != ERROR_COLUMN)
                condition = None if self.wishes.where is None else self.wishes.where.bind(table.columns)
                for number, record in enumerate(table.records):
                    self.read += 1
                    if record.problem is not None:
                        self._fail(f"{table.shown}/{number}", record.problem)
                    elif record.values.get(ERROR_COLUMN):
                        self.errors += 1
                    else:
                        yield from self._passing(f"{table.shown}/{number}", record.values, column, columns, condition)

    def _passing(
        self, where: str, values: Mapping[str, object], column: str, columns: tuple[str, ...],
        condition: RowFilter | None,
    ) -> Iterator[tuple[SelectedRow, float]]:  # fmt: skip
        image, score = values.get(column), 0.0
        if not isinstance(image, str) or not image:
            self._fail(where, f"no image in the column {column}")
            return
        if self.wishes.needs_score:
            number = _number(values.get(self.wishes.score_column))
            if number is None:
                self._fail(where, f"no number in the column {self.wishes.score_column}")
                return
            score = number
            if self.wishes.min_score is not None and score < self.wishes.min_score:
                return
        if condition is None or condition.takes(values):
            yield SelectedRow(image, columns, values), score

    def _fail(self, where: str, reason: str) -> None:
        self.report.failed += 1
        self.report.console.line(f"{printable(where)}: {reason}")


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if number == number else None  # noqa: PLR0124 - NaN is unlike itself


def _no_scores(shown: str, column: str, columns: Sequence[str]) -> InputsError:
    return InputsError(f"{shown}: has no column {column}", hint="--by takes one of " + ", ".join(columns))


def check_wishes(wishes: RowWishes, *, by: str | None) -> None:
    """Refuse a name of a column that nothing looks at. Raises UsageError."""
    if by is not None and not wishes.needs_score:
        raise UsageError("--by needs --min-score or --top-share", hint='or --where "price < 50"')
