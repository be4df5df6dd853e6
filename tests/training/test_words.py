from __future__ import annotations

import pytest

from training.words import clean, keywords, kinds, members, plural, synonyms


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("dog", "dogs"),
        ("bus", "bus"),
        ("box", "boxes"),
        ("berry", "berries"),
        ("toy", "toys"),
        ("police officer", "police officers"),
        ("cup of tea", "cups of tea"),
        ("goose", "geese"),
        ("shoes", "shoes"),
        ("glass", "glasses"),
    ],
)
def test_plurals(one, many):
    assert plural(one) == many


def test_clean_names():
    assert clean("  Desert_Island\u00a0 ") == "desert island"
    assert clean("\u201cSecret\u201d!") == "secret"


def test_keywords_leave_out_small_words():
    assert keywords("flag of Peru") == {"flag", "peru"}
    assert keywords("cougar face") == {"cougar"}


def test_members_go_all_the_way_down():
    table = {"animal": ["dog", "bird"], "dog": ["poodle", "animal"]}
    assert members("animal", table) == {"dog", "bird", "poodle", "animal"}


def test_the_word_lists_are_clean():
    for table in (kinds(), synonyms()):
        for name, words in table.items():
            assert name == clean(name)
            assert all(words), name
            assert len(set(words)) == len(words), name
            assert name not in words


def test_no_word_is_a_synonym_of_two_classes():
    words = [word for name in synonyms().values() for word in name]
    assert len(set(words)) == len(words)
