"""Conditions on columns: SQL that can look at one row and do nothing else."""

from __future__ import annotations

import contextlib
import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipcli.errors import UsageError
from clipcli.inputs.row_filter import Condition

ROW = {"sku": "00123", "Price": "9.50", "title": "Red shoe", "tags": ["a", "b"], "stock": None, "new": True}

ENDLESS = ", ".join(f"(values (1), (2), (3), (4), (5), (6), (7), (8)) as t{number}" for number in range(12))
"""A table of 8 to the power of 12 rows."""
SUM = " + ".join(f"t{number}.column1" for number in range(12))


def takes(expression: str, row: dict[str, object] | None = None) -> bool:
    row = ROW if row is None else row
    return Condition(expression).bind(list(row)).takes(row)


@pytest.mark.parametrize(
    "expression",
    [
        "price < 50", "Price between 9 and 10", "title like 'red%'", "sku = '00123'", "sku = 123", "stock is null",
        "new", '"Price" < 10 and "title" != \'x\'', "price < 50 -- cheap", "json_extract(tags, '$[1]') = 'b'",
        "lower(title) in ('red shoe', 'blue shoe')", "coalesce(stock, 3) = 3", "length(title) = 8",
        "[title] >= `title`",
    ],
)  # fmt: skip
def test_conditions_that_hold(expression: str):
    assert takes(expression)
    assert not takes(f"not ({expression}\n)")


GAPS = [{"price": price} for price in ("9.5", "", "n/a", "120", None, "-3")]


@pytest.mark.parametrize(
    ("expression", "prices"),
    [
        ("price > 50", ["120"]), ("50 < price", ["120"]), ("(price) >= (50)", ["120"]), ('"PRICE">5e1', ["120"]),
        ("price < 50", ["9.5", "-3"]), ("price > -5", ["9.5", "120", "-3"]), ("not price > 50", ["9.5", "-3"]),
        ("price between 0 and 200", ["9.5", "120"]), ("price not between 0 and 10", ["120", "-3"]),
        ("price * 2 < 50", ["9.5", "-3"]), ("-price < 0", ["9.5", "120"]), ("round(price, 1) >= 0", ["9.5", "120"]),
        ("price is null", ["", None]), ("coalesce(price, 0) > -1", ["9.5", "", "n/a", "120", None]),
        ("price = 'n/a' or price > 50", ["n/a", "120"]), ("price = ''", [""]),
        ("price != ''", ["9.5", "n/a", "120", "-3"]),
        ("coalesce(price, '') = ''", ["", None]), ("length(price) > 2", ["9.5", "n/a", "120"]),
        ("price != 120", ["9.5", "n/a", "-3"]), ("price > 50 -- price > 0", ["120"]),
        ("case when price > 5 then 1 else 0 end > 0", ["9.5", "120"]),
    ],
)  # fmt: skip
def test_a_cell_without_a_number_is_neither_greater_nor_less(expression: str, prices: list[str | None]):
    chosen = Condition(expression).bind(["price"]).takes_each(GAPS)
    assert [row["price"] for row, is_chosen in zip(GAPS, chosen, strict=True) if is_chosen] == prices


@pytest.mark.parametrize(
    ("expression", "years"),
    [("day >= '2026'", ["2026-05-01", "2026"]), ("day < '2026'", ["2025-05-01"]), ("day > 2025", ["2026"]),
     ("day between '2025' and '2026'", ["2025-05-01", "2026"]), ("'2026' > day", ["2025-05-01"])],
)  # fmt: skip
def test_beside_a_number_in_quotes_texts_are_texts(expression: str, years: list[str]):
    rows = [{"day": day} for day in ("2026-05-01", "2025-05-01", "2026", "")]
    chosen = Condition(expression).bind(["day"]).takes_each(rows)
    assert [row["day"] for row, is_chosen in zip(rows, chosen, strict=True) if is_chosen] == years


def test_words_of_sql_and_functions_are_no_columns():
    row = {"end": "n/a", "and": 3, "round": "n/a", "case": 1, "x": "7"}
    assert takes('case when x > 5 then 1 else 0 end > 0 and -1 < "and" and round(x) > 5', row)


def test_only_what_is_named_is_read():
    bound = Condition("price < 50 and title != 'sku'").bind(list(ROW))
    assert bound.columns == ["Price", "title"]
    assert Condition('"a""b" = 1').bind(['a"b', "c"]).columns == ['a"b']


def test_values_of_every_type():
    day = dt.date(2026, 5, 17)
    row: dict[str, object] = {"day": day, "big": 2**70, "nan": float("nan"), "raw": "a\udcff", "none": None}
    assert takes("day > '2026-05-01' and day < date('2026-06-01')", row)
    assert takes("big > 1e20 and nan is null and none is null and length(raw) = 2", row)


def test_a_row_without_a_column_has_null_there():
    bound = Condition("price is null").bind(["price", "title"])
    assert bound.takes_each([{"title": "a"}, {"price": 3}, {}]) == [True, False, True]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("prise < 5", "did you mean 'Price'?"), ('"colour" = \'red\'', "no column colour"),
        ("colour", "the columns are"),
        ("price <", "is no condition"), ("", "without a condition"), ("1); drop table this_row; --", "is no condition"),
        ("load_extension('x.so')", "no function load_extension"), ("readfile('/etc/passwd')", "no function readfile"),
        ("zeroblob(1000000000)", "no function zeroblob"), ("price > ?", "is no condition"),
        ("price in (select name from sqlite_master)", "is no condition"), ("count(*) > 0", "no function count"),
        ("(with recursive c(x) as (select 1 union select x + 1 from c) select max(x) from c) > 1", "not authorized"),
        (f"exists (select 1 from {ENDLESS} where {SUM} = price + 0.123)", "takes too long"),  # noqa: S608 - meant so
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said(expression: str, words: str):
    with pytest.raises(UsageError) as raised:
        takes(expression)
    assert words in f"{raised.value.message} {raised.value.hint}"


def test_a_bad_condition_is_known_before_there_is_a_table():
    for expression in ("price <", "load_extension('x')", "'a' ||"):
        with pytest.raises(UsageError):
            Condition(expression)


@settings(max_examples=30)
@given(st.text(alphabet="ab'\"()<=*-;%,. 1\0é[]`?@$:|/", max_size=20))
def test_any_text_is_a_condition_or_one_error(expression: str):
    with contextlib.suppress(UsageError):
        assert takes(expression) in {True, False}


@settings(max_examples=20)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=20), st.floats(-100, 100))
def test_numbers_compare_as_in_sql(prices: list[float], limit: float):
    rows = [{"price": price} for price in prices]
    ours = Condition(f"price < {limit!r}").bind(["price"]).takes_each(rows)
    assert ours == [price < limit for price in prices]
    texts = Condition(f"price < {limit!r}").bind(["price"]).takes_each([{"price": repr(price)} for price in prices])
    assert texts == ours
