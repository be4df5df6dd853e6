"""What is secret in a URL stands nowhere that clipcli writes: every command, every file, the cache, every error."""

from __future__ import annotations

import io
import sqlite3
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pictures
import pytest
import web_server
from run import Result, run, run_process

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("aiohttp", reason="aiohttp is not installed")
SECRET = "S3CR3T"  # noqa: S105 - made up
TINY = ("-m", "tiny")
REST = ("json", "csv", "tsv", "table")


@pytest.fixture
def web() -> Iterator[web_server.Web]:
    pictured = {"red": pictures.square("red"), "blue": pictures.square("blue"), "again": pictures.square("red")}
    files = {"/broken.png": b"no picture"}
    for name, picture in pictured.items():
        data = io.BytesIO()
        picture.save(data, "PNG")
        files[f"/{name}.png"] = data.getvalue()
    with web_server.serve(web_server.Web(files, password=f"{SECRET}-pass")) as web:
        yield web


@pytest.fixture
def urls(web: web_server.Web, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three pictures, one that is none, one that is not there, and one whose password is wrong."""
    monkeypatch.setattr("clipcli.inputs.sources.filesystems._FIRST_WAIT", 0.001)
    monkeypatch.setattr("clipcli.inputs.sources.filesystems._LONGEST_WAIT", 0.002)
    host = web.url.removeprefix("http://")
    names = ("red", "blue", "again", "broken", "missing")
    good = [f"http://me:{SECRET}-pass@{host}/{name}.png?width=9&token={SECRET}-query#{SECRET}-part" for name in names]
    return [*good, f"http://me:{SECRET}-wrong@{host}/red.png"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where everything is written."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def assert_no_secret(result: Result, *folders: Path) -> None:
    """Neither what was said, nor any file, packed or not."""
    for text in (result.stdout, result.stderr):
        assert SECRET not in text, text
    for path in (path for folder in folders for path in folder.rglob("*")):
        assert SECRET not in str(path)
        if path.is_file():
            for part in contents(path):
                assert SECRET.encode() not in part, path


def contents(path: Path) -> Iterator[bytes]:
    yield path.read_bytes()
    if path.suffix in {".npz", ".zip"}:
        with zipfile.ZipFile(path) as archive:
            yield from map(archive.read, archive.namelist())
            names: Any = np.load(path, allow_pickle=False)
            yield repr([names[name].tolist() for name in names if names[name].dtype.kind in "US"]).encode()
    elif path.suffix == ".parquet":
        from pyarrow import parquet

        yield repr(parquet.read_table(path).select([0]).to_pylist()).encode()
        yield repr(parquet.read_metadata(path).metadata).encode()
    elif path.suffix == ".sqlite":
        with sqlite3.connect(path) as database:
            yield "\n".join(database.iterdump()).encode()


@pytest.mark.thorough
@pytest.mark.parametrize("form", ["jsonl", *(pytest.param(form, marks=pytest.mark.slow) for form in REST)])
def test_classify(urls: list[str], here: Path, own_world: Path, form: str, web: web_server.Web):
    result = run("classify", *urls, "-l", "red,blue", *TINY, "--format", form, "-v")
    assert result.code == 3
    assert f"{web.url}/red.png?width=9" in result.stdout.replace("\\", "")[:100_000] or form == "table"
    assert_no_secret(result, here, own_world)
    for more in (("--paths",), ("--paths", "-0"), ("--report", "r.html", "--expect", "blue"), ("-o", "o.csv")):
        assert_no_secret(run("classify", *urls, "-l", "red,blue", *TINY, *more), here, own_world)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "suffix",
    [
        "npz",
        "parquet",
        *(pytest.param(suffix, marks=pytest.mark.slow) for suffix in ("npy", "safetensors", "jsonl", "csv")),
    ],
)
def test_embed_and_what_reads_its_files(urls: list[str], here: Path, own_world: Path, suffix: str):
    file = f"v.{suffix}"
    assert_no_secret(run("embed", *urls, *TINY, "-o", file, "-v"), here, own_world)
    for command in (
        ("rank", "red", file, *TINY, "--report", "page.html"),
        ("rank", "red", file, *TINY, "--copy-to", "d"),
    ):
        assert_no_secret(run(*command), here, own_world)


@pytest.mark.thorough
def test_names_in_a_vector_file_are_fetched_when_asked(here: Path, web: web_server.Web):
    web.password = None
    url = f"{web.url}/red.png"
    assert run("embed", url, *TINY, "-o", "v.npz").code == 0
    web.requests.clear()
    result = run("rank", "red", "v.npz", *TINY, "--report", "page.html")
    assert web.requests == []
    assert "1 picture is not on the page" in result.stderr
    assert "data:image" not in (here / "page.html").read_text().partition("<body")[2]
    assert run("rank", "red", "v.npz", *TINY, "--report", "page.html", "--fetch-names").code == 0
    assert web.bodies("/red.png") == 1
    assert "data:image" in (here / "page.html").read_text().partition("<body")[2]
    web.requests.clear()
    assert run("rank", "red", url, *TINY, "--report", "page.html").code == 0
    assert "data:image" in (here / "page.html").read_text().partition("<body")[2], "the user named it"


@pytest.mark.thorough
def test_rank(urls: list[str], here: Path, own_world: Path):
    places = ("--report", "page.html", "--copy-to", "hits")
    assert_no_secret(run("rank", "red", *urls, *TINY, *places, "-v"), here, own_world)
    assert len(list((here / "hits").iterdir())) == 3
    assert_no_secret(run("rank", "-i", urls[0], *urls, *TINY, "--format", "jsonl"), here, own_world)
    assert_no_secret(run("rank", "-i", urls[4], *urls[:3], *TINY), here, own_world)
    assert_no_secret(run("rank", urls[0], *urls[:3], *TINY), here, own_world)
    assert_no_secret(run("rank", f"{urls[0]} - {urls[0]}", *urls[:3], *TINY), here, own_world)


@pytest.mark.thorough
def test_dedupe(urls: list[str], here: Path, own_world: Path):
    for more in ((), ("--format", "groups"), ("--paths",), ("--report", "page.html"), ("-o", "plan.jsonl")):
        result = run("dedupe", *urls, *TINY, *more, "-v")
        assert_no_secret(result, here, own_world)
    assert (here / "plan.jsonl").read_text().count("red.png") >= 1
    assert_no_secret(run("apply", "plan.jsonl", "--action", "trash"), here, own_world)
    assert_no_secret(run("dedupe", urls[0], "--against", urls[2], *TINY), here, own_world)


@pytest.mark.thorough
def test_lists_and_texts(urls: list[str], here: Path, own_world: Path, web: web_server.Web):
    web.files["/list.txt"] = "\n".join(urls).encode()
    web.files["/labels.txt"] = b"red\nblue\n"
    near = urls[0].replace("red.png", "list.txt")
    given = here.parent / "list"
    given.write_text("\n".join(urls))
    assert_no_secret(run("classify", "--files-from", near, "-l", "a,b", *TINY), here, own_world)
    assert_no_secret(run("classify", "--files-from", urls[4], "-l", "a,b", *TINY), here, own_world)
    assert_no_secret(run("classify", "--files-from", given, "-l", "a,b", *TINY, "--offline"), here, own_world)
    assert_no_secret(run("calibrate", *urls, *TINY, "-o", "t.json"), here, own_world)
    assert_no_secret(run("classify", urls[0], "--labels-file", urls[0], *TINY), here, own_world)
    assert_no_secret(run("classify", urls[0], "-l", "a,b", "--prompts", urls[0], *TINY), here, own_world)
    assert_no_secret(run("classify", urls[0], "--thresholds", urls[0], *TINY), here, own_world)
    assert_no_secret(run("classify", *urls, "-l", "a,b", "--expect-from", urls[0], *TINY), here, own_world)
    assert_no_secret(run("embed", "--texts-from", urls[0], *TINY), here, own_world)


@pytest.mark.thorough
def test_shards_and_tables(urls: list[str], here: Path, own_world: Path, web: web_server.Web):
    import tarfile

    with tarfile.open(here / "a.tar", "w") as tar:
        info = tarfile.TarInfo("0.png")
        info.size = len(web.files["/red.png"])
        tar.addfile(info, io.BytesIO(web.files["/red.png"]))
    web.files["/a.tar"] = (here / "a.tar").read_bytes()
    web.files["/a.parquet"] = b"no table"
    shard, table = (urls[0].replace("red.png", name).replace("#", "&k=") for name in ("a.tar", "a.parquet"))
    result = run("classify", shard, "-l", "a,b", *TINY, "--format", "jsonl", "-v")
    assert [row["image"] for row in result.rows] == [f"{web.url}/a.tar?width=9/0.png"]
    assert_no_secret(result, here, own_world)
    for url in (f"{shard}/0.png", f"{shard}/1.png", table, f"{table}/0", shard.replace("a.tar", "gone.tar")):
        assert_no_secret(run("classify", url, "-l", "a,b", *TINY), here, own_world)
    assert_no_secret(run("embed", shard, *TINY, "-o", "v.parquet"), here, own_world)
    assert_no_secret(run("rank", "red", table, *TINY), here, own_world)
    assert_no_secret(run("merge", table, "-o", "m.parquet"), here, own_world)


def test_arguments_that_are_wrong(urls: list[str], here: Path, own_world: Path):
    """What the parser, or a check before the run, repeats."""
    url = urls[0]
    for command in (
        ("classify", url), ("classify", url, "--threshold", url), ("classify", url, "-l", "a,b", "-m", url), (url,),
        ("classify", url, "-l", "a,b", "--format", url), ("embed", url, *TINY, "-o", url), ("index", url),
        ("embed", url, *TINY, "-o", url.replace("http", "s3x")), ("models", "info", url), ("models", "pull", url),
        ("prompts", "show", url), ("undo", url), ("apply", url), ("check", "--config", url), ("classify", f"--{url}"),
        ("classify", url, "-l", "a,b", "-o", url), ("rank", "a", url, *TINY, "--report", url), ("cache", "prune", url),
        ("classify", url, "-l", "a,b", "--device", url), ("models", "bench", "-m", url), ("merge", url, "-o", "m.npy"),
        ("cache", "prune", "--older-than", url), ("classify", url, "-l", "a,b", "--batch-size", url),
    ):  # fmt: skip
        result = run(*command)
        assert result.code not in {0, 70}, (command, result.stderr)
        assert_no_secret(result, here, own_world)


def test_doctor_and_the_environment(urls: list[str], here: Path, own_world: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("CLIPCLI_MODEL", "HF_ENDPOINT", "RAY_ADDRESS", "CLIPCLI_CACHE_DIR"):
        monkeypatch.setenv(name, urls[0] if name != "CLIPCLI_CACHE_DIR" else str(own_world))
    (here / "clipcli.toml").write_text(f'model = "{urls[0]}"\nprompts = ["{urls[0]}"]\n')
    assert_no_secret(run("doctor"))
    assert_no_secret(run("classify", urls[0], "-l", "a,b", "-v"))


def test_a_bugs_traceback(urls: list[str], here: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(_self: object, *_: object) -> None:
        raise RuntimeError(f"cannot read {urls[0]}, url={urls[5]!r}")

    monkeypatch.setattr("clipcli.session.session.Session.embed_images", broken)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{SECRET}-key")
    result = run("embed", urls[0], *TINY)
    assert result.code == 70
    assert "RuntimeError: cannot read http://127.0.0.1" in result.stderr
    assert_no_secret(result, here)


@pytest.mark.slow
def test_in_a_process_of_its_own(urls: list[str], here: Path, own_world: Path):
    result = run_process("classify", *urls, "-l", "red,blue", *TINY, "-v", cwd=here)
    assert result.code == 3
    assert_no_secret(result, here, own_world)
