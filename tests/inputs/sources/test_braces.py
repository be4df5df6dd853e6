"""Patterns with braces."""

from __future__ import annotations

import pytest

from clipcli.inputs.sources.patterns import expand_braces


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("{000..002}.tar", ["000.tar", "001.tar", "002.tar"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{train,val}-{0..1}", ["train-0", "train-1", "val-0", "val-1"]),
        ("{a}", ["{a}"]),
        ("{a..b}", ["{a..b}"]),
        ("s3://b/{0..1}/{x,}.tar", ["s3://b/0/x.tar", "s3://b/0/.tar", "s3://b/1/x.tar", "s3://b/1/.tar"]),
    ],
)
def test_braces_stand_for_names_as_in_the_shell(pattern, names):
    assert list(expand_braces(pattern)) == names


def test_a_pattern_of_very_many_names_is_not_a_list():
    names = expand_braces("{000000000..999999999}.tar")
    assert [next(names), next(names)] == ["000000000.tar", "000000001.tar"]
