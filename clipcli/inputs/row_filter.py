"""A condition on the columns of a table, `price < 50 and title like '%shoe%'`: SQL, evaluated by SQLite row by row.

The condition comes from a command line or a configuration file, so it can only look at one row: it reads no other table
and no file, calls only the functions of the list below, and is stopped if it takes too long.
"""

from __future__ import annotations

import json
import re
import sqlite3
from datetime import date, time
from typing import TYPE_CHECKING, Final

from clipcli.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FUNCTIONS: Final = frozenset({
    "abs", "ceil", "ceiling", "coalesce", "date", "datetime", "floor", "glob", "hex", "ifnull", "iif", "instr",
    "json_array_length", "json_extract", "json_type", "json_valid", "julianday", "length", "like", "lower", "ltrim",
    "max", "min", "nullif", "round", "rtrim", "sign", "strftime", "substr", "substring", "time", "trim", "typeof",
    "unixepoch", "upper", "->", "->>",
})  # fmt: skip
"""The allowed functions. None of them returns a value much larger than its row."""
_TABLE: Final = "this_row"
_WORDS = re.compile(
    r"""'(?:[^']|'')*'"""  # a text
    r"""|"(?P<double>(?:[^"]|"")*)"|\[(?P<square>[^\]]*)\]|`(?P<back>(?:[^`]|``)*)`|(?P<bare>[^\W\d][\w$]*)"""
)
_TOKEN = re.compile(
    _WORDS.pattern + r"""|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|--[^\n]*|/\*.*?(?:\*/|$)|->>?|[<>=!|]+|\S""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER_TEXT = re.compile(r"'\s*(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*'")
_ORDER: Final = frozenset({"<", "<=", ">", ">=", "between"})
_ARITHMETIC: Final = frozenset({"+", "-", "*", "/", "%"})
_ROUNDING: Final = frozenset({"abs", "ceil", "ceiling", "floor", "round", "sign"})
_CHOOSING: Final = frozenset({"coalesce", "ifnull", "max", "min"})
"""Functions whose arguments are numbers if one of them is."""
_KEYWORDS: Final = frozenset({
    "and", "between", "case", "collate", "else", "end", "escape", "exists", "glob", "in", "is", "isnull", "like", "not",
    "notnull", "null", "or", "then", "when",
})  # fmt: skip
"""Bare words that are no column, even if a column has that name."""
_STEPS, _MOST_STEPS = 50_000, 50
"""Instructions of SQLite between two calls of the handler, and calls per row after which the condition is stopped."""
_LARGEST_INT: Final = 2**63 - 1
_LIMIT_LENGTH: Final = 0
"""`sqlite3.SQLITE_LIMIT_LENGTH`, which Python 3.10 lacks."""
_LARGEST_VALUE: Final = 64 << 20
"""Limit in bytes of a value of a row, and of an intermediate value."""
_LONGEST: Final = 10_000
"""Most characters of a condition."""


class Condition:
    """A condition that is not yet bound to the columns of a table."""

    def __init__(self, expression: str) -> None:
        """Check the condition as far as this is possible without a table.

        Raises:
            UsageError: it is not an SQL condition, or uses a function that is not allowed.
        """
        self.expression = expression
        if not expression.strip() or len(expression) > _LONGEST:
            raise UsageError("--where without a condition", hint='such as --where "price < 50"')
        self._words = {_name_in(match).casefold() for match in _WORDS.finditer(expression)} - {""}
        self.names_empty_text = "''" in {match[0] for match in _WORDS.finditer(expression)}
        """Whether the condition speaks of empty texts; otherwise these are null."""
        self._quoted = [match["double"].replace('""', '"') for match in _WORDS.finditer(expression) if match["double"]]
        self._check_syntax()

    def bind(self, names: Sequence[str]) -> RowFilter:
        """Return the condition for a table with these columns.

        Raises:
            UsageError: it names a column that the table lacks.
        """
        known = {name.casefold() for name in names}
        if unknown := next((name for name in self._quoted if name.casefold() not in known), None):
            raise self.unknown_column(unknown, names)  # SQLite would read it as a text
        return RowFilter(self, names, [name for name in names if name.casefold() in self._words])

    def sql(self, names: Sequence[str]) -> str:
        """Return the expression with other texts as null where it takes a column of `names` for a number.

        To SQLite any text is greater than any number: `price > 50` would hold for 'n/a'.
        """
        known = {name.casefold() for name in names}
        tokens = [match for match in _TOKEN.finditer(self.expression) if not match[0].startswith(("--", "/*"))]
        changes: dict[tuple[int, int], str] = {}
        for position, token in enumerate(tokens):
            if _is_column(tokens, position, known):
                changes |= _number_changes(tokens, position, token[0])
        sql, end = [], 0
        for (start, stop), text in sorted(changes.items()):
            sql += [self.expression[end:start], text]
            end = stop
        return "".join([*sql, self.expression[end:]])

    def unknown_column(self, name: str, names: Sequence[str]) -> UsageError:
        """Return the error for a name that is not a column."""
        columns = "the columns are " + ", ".join(names) + "; a text stands in single quotes: 'red'"
        return UsageError(f"--where: there is no column {name}", hint=did_you_mean(name, names) or columns)

    def refusal(self, error: sqlite3.Error) -> UsageError:
        """Return the error for a condition that SQLite refuses."""
        message = str(error)
        if function := re.search(r"function: (\S+)", message):
            return UsageError(
                f"--where: there is no function {function[1]}", hint="such as lower, length, abs, round, date, like"
            )
        if "interrupted" in message:
            return UsageError(f"--where {self.expression!r} takes too long", hint="a simpler condition")
        return UsageError(
            f"--where {self.expression!r} is no condition ({message})",
            hint="as in SQL: \"price < 50 and colour = 'red'\"",
        )

    def _check_syntax(self) -> None:
        try:
            RowFilter(self, (), ())
        except UsageError as error:
            if "no such column" not in error.message and "there is no column" not in error.message:
                raise


class RowFilter:
    """A condition on rows with known columns."""

    def __init__(self, condition: Condition, names: Sequence[str], columns: Sequence[str]) -> None:
        self.condition = condition
        self.columns = list({name.casefold(): name for name in reversed(columns)}.values())[::-1]
        """The columns that the condition reads; of names that differ only in case, the first."""
        self._all = names
        self._trusted = True
        self._steps = 0
        self._database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        if hasattr(self._database, "setlimit"):  # from Python 3.11 on
            self._database.setlimit(_LIMIT_LENGTH, _LARGEST_VALUE)
        self._database.set_authorizer(self._authorise)
        self._database.set_progress_handler(self._interrupt, _STEPS)
        # NUMERIC turns texts that are numbers, as in CSV, into numbers, so that 9 is less than 50.
        columns_sql = ", ".join([*(f"{_quoted(name)} NUMERIC" for name in self.columns), '"" NUMERIC'])
        self._database.execute(f"CREATE TABLE {_TABLE} ({columns_sql})")
        markers = ", ".join("?" * (len(self.columns) + 1))
        self._insert = f"INSERT INTO {_TABLE} VALUES ({markers})"  # noqa: S608 - question marks only
        # The line break ends a comment in the condition.
        self._select = f"SELECT rowid FROM {_TABLE} WHERE ({condition.sql(self.columns)}\n) ORDER BY rowid"  # noqa: S608
        self._rows(())

    def takes(self, fields: Mapping[str, object]) -> bool:
        """Return whether the condition holds for a row. Raises UsageError as `takes_each`."""
        return bool(self._rows([fields]))

    def takes_each(self, rows: Sequence[Mapping[str, object]]) -> list[bool]:
        """Return for each row whether the condition holds.

        Raises:
            UsageError: it takes too long, or fails for a row.
        """
        matching = set(self._rows(rows))
        return [number in matching for number in range(1, len(rows) + 1)]

    def _rows(self, rows: Sequence[Mapping[str, object]]) -> list[int]:
        """Return the numbers of the rows for which the condition holds, from 1 on."""
        values = [[*(self._value(fields.get(name)) for name in self.columns), None] for fields in rows]
        self._steps, self._trusted = -len(rows) * _MOST_STEPS, True
        try:
            self._database.execute(f"DELETE FROM {_TABLE}")  # noqa: S608 - our own name
            self._database.executemany(self._insert, values)
            self._trusted = False
            return [number for (number,) in self._database.execute(self._select)]
        except (sqlite3.Error, sqlite3.Warning) as error:
            if unknown := re.match(r"no such column: (?P<name>.+)", str(error)):
                raise self.condition.unknown_column(unknown["name"], self._all) from error
            raise self.condition.refusal(sqlite3.Error(str(error))) from error

    def _value(self, value: object) -> object:
        is_null = isinstance(value, str) and not value and not self.condition.names_empty_text
        return None if is_null else _value(value)

    def _authorise(self, action: int, first: str | None, second: str | None, *_: object) -> int:
        if self._trusted or action == sqlite3.SQLITE_SELECT:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ:
            return sqlite3.SQLITE_OK if first == _TABLE else sqlite3.SQLITE_DENY
        allowed = action == sqlite3.SQLITE_FUNCTION and str(second).casefold() in FUNCTIONS
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    def _interrupt(self) -> bool:
        self._steps += 1
        return self._steps > _MOST_STEPS


class RowSelector:
    """Selects rows of a table by a condition, and the columns to copy to the output."""

    def __init__(self, condition: Condition | None, names: Sequence[str], kept: Sequence[str]) -> None:
        """Bind the condition to a table.

        Args:
            condition: None selects all rows.
            names: the columns of the table.
            kept: the columns to copy.

        Raises:
            UsageError: the condition names a column that does not exist.
        """
        self._filter = None if condition is None else condition.bind(names)
        self._kept = kept
        others = () if self._filter is None else self._filter.columns
        self.columns = list(dict.fromkeys([*kept, *others]))
        """The columns that have to be read."""

    def fields(self, values: Mapping[str, object]) -> dict[str, object] | None:
        """Return the kept columns of a selected row; None for other rows. Raises UsageError."""
        if self._filter is not None and not self._filter.takes(values):
            return None
        return self.carried(values)

    def carried(self, values: Mapping[str, object]) -> dict[str, object]:
        """Return the kept columns of a row, selected or not."""
        return {name: values.get(name) for name in self._kept}


def _is_column(tokens: Sequence[re.Match[str]], position: int, known: set[str]) -> bool:
    """Return whether a token is one of the columns, and not a keyword, a function or a part of a longer name."""
    token = tokens[position]
    is_bare = token["bare"] is not None
    if _name_in(token).casefold() not in known or "." in {_word(tokens, position - 1), _word(tokens, position + 1)}:
        return False
    return not is_bare or not (token[0].casefold() in _KEYWORDS or _word(tokens, position + 1) == "(")


def _number_changes(tokens: Sequence[re.Match[str]], position: int, name: str) -> dict[tuple[int, int], str]:
    """Return the new text of spans of a condition, where a column is compared or computed with as a number.

    Beside a number in quotes, such as '2026', texts are compared as texts and numbers as numbers.
    """
    before, after = position - 1, position + 1
    function = _word(tokens, before - 1) if _word(tokens, before) == "(" else ""
    has_number = function in _CHOOSING and _word(tokens, after) == "," and _literal(tokens, after + 1, 1)
    while _word(tokens, before) == "(" and _word(tokens, after) == ")" and not _is_call(tokens, before):
        before, after = before - 1, after + 1
    after += _word(tokens, after) == "not"
    operators = _word(tokens, before), _word(tokens, after)
    literals = [_literal(tokens, before - 1, -1)] if operators[0] in _ORDER else []
    if operators[1] in _ORDER:
        literals.append(lower := _literal(tokens, after + 1, 1))
        if operators[1] == "between" and lower:
            literals.append(_literal(tokens, tokens.index(lower) + 2, 1))
    numbers = {literal.span(): literal for literal in literals if literal}
    texts = {span: match for span, literal in numbers.items() if (match := _NUMBER_TEXT.fullmatch(literal[0]))}
    span = tokens[position].span()
    if numbers and len(texts) == len(numbers):
        choices = {at: f"then {match[0]} else {match['number']} end)" for at, match in texts.items()}
        return {span: f"+{name}", **{at: f"(case when typeof({name}) = 'text' {x}" for at, x in choices.items()}}
    is_number = bool(numbers or has_number) or function in _ROUNDING or not _ARITHMETIC.isdisjoint(operators)
    return {span: f"(case when typeof({name}) <> 'text' then {name} end)"} if is_number else {}


def _is_call(tokens: Sequence[re.Match[str]], position: int) -> bool:
    """Return whether the bracket there belongs to a function."""
    return position > 0 and tokens[position - 1]["bare"] is not None and _word(tokens, position - 1) not in _KEYWORDS


def _word(tokens: Sequence[re.Match[str]], position: int) -> str:
    return tokens[position][0].casefold() if 0 <= position < len(tokens) else ""


def _literal(tokens: Sequence[re.Match[str]], position: int, step: int) -> re.Match[str] | None:
    """Return the number, or the number in quotes, that stands there, behind brackets and signs."""
    while _word(tokens, position) in {"(", ")", "+", "-"}:
        position += step
    if not 0 <= position < len(tokens):
        return None
    token = tokens[position]
    return token if token["number"] or _NUMBER_TEXT.fullmatch(token[0]) else None


def _name_in(match: re.Match[str]) -> str:
    """Return the column that a word may name; empty for a text."""
    double, back = match["double"], match["back"]
    if double is not None:
        return double.replace('""', '"')
    return back.replace("``", "`") if back is not None else match["square"] or match["bare"] or ""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""').replace("\0", "") + '"'


def _value(value: object) -> object:
    """Convert a value for SQLite: lists and structs to JSON, times to ISO 8601."""
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, int):
        return int(value) if abs(value) <= _LARGEST_INT else float(value)
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, default=str)
    return value.isoformat() if isinstance(value, (date, time)) else str(value)
