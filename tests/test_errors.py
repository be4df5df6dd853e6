from __future__ import annotations

import pytest

from clipcli.errors import did_you_mean, nearest


@pytest.mark.parametrize(
    ("word", "known", "answer"),
    [
        ("cta", ["cat", "dog"], "did you mean 'cat'?"),
        ("CATS", ["Cat", "dog"], "did you mean 'Cat'?"),
        ("car", ["scarf", "cart"], "did you mean 'cart' or 'scarf'?"),
        ("zebra", ["cat", "dog"], ""),
        ("zebra", [], ""),
    ],
)
def test_did_you_mean(word, known, answer):
    assert did_you_mean(word, known) == answer


def test_beginnings_come_first():
    tags = ["openai", "laion400m_e31", "laion2b_e16", "laion2b_s34b_b79k", "laion400m_e32"]
    assert nearest("LAION2b", tags) == ["laion2b_e16", "laion2b_s34b_b79k", "laion400m_e32"]


def test_nearest_first():
    assert nearest("golden retreiver", ["golden eagle", "golden retriever", "cat"])[0] == "golden retriever"
