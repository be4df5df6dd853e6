"""What is bounded, and what one bad input does to a run: real files, real servers, real processes."""

from __future__ import annotations

import gzip
import json
import os
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from local_server import QuietHandler, listening
from run import run, run_process, run_script

from clipcli.errors import ClipcliError, ImageError, VectorsError
from clipcli.images.reader import read_ref
from clipcli.inputs.collect import collect
from clipcli.inputs.sources.filesystems import file_system
from clipcli.inputs.sources.patterns import MOST_NAMES, expand_braces, names_of, too_many
from clipcli.runs.rank.index import Index
from clipcli.runs.rank.index_builder import build
from clipcli.vectorfiles import VECTOR_FORMATS, VectorRows, VectorsInfo, create_vectors, open_vectors
from clipcli.vectorfiles.writer import WritePlan

IMAGE = Path(__file__).parent.parent.parent / "examples" / "cat.png"
TINY = ("--model", "tiny", "-f", "jsonl", "--no-cache")


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that a command would make, if one ran."""
    return tmp_path / "canary"


@pytest.mark.parametrize(
    "url",
    [
        "reference://::memory://x.jpg",
        "simplecache::https://h/a.jpg",
        "zip://a.jpg::file:///tmp/x.zip",
        "shell://x/a.jpg",
        "github://o:r@main/a.jpg",
        "git://a:b@c",
        "data:,x://",
        "jupyter://h/a.jpg",
        "smb://h/a.jpg",
        "ftp://h/a.jpg",
        "dask://h/a.jpg",
        "blockcache::s3://b/a.jpg",
        "libarchive://a",
        "python://os",
        "file://a::zip://b",
    ],
)
def test_schemes_are_an_allow_list(url):
    with pytest.raises(ClipcliError, match=r"is not supported"):
        file_system(url if "://" in url.partition("::")[0] or "::" not in url else f"memory://{url}")
    rows = run("embed", IMAGE, "-", *TINY, stdin=url.encode()).rows
    assert len(rows) == 2
    assert "embedding" in rows[0]
    assert rows[1]["error"]["stage"] == "read"


@pytest.mark.parametrize("url", ["http://[::1]:9/a.jpg", "https://u@[fe80::1]/a.jpg"])
def test_an_address_with_colons_is_no_chain(url):
    pytest.importorskip("aiohttp")
    assert file_system(url)[1]


@pytest.mark.thorough
def test_one_line_never_ends_a_run(tmp_path):
    """Whatever stands in a list: every good line has its vector, every bad one its row."""
    (tmp_path / "broken.parquet").write_bytes(b"PAR1nonsensePAR1")
    (tmp_path / "broken.tar").write_bytes(b"nonsense" * 100)
    (tmp_path / "broken.tar.gz").write_bytes(b"nonsense")
    os.mkfifo(tmp_path / "pipe")
    odd = [
        "http://[",
        "http://[::1",
        "https://%00/",
        "http://a:b:c/",
        "x+y://z",
        "s3://",
        "hf://",
        "memory://",
        "file://",
        "az://a/b.jpg",
        "broken.parquet",
        "broken.tar",
        "broken.tar.gz",
        "pipe",
        "/dev/zero",
        "/dev/null",
        "x" * 70_000,
        "{a,b}{c,d}.tar",
        "{0..99999999999999999999999}.tar",
        "{1..9}" * 40 + ".tar",
        "**/" * 40 + "*.tar",
        "{" * 5000,
        "a.tar/../../b",
        "file:///dev/zero",
        "file:///etc/../etc/passwd",
        "a\rb",
    ]
    listing = "\n".join([str(IMAGE), *odd, str(IMAGE)])
    (tmp_path / "list").write_text(listing)
    result = run_process("embed", "--files-from", "list", *TINY, "--offline", cwd=tmp_path)
    assert result.code == 3, result.stderr[-2000:]
    good = [row for row in result.rows if "embedding" in row]
    assert [row["image"] for row in good] == [str(IMAGE)] * 2
    assert len(result.rows) >= len(odd)
    assert "Traceback" not in result.stderr


def test_offline_a_url_is_a_row():
    pytest.importorskip("aiohttp")
    result = run("embed", IMAGE, "https://example.org/a.jpg", *TINY, "--offline")
    assert result.code == 3
    assert [("error" in row) for row in result.rows] == [False, True]
    assert "needs the network" in result.rows[1]["error"]["reason"]


@pytest.mark.parametrize("form", ["gzip", "deflate"])
def test_an_answer_is_not_unpacked(form):
    pytest.importorskip("aiohttp")
    packed = gzip.compress(bytes(64 << 20)) if form == "gzip" else zlib.compress(bytes(64 << 20))

    class Bomb(QuietHandler):
        def answer(self) -> None:
            self.send_response(200)
            self.send_header("Content-Encoding", form)
            self.send_header("Content-Length", str(len(packed)))
            self.end_headers()
            self.wfile.write(packed)

    with listening(Bomb, lambda: None) as address:
        (ref,) = collect([f"{address}/a.jpg"])
        assert read_ref(ref) == packed


def test_an_answer_without_an_end_is_cut(monkeypatch):
    pytest.importorskip("aiohttp")
    monkeypatch.setattr("clipcli.inputs.sources.fetch.MAX_BYTES", 3 << 20)

    class Endless(QuietHandler):
        def answer(self) -> None:
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(bytes(1 << 20))

    with listening(Endless, lambda: None) as address, pytest.raises(ImageError, match="too large for an image"):
        read_ref(next(iter(collect([f"{address}/a.jpg"]))))


MEASURED = """
import re, sys
from clipcli.cli import app
try:
    app(sys.argv[1:], prog_name="clipcli")
except SystemExit as stop:
    code = stop.code
status = open("/proc/self/status").read()  # a child's ru_maxrss begins with its parent's size
print("peak", int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) // 1024, "code", code)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux counts it")
@pytest.mark.parametrize(
    "arguments",
    [
        ("classify", str(IMAGE), "--labels-file", "/dev/zero"),
        ("embed", "--texts-from", "/dev/zero"),
        ("classify", str(IMAGE), "-l", "a,b", "--thresholds", "/dev/zero"),
        ("apply", "/dev/zero"),
        ("undo", "/dev/zero"),
        ("embed", "--files-from", "/dev/zero"),
        ("check", "--config", "/dev/zero"),
        ("prompts", "check", "/dev/zero"),
        ("dedupe", str(IMAGE), "--level", "exact", "--ignore-file", "/dev/zero"),
    ],
    ids=lambda arguments: arguments[0] + arguments[-2],
)
def test_a_file_without_an_end_takes_little_memory(arguments):
    more = () if arguments[0] in {"apply", "undo", "check", "prompts", "dedupe"} else ("--model", "tiny")
    result = run_script(MEASURED, *arguments, *more)
    word, peak, _, code = result.stdout.splitlines()[-1].split()
    assert word == "peak"
    assert int(code) in {2, 3, 4}, result.stderr
    assert int(peak) < 600
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_pipe_to_which_nobody_writes(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for arguments in (
        ("classify", IMAGE, "--labels-file"),
        ("embed", "-m", "tiny", "--texts-from"),
        ("apply",),
        ("undo",),
    ):
        result = run_process(*arguments, tmp_path / "pipe")
        assert result.code == 4, result.stderr
        assert "Traceback" not in result.stderr


def test_patterns_are_counted_before_they_are_expanded():
    assert too_many("{0..9999999}.tar") is None
    assert "more than" in str(too_many("{0..10000000}.tar"))
    assert "pairs of braces" in str(too_many("{a,b}" * 17))
    assert "digits" in str(too_many("{0.." + "9" * 5000 + "}"))
    assert MOST_NAMES == 10_000_000
    for pattern in ("{a,b}" * 60 + ".tar", "{0..99999999999}.tar", "{" + "," * 60_000, "{" * 60_000, "{a}" * 20_000):
        assert len([name for _, name in zip(range(3), names_of(pattern), strict=False)]) <= 3
    assert list(expand_braces("x{a,b}{1..2}{c}y")) == ["xa1{c}y", "xa2{c}y", "xb1{c}y", "xb2{c}y"]


def vectors(folder: Path, suffix: str, kind: str = "float32", name: str = "v") -> Path:
    numbers = np.random.default_rng(0).normal(size=(30, 16)).astype(np.float32)
    numbers /= np.linalg.norm(numbers, axis=1, keepdims=True)
    path = folder / f"{name}.{suffix}"
    with create_vectors(suffix, WritePlan(path, VectorsInfo("image", "tiny", "0123456789ab"), 30, 16, kind)) as writer:
        writer.write(VectorRows([f"{number}.jpg" for number in range(30)], numbers))
    return path


@pytest.mark.parametrize("kind", ["float32", "float16"])
@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
def test_vectors_of_every_format_can_be_indexed(tmp_path, suffix, kind):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    for name in ("v", "vv", "vvv"):  # the numbers of an .npz begin where its names end
        file = open_vectors(vectors(tmp_path, suffix, kind, name))
        build(file, str(tmp_path / name), 0.9, lambda _: None)
        found = Index(str(tmp_path / name)).search(file.matrix()[7], 1, -1, lambda _: True)
        assert found.rows.tolist() == [7]


@pytest.mark.parametrize("name", ["codes", "factors", "rows", "starts", "centres", "rotation", "vectors"])
def test_an_index_with_an_array_of_another_size_is_refused(tmp_path, name):
    build(open_vectors(vectors(tmp_path, "npy")), str(tmp_path / "index"), 0.9, lambda _: None)
    path = tmp_path / "index" / f"{name}.npy"
    array = np.load(path)
    for other in (array[:-1], array[:0], array.astype(np.float64), array.reshape(1, -1, 1)):
        np.save(path, other)
        with pytest.raises(VectorsError, match="does not belong to it"):
            Index(str(tmp_path / "index")).search(np.ones(16, np.float32), 1, -1, lambda _: True)


@pytest.mark.parametrize(("name", "value"), [("rows", 1 << 40), ("rows", -(1 << 40)), ("starts", -1), ("starts", 9999)])
def test_an_index_never_points_outside_its_arrays(tmp_path, name, value):
    build(open_vectors(vectors(tmp_path, "npy")), str(tmp_path / "index"), 0.9, lambda _: None)
    path = tmp_path / "index" / f"{name}.npy"
    array = np.load(path)
    array[:] = value
    np.save(path, array)
    with pytest.raises(VectorsError, match="damaged"):
        Index(str(tmp_path / "index")).search(np.ones(16, np.float32), 1, -1, lambda _: True)


def test_a_bomb_of_vectors_is_refused_before_it_is_unpacked(tmp_path):
    from untrusted.documents import bomb

    (tmp_path / "v.npz").write_bytes(bomb())
    with pytest.raises(VectorsError, match="larger than"):
        open_vectors(tmp_path / "v.npz")


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--no-cache",)])
@pytest.mark.parametrize("place", ["long", "loop", "file"])
def test_a_cache_folder_that_cannot_be_entered(tmp_path, place, more):
    """As root every folder can be entered; a name that is too long is refused by the system in the same way."""
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    folder = {"long": tmp_path / ("x" * 300), "loop": tmp_path / "loop" / "c", "file": tmp_path / "file" / "c"}[place]
    for command in (("embed", IMAGE, "-m", "tiny", *more), ("doctor",), ("models", "list")):
        result = run_process(*command, CLIPCLI_CACHE_DIR=str(folder))
        assert result.code in {0, 1, 5}, result.stderr  # doctor says that it is not as it should be
        assert "Traceback" not in result.stderr
    said = run_process("embed", IMAGE, "-m", "tiny", *more, CLIPCLI_CACHE_DIR=str(folder)).stderr
    assert said.count("cache not used") == (0 if more else 1)


def test_a_cache_folder_whose_name_the_system_refuses(tmp_path, monkeypatch):
    """As one that cannot be entered."""
    monkeypatch.setenv("CLIPCLI_CACHE_DIR", str(tmp_path / ("x" * 300)))
    result = run("embed", IMAGE, "--model", "tiny", "-f", "jsonl")
    assert result.code == 0
    assert "embedding" in result.rows[0]
    assert "cache not used" in result.stderr


@pytest.mark.parametrize(
    "program", [b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xd7\xcd\xc6\x9a" + bytes(200), b"SIMPLE  =  T", b"\x89HDF\r\n\x1a\n"]
)
def test_only_pictures_are_opened(tmp_path, program):
    (tmp_path / "a.png").write_bytes(program)
    (row,) = run("embed", tmp_path / "a.png", *TINY).rows
    assert row["error"]["stage"] == "decode"


def test_floors_of_dependencies_exclude_known_holes():
    """Releases with published holes in what clipcli uses them for."""
    requirements = pytest.importorskip("packaging.requirements")
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((Path(__file__).parent.parent.parent / "pyproject.toml").read_text())["project"]
    given = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    floors = {one.name.lower(): one.specifier for one in map(requirements.Requirement, given)}
    for name, bad in {
        "fsspec": "2026.5.0",
        "s3fs": "2026.5.0",
        "gcsfs": "2026.5.0",
        "filelock": "3.20.0",
        "pillow": "12.1.0",
        "aiohttp": "3.13.2",
        "tqdm": "4.66.2",
        "torch": "2.5.1",
        "pyarrow": "14.0.0",
    }.items():
        assert not floors[name].contains(bad), f"{name} {bad}"


def test_the_decoder_is_the_only_reader_of_toml():
    package = Path(__file__).parent.parent.parent / "clipcli"
    users = [path.name for path in package.rglob("*.py") if "tomllib.loads" in path.read_text(encoding="utf-8")]
    assert users == ["decode.py"]
    assert json.loads('{"a": 1}') == {"a": 1}
