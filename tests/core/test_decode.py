from __future__ import annotations

import pytest

from clipcli.core.decode import DecodeError, parse_json


@pytest.mark.parametrize(
    "text", [r'"\ud800"', r'"\uD83D smile"', r'"\udc00"', r'"\udfff"', r'["a", {"\ud83d\ud83d": 1}]', r'"\ude00\ud83d"']
)
def test_half_a_surrogate_pair_is_no_text(text: str):
    with pytest.raises(DecodeError, match="half of a surrogate pair"):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"\ud83d\ude00"', "\U0001f600"),
        (r'"caf\udce9.jpg"', "caf\udce9.jpg"),  # a byte of a file's name
        (r'"\\ud800"', r"\ud800"),
        (r'"\\\ud83d\ude00"', "\\\U0001f600"),
        (r'"\u00e9"', "\u00e9"),
    ],
)
def test_pairs_bytes_and_backslashes_are_text(text: str, value: str):
    assert parse_json(text) == value
    assert parse_json(text.encode()) == value
