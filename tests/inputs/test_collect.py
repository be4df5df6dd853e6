"""Which images arguments, folders, lists and shards stand for, in which order and under which names."""

from __future__ import annotations

import io
import os
import sys
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.errors import InputsError, UsageError
from clipcli.inputs.collect import Listing, collect, parse_shard, shard_of
from clipcli.inputs.listed_paths import _blocks, _pieces
from clipcli.inputs.sources.patterns import Globs

NAMES = ["b.jpg", "a.PNG", "z/c.webp", "z/y/d.tiff", "notes.txt", ".hidden.jpg", ".git/e.jpg", "z/f.heic"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def names(*arguments: str, **options) -> list[str]:
    return [ref.name for ref in collect(arguments, **options)]


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_folders_are_searched_sorted_without_hidden_names(tree: Path):
    expected = ["a.PNG", "b.jpg", "z/c.webp", "z/f.heic", "z/y/d.tiff"]
    assert names(str(tree)) == [os.path.join(tree, name) for name in expected]


def test_names_are_as_written(tree: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tree)
    assert names("z", "b.jpg", "./b.jpg", "notes.txt") == [
        "z/c.webp",
        "z/f.heic",
        "z/y/d.tiff",
        "b.jpg",
        "./b.jpg",
        "notes.txt",
    ]


def test_bins_and_caches_are_passed_over_and_said(tree: Path):
    for name in ("@eaDir/b.jpg/SYNO.jpg", "z/@eaDir/x.jpg", "#recycle/a.jpg", "__MACOSX/a.jpg", "node_modules/p/i.png"):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_bytes(b"")
    said: list[str] = []
    assert names(str(tree), detail=said.append) == [
        os.path.join(tree, name) for name in ("a.PNG", "b.jpg", "z/c.webp", "z/f.heic", "z/y/d.tiff")
    ]
    (line,) = said
    assert "#recycle, @eaDir (2), __MACOSX, node_modules" in line
    assert len(names(str(tree / "node_modules"))) == 1
    assert len(names(str(tree / "#recycle" / "a.jpg"))) == 1


def test_a_folder_that_holds_only_a_bin_says_so(tmp_path: Path):
    (tmp_path / "#recycle").mkdir()
    (tmp_path / "#recycle" / "a.jpg").write_bytes(b"")
    with pytest.raises(InputsError) as caught:
        names(str(tmp_path))
    assert "#recycle" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (["*.jpg"], [], ["b.jpg"]),
        (["z"], [], ["z/c.webp", "z/f.heic", "z/y/d.tiff"]),
        (["*.webp", "*.PNG"], [], ["a.PNG", "z/c.webp"]),
        ([], ["y"], ["a.PNG", "b.jpg", "z/c.webp", "z/f.heic"]),
        ([], ["z/"], ["a.PNG", "b.jpg"]),
        ([], ["b.jpg/"], ["a.PNG", "b.jpg", "z/c.webp", "z/f.heic", "z/y/d.tiff"]),
        ([], ["z/y"], ["a.PNG", "b.jpg", "z/c.webp", "z/f.heic"]),
        ([], ["./z/y/"], ["a.PNG", "b.jpg", "z/c.webp", "z/f.heic"]),
        ([], ["/z/c.webp"], ["a.PNG", "b.jpg", "z/f.heic", "z/y/d.tiff"]),
        ([], ["**/z/**", "a*"], ["b.jpg"]),
        (["z"], ["*.heic", "y"], ["z/c.webp"]),
    ],
)
def test_globs_choose_below_the_folder_that_is_named(tree: Path, include, exclude, expected):
    found = names(str(tree), globs=Globs(tuple(include), tuple(exclude)))
    assert found == [os.path.join(tree, name) for name in expected]


def test_globs_do_not_look_at_folders_above_the_one_that_is_named(tree: Path, monkeypatch: pytest.MonkeyPatch):
    assert len(names(str(tree / "z"), globs=Globs(exclude=("z", tree.name, "tmp*")))) == 3
    monkeypatch.chdir(tree)
    assert names("z/c.webp", "b.jpg", globs=Globs(exclude=("z", "*.jpg"))) == ["z/c.webp"]
    assert names("z", globs=Globs(exclude=("z/y",))) == ["z/c.webp", "z/f.heic"]
    assert names("z", globs=Globs(exclude=(str(tree / "z" / "y"),))) == ["z/c.webp", "z/f.heic"]


def test_globs_that_leave_nothing_are_named(tree: Path):
    with pytest.raises(InputsError, match=r"--include \*\.gif --exclude z"):
        names(str(tree), globs=Globs(("*.gif",), ("z",)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_that_is_left_out_is_not_listed(tree: Path):
    (tree / "z").chmod(0)
    try:
        assert len(names(str(tree), globs=Globs(exclude=("z",)))) == 2
    finally:
        (tree / "z").chmod(0o755)


def test_links_to_folders_are_not_followed_so_loops_end(tree: Path):
    (tree / "z" / "loop").symlink_to(tree)
    (tree / "z" / "loop.jpg").symlink_to(tree)
    (tree / "z" / "real.jpg").symlink_to(tree / "b.jpg")
    found = names(str(tree))
    assert os.path.join(tree, "z/real.jpg") in found
    assert len(found) == 6


def test_a_link_named_outright_is_followed(tree: Path):
    (tree / "link").symlink_to(tree / "z")
    assert [os.path.basename(name) for name in names(str(tree / "link"))] == ["c.webp", "f.heic", "d.tiff"]


def test_a_missing_file_is_kept_for_an_error_row():
    assert names("nowhere.jpg") == ["nowhere.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_that_cannot_be_listed_is_a_problem(tree: Path):
    (tree / "z").chmod(0)
    try:
        problems = [ref for ref in collect([str(tree)]) if ref.problem]
    finally:
        (tree / "z").chmod(0o755)
    assert [ref.name for ref in problems] == [os.path.join(tree, "z")]


def test_lists_skip_empty_lines_and_keep_spaces(monkeypatch: pytest.MonkeyPatch):
    stdin(monkeypatch, b"\n a b .jpg\r\n\n\nc.jpg")
    assert names("-") == [" a b .jpg", "c.jpg"]


def test_nul_lists_keep_newlines_and_any_bytes(monkeypatch: pytest.MonkeyPatch):
    stdin(monkeypatch, b"new\nline\0\xff\xfe\0last\r")
    assert [os.fsencode(name) for name in names("-", null=True)] == [b"new\nline", b"\xff\xfe", b"last\r"]


def test_a_nul_list_read_as_lines_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch):
    stdin(monkeypatch, b"a.jpg\0b.jpg\0")
    with pytest.raises(InputsError, match="separated by NUL bytes"):
        list(collect(["-"]))


def test_folders_in_lists_are_searched(tree: Path, monkeypatch: pytest.MonkeyPatch):
    stdin(monkeypatch, f"{tree / 'z'}\n".encode())
    assert len(names("-")) == 3


def test_files_from(tree: Path, tmp_path: Path):
    listed = tmp_path / "list"
    listed.write_text(f"{tree}/b.jpg\n", encoding="utf-8")
    assert names(str(tree / "z"), files_from=[str(listed)])[-1] == f"{tree}/b.jpg"


def test_a_list_is_read_as_it_comes():
    read_end, write_end = os.pipe()
    os.write(write_end, b"first.jpg\n")
    with os.fdopen(read_end, "rb") as stream:
        pieces = _pieces(_blocks(stream), b"\n")
        assert next(pieces) == b"first.jpg"
        os.write(write_end, b"second.jpg\n")
        os.close(write_end)
        assert list(pieces) == [b"second.jpg"]


@given(st.lists(st.binary(min_size=1).filter(lambda raw: b"\0" not in raw)), st.integers(1, 7))
def test_nul_lists_read_back_whatever_the_blocks(items: list[bytes], size: int):
    data = b"".join(item + b"\0" for item in items)

    class Slow(io.BytesIO):
        def read1(self, _size: int = -1, /) -> bytes:
            return super().read(size)

    assert list(_pieces(_blocks(Slow(data)), b"\0")) == items


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "the folder is empty"),
        (lambda path: (path / "a.txt").write_text("x"), "1 other file there"),
        (lambda path: [(path / f"{n}.txt").write_text("x") for n in range(3)], "3 other files there"),
    ],
)
def test_folders_without_images_say_what_is_there(tmp_path: Path, make, words: str):
    make(tmp_path)
    with pytest.raises(InputsError) as caught:
        names(str(tmp_path))
    assert words in caught.value.message
    assert caught.value.hint


def test_one_empty_folder_among_others_is_named_and_no_error(tree: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    warned: list[str] = []
    assert len(list(collect([str(tmp_path / "empty"), str(tree / "b.jpg")], warn=warned.append))) == 1
    assert warned == [f"no images in {tmp_path / 'empty'}"]


def test_several_folders_without_images_are_counted(tmp_path: Path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputsError, match=r"no images in .*a and 2 more$"):
        names(*(str(tmp_path / name) for name in ("a", "b", "c")))


def test_an_empty_name_is_a_problem():
    (ref,) = collect([""])
    assert ref.problem == "an empty name (a variable that is not set?)"


def test_nothing_named_and_stdin_twice_are_usage_errors():
    with pytest.raises(UsageError, match="no images given"):
        collect([])
    with pytest.raises(UsageError, match="only once"):
        collect(["-"], files_from=["-"])


def test_an_empty_list_is_an_inputs_error(monkeypatch: pytest.MonkeyPatch):
    stdin(monkeypatch, b"\n\n")
    with pytest.raises(InputsError, match="list of images is empty"):
        names("-")


def test_a_missing_list_is_named():
    with pytest.raises(InputsError, match="cannot read the list nowhere"):
        names(files_from=["nowhere"])


PHOTOS = [f"photos/{number}.jpg" for number in range(1000)]


def test_every_name_is_in_one_shard_and_shards_have_similar_sizes():
    shares = [[name for name in PHOTOS if shard_of(name, 4) == index] for index in (1, 2, 3, 4)]
    assert sorted(chain.from_iterable(shares)) == sorted(PHOTOS)
    assert all(200 < len(share) < 300 for share in shares)


def test_the_hash_never_changes():
    assert [shard_of(name, 7) for name in ("a.png", "ü.png", "bytes\udcff.png", "")] == [2, 3, 5, 2]


def test_a_listing_gives_positions_and_the_same_digest_to_every_shard():
    listings = [Listing(PHOTOS, str, index, 3) for index in (1, 2, 3)]
    passed = [list(listing) for listing in listings]
    assert sorted(chain.from_iterable(passed)) == list(enumerate(PHOTOS))
    assert len({(listing.digest, listing.count) for listing in listings}) == 1
    whole = Listing(PHOTOS, str)
    assert list(whole) == list(enumerate(PHOTOS))
    other = Listing(PHOTOS[::-1], str)
    list(other)
    assert whole.digest == listings[0].digest != other.digest


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/0", "a/b", "-1/4", "1/4/5"])
def test_refused_shards(text):
    with pytest.raises(UsageError):
        parse_shard(text)


def test_a_shard_is_parsed():
    assert parse_shard("2/16") == (2, 16)
