"""A name belongs to one shard, for ever."""

from __future__ import annotations

from itertools import chain

import pytest

from clipcli.errors import UsageError
from clipcli.inputs.collect import Listing, parse_shard, shard_of

NAMES = [f"photos/{number}.jpg" for number in range(1000)]


def test_every_name_is_in_one_shard_and_shards_are_of_like_size():
    shares = [[name for name in NAMES if shard_of(name, 4) == index] for index in (1, 2, 3, 4)]
    assert sorted(chain.from_iterable(shares)) == sorted(NAMES)
    assert all(200 < len(share) < 300 for share in shares)


def test_the_hash_never_changes():
    assert [shard_of(name, 7) for name in ("a.png", "ü.png", "bytes\udcff.png", "")] == [2, 3, 5, 2]


def test_a_listing_gives_positions_and_the_same_digest_to_every_shard():
    listings = [Listing(NAMES, str, index, 3) for index in (1, 2, 3)]
    passed = [list(listing) for listing in listings]
    assert sorted(chain.from_iterable(passed)) == list(enumerate(NAMES))
    assert len({(listing.digest, listing.count) for listing in listings}) == 1
    whole = Listing(NAMES, str)
    assert list(whole) == list(enumerate(NAMES))
    other = Listing(NAMES[::-1], str)
    list(other)
    assert whole.digest == listings[0].digest != other.digest


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/0", "a/b", "-1/4", "1/4/5"])
def test_what_is_no_shard(text):
    with pytest.raises(UsageError):
        parse_shard(text)


def test_what_is_a_shard():
    assert parse_shard("2/16") == (2, 16)
