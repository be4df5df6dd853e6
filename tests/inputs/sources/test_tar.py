"""Tar files of webdataset's form, read in place."""

from __future__ import annotations

import io
import tarfile

import pytest
from run import assert_one_error, run

from clipcli import images as reading
from clipcli.errors import ImageError
from clipcli.inputs.collect import collect
from clipcli.inputs.sources.fetch import open_file
from clipcli.inputs.texts import TextRef, read_texts
from clipcli.session.ray.worker import from_json, to_json

TYPES = (tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE)


def make(path, *members):
    """An archive of names with their bytes; or with a type, which is a member without any."""
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content in TYPES:
                info.type, info.linkname = content, "/etc/passwd"
            info.size = 0 if content in TYPES else len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_what_webdataset_wrote(shard, images):
    refs = list(collect([str(shard)]))
    assert [ref.name for ref in refs] == [f"{shard}/{name}" for name in images]
    assert [reading.read_ref(ref) for ref in refs] == list(images.values())


def test_a_row_names_what_can_be_read_again(shard, images):
    assert reading.read(f"{shard}/000003.png") == images["000003.png"]
    assert [reading.read_ref(ref) for ref in collect([f"{shard}/000003.png"])] == [images["000003.png"]]
    with pytest.raises(ImageError, match="no such member"):
        reading.read(f"{shard}/999.png")


def test_a_reference_can_be_sent_elsewhere(shard, images):
    text = to_json(next(iter(collect([str(shard)]))))
    assert reading.read_ref(from_json(text)) == images["000000.png"]
    assert len(text) < 1000


def test_many_shards_by_a_pattern(tmp_path, shard):
    shard.rename(tmp_path / "7.tar")
    (tmp_path / "8.tar").write_bytes((tmp_path / "7.tar").read_bytes())
    names = [ref.name for ref in collect([f"{tmp_path}/{{7..9}}.tar"])]
    assert names[0] == f"{tmp_path}/7.tar/000000.png"
    assert names[9] == f"{tmp_path}/8.tar/000004.png"
    missing = list(collect([f"{tmp_path}/{{7..9}}.tar"]))[10]
    assert (missing.name, missing.problem) == (f"{tmp_path}/9.tar", "no such file")


def test_a_pattern_that_matches_nothing(tmp_path):
    result = run("classify", f"{tmp_path}/{{000..999}}.tar", "-l", "cat,dog", "--model", "tiny", "-f", "jsonl")
    assert result.code == 4
    assert result.rows == [
        {
            "image": f"{tmp_path}/{{000..999}}.tar",
            "error": {"stage": "read", "reason": "nothing matches this pattern"},
        }
    ]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.71])
def test_a_shard_that_was_cut_keeps_its_whole_members(shard, images, share):
    whole = shard.read_bytes()
    shard.write_bytes(whole[: int(len(whole) * share)])
    *good, bad = collect([str(shard)])
    assert [reading.read_ref(ref) for ref in good] == list(images.values())[: len(good)]
    assert bad.name == str(shard)
    assert bad.problem.startswith("the archive is cut off after")


def test_a_shard_that_was_cut_between_two_members_is_noticed(tmp_path, images):
    path = make(tmp_path / "a.tar", *images.items())
    with tarfile.open(path) as tar:
        end = tar.getmembers()[2].offset
    path.write_bytes(path.read_bytes()[:end])
    *good, bad = collect([str(path)])
    assert len(good) == 2
    assert bad.problem == "the archive is cut off after 2 files"


def test_a_folder_of_shards_says_what_to_do(tmp_path, shard):
    assert_one_error(run("classify", tmp_path, "-l", "a,b", "--model", "tiny", "-q"), "1 other file", "*.tar", code=4)


def test_a_shard_without_images(tmp_path):
    path = make(tmp_path / "a.tar", ("notes.txt", b"text"))
    assert_one_error(run("classify", path, "-l", "a,b", "--model", "tiny", "-q"), f"no images in {path}", code=4)


@pytest.mark.thorough
def test_what_is_no_plain_file_is_refused(tmp_path, images):
    path = make(
        tmp_path / "bad.tar",
        ("folder", tarfile.DIRTYPE),
        ("null.png", tarfile.CHRTYPE),
        ("disk.png", tarfile.BLKTYPE),
        ("pipe.png", tarfile.FIFOTYPE),
        ("soft.png", tarfile.SYMTYPE),
        ("hard.png", tarfile.LNKTYPE),
        ("../../up.png", images["000000.png"]),
        ("/absolute.png", images["000000.png"]),
        ("a/../../b.png", images["000000.png"]),
        ("empty.png", b""),
        ("._mac.png", b"junk"),
        ("notes.txt", b"text"),
        ("./good.png", images["000001.png"]),
    )
    result = run("classify", path, "-l", "red,green", "--model", "tiny", "-f", "jsonl")
    assert result.code == 3
    reasons = {row["image"].removeprefix(f"{path}/"): row.get("error", {}).get("reason") for row in result.rows}
    assert reasons == {
        "null.png": "a device or pipe, not a file",
        "disk.png": "a device or pipe, not a file",
        "pipe.png": "a device or pipe, not a file",
        "soft.png": "a link, not a file",
        "hard.png": "a link, not a file",
        "../../up.png": "a name that leads out of the archive",
        "/absolute.png": "a name that leads out of the archive",
        "a/../../b.png": "a name that leads out of the archive",
        "empty.png": "empty file",
        "good.png": None,
    }


@pytest.mark.parametrize("content", [b"", b"\xff\xd8 not a tar", bytes(300), b"x" * 2000])
def test_what_is_no_archive(tmp_path, content):
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    (ref,) = collect([str(path)])
    assert ref.name == str(path)
    assert ref.problem.startswith(("no tar file", "the archive is cut off"))


def test_a_compressed_archive_says_what_to_do(tmp_path):
    (ref,) = collect([str(tmp_path / "a.tar.gz")])
    assert "unpack it to a plain .tar" in ref.problem


def test_names_of_any_bytes_and_length(tmp_path, images):
    names = ["é" * 80 + "/" + "ü" * 120 + ".png", "caf\udce9.png", "a b'\n.png"]
    path = make(tmp_path / "a.tar", *((name, images["000000.png"]) for name in names))
    assert [ref.name.removeprefix(f"{path}/") for ref in collect([str(path)])] == names


def test_headers_are_gone_through_without_reading_members(tmp_path, images, monkeypatch):
    path = make(tmp_path / "a.tar", *((f"{n}.png", bytes(1 << 20)) for n in range(8)))
    seen = []
    file = type(open_file(str(path)))
    real = file.read_at
    monkeypatch.setattr(file, "read_at", lambda self, at, count: seen.append(count) or real(self, at, count))
    assert len(list(collect([str(path)]))) == 8
    assert sum(seen) < 20_000


def test_captions_beside_images(shard):
    assert list(read_texts([], [str(shard)], None)) == [TextRef(f"a square, {n}") for n in range(5)]
    assert list(read_texts([], [str(shard)], "json:caption")) == [TextRef(f"square {n}") for n in range(5)]
    for number, ref in enumerate(read_texts([], [str(shard)], "json:other")):
        assert (ref.problem or "").startswith(f"no text in {shard}")
        assert f"{number}" in (ref.problem or "")
    result = run("embed", "--texts-from", shard, "--model", "tiny")
    assert [row["text"] for row in result.rows] == [f"a square, {n}" for n in range(5)]


def test_captions_of_a_shard_that_was_cut(shard):
    shard.write_bytes(shard.read_bytes()[:6000])
    *good, bad = read_texts([], [str(shard)], "txt")
    assert good == [TextRef(f"a square, {n}") for n in range(len(good))]
    assert bad.problem.startswith("the archive is cut off")


@pytest.mark.thorough
def test_shards_and_loose_files_give_the_same_vectors(tmp_path, shard, images):
    loose = tmp_path / "loose"
    loose.mkdir()
    for name, data in images.items():
        (loose / name).write_bytes(data)
    packed = run("embed", shard, "--model", "tiny", "--no-cache")
    plain = run("embed", loose, "--model", "tiny", "--no-cache")
    assert [row["embedding"] for row in packed.rows] == [row["embedding"] for row in plain.rows]


@pytest.mark.thorough
def test_the_cache_knows_content_wherever_it_is(tmp_path, shard, images):
    (tmp_path / "copy.png").write_bytes(images["000002.png"])
    run("embed", tmp_path / "copy.png", "--model", "tiny")
    result = run("embed", shard, "--model", "tiny", "-o", tmp_path / "out.npy")
    assert "1 from the cache" in result.stderr


def test_a_pattern_with_a_star_is_the_shells_or_ours(tmp_path, shard):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1.tar").write_bytes(shard.read_bytes())
    for pattern, count in (("*.tar", 5), ("**/*.tar", 10), ("{b,c}/[0-9].tar", 5), ("0000?.tar", 5)):
        good = [ref for ref in collect([f"{tmp_path}/{pattern}"]) if ref.problem is None]
        assert len(good) == count, pattern
    (nothing,) = collect([f"{tmp_path}/x*.tar"])
    assert nothing.problem == "nothing matches this pattern"


def test_a_shard_whose_name_looks_like_a_pattern(tmp_path, shard):
    shard.rename(tmp_path / "[0].tar")
    assert len(list(collect([f"{tmp_path}/[0].tar"]))) == 5


def test_shards_that_begin_far_behind_the_first_name(tmp_path, shard, monkeypatch):
    shard.rename(tmp_path / "05000.tar")
    found = list(collect([f"{tmp_path}/{{00000..05000}}.tar"]))
    assert (len(found), sum(ref.problem is None for ref in found)) == (5005, 5)
    monkeypatch.setattr("clipcli.inputs.sources.patterns._LOOKED_FOR_NEAR", 100)
    (nothing,) = collect([f"{tmp_path}/{{00000..05000}}.tar"])
    assert nothing.problem == "none of the first 100 names of this pattern exists"


def test_captions_by_a_pattern(tmp_path, shard):
    assert len(list(read_texts([], [f"{tmp_path}/*.tar"], None))) == 5
    for pattern in ("{7..9}.tar", "x*.tar"):
        problem = "nothing matches this pattern"
        assert list(read_texts([], [f"{tmp_path}/{pattern}"], None)) == [TextRef(f"{tmp_path}/{pattern}", problem)]
    (nothing,) = read_texts([], [str(shard)], "cls")
    assert (nothing.text, nothing.problem) == (str(shard), "no member of this shard ends in .cls")


def texts_of(path, *names, column=None):
    """Texts of an archive of pictures and captions; a caption's text is its name."""
    said = []
    make(path, *((name, name.encode()) for name in names))
    return [ref.text for ref in read_texts([], [str(path)], column, said.append)], said


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("22.05.png 22.05.txt", "22.05.txt"),
        ("img.1.png img.1.txt s.left.png s.right.png s.txt", "img.1.txt s.txt"),
        ("v1.0/a.b/x.y.jpg v1.0/a.b/x.y.txt", "v1.0/a.b/x.y.txt"),
        ("Track-2.0.PNG Track-2.0.TXT", "Track-2.0.TXT"),
        ("a.png a.txt a.en.txt", "a.txt"),
        ("a.en.txt a.txt a.png", "a.txt"),
        ("a.png a.en.png a.txt a.en.txt", "a.txt a.en.txt"),
        ("22.05.txt 22.06.txt", "22.05.txt 22.06.txt"),
        ("._a.txt __MACOSX/._a.txt ./a.png ./a.txt", "a.txt"),
    ],
)
def test_a_caption_has_the_name_of_its_image(tmp_path, names, expected):
    found, said = texts_of(tmp_path / "a.tar", *names.split())
    assert ([text.removeprefix("./") for text in found], said) == (expected.split(), [])


def test_a_longer_extension_is_a_text_of_its_own(tmp_path):
    names = ["22.05.png", "22.05.txt", "22.05.en.txt", "b.png", "b.en.txt"]
    assert texts_of(tmp_path / "a.tar", *names, column="en.txt")[0] == ["22.05.en.txt", "b.en.txt"]
    found, said = texts_of(tmp_path / "b.tar", *names)
    assert found == ["22.05.txt"]
    assert said == [f"1 of 2 images in {tmp_path}/b.tar have no .txt beside them: b.png"]


def test_images_without_a_caption_are_counted(tmp_path):
    names = ["22.05.png", "22.png", "22.txt", "b.png", "c/b.jpg", "c.txt"]
    found, said = texts_of(tmp_path / "a.tar", *names)
    assert found == ["22.txt", "c.txt"]
    assert said == [f"3 of 4 images in {tmp_path}/a.tar have no .txt beside them: 22.05.png and 2 more"]
    result = run("embed", "--texts-from", tmp_path / "a.tar", "--model", "tiny", "-q")
    assert (result.code, len(result.rows)) == (0, 2)
    assert "warning: 3 of 4 images in " in result.stderr


def test_the_shard_whose_captions_were_lost(shared):
    said = []
    archive = shared / "data/faults/tar/cap.tar"
    assert len([ref for ref in read_texts([], [str(archive)], None, said.append) if ref.problem is None]) == 3
    assert said == []
    refs = list(collect([str(shared / "data/faults/tar/dots.tar")]))
    assert {ref.name.rpartition("/")[2] for ref in refs} == {
        "22.05.png", "235342 Track 2.0 (Clean Version).PNG", "image194.Left.png", "image194.right.png", "a.png",
    }  # fmt: skip
