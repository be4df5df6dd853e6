"""Images and shards on the web: listing, faults that pass, and faults that stay."""

from __future__ import annotations

import os
import sys
import threading

import pytest
from run import assert_one_error, run, run_script

from clipcli import images as reading
from clipcli.errors import ImageError, InputsError
from clipcli.inputs.collect import collect, is_stream
from clipcli.inputs.sources import fetch, filesystems
from clipcli.inputs.texts import read_texts

pytest.importorskip("aiohttp")


def test_one_image_by_its_address(web, images):
    web.files["/a.png"] = images["000000.png"]
    (ref,) = collect([f"{web.url}/a.png"])
    assert reading.read_ref(ref) == images["000000.png"]
    assert reading.read(ref.path) == images["000000.png"]
    assert [method for method, _, _ in web.requests] == ["GET", "GET"]


def test_a_folder_is_searched_as_on_disk(web, images):
    for name in ("/p/b/2.PNG", "/p/a.png", "/p/.hidden.png", "/p/notes.txt", "/p/b/1.jpg", "/other/x.png"):
        web.files[name] = images["000000.png"]
    assert [ref.name for ref in collect([f"{web.url}/p/"])] == [
        f"{web.url}/p/{n}" for n in ("a.png", "b/1.jpg", "b/2.PNG")
    ]


def test_a_glob_takes_what_matches(web, images):
    web.files |= {f"/p/{name}": data for name, data in images.items()}
    found = [ref.name for ref in collect([f"{web.url}/p/*[13].png"])]
    assert found == [f"{web.url}/p/000001.png", f"{web.url}/p/000003.png"]
    (nothing,) = collect([f"{web.url}/p/*.gif"])
    assert nothing.problem == "nothing matches this pattern"


def test_addresses_in_a_list(web, images, tmp_path):
    web.files["/a.png"] = images["000000.png"]
    (tmp_path / "b.png").write_bytes(images["000001.png"])
    lines = f"{web.url}/a.png\n{tmp_path}/b.png\n{web.url}/missing.png\n".encode()
    result = run("embed", "-", "--model", "tiny", stdin=lines)
    assert result.code == 3
    assert [row.get("error", {}).get("reason") for row in result.rows] == [None, None, "no such object"]


@pytest.mark.thorough
def test_a_list_that_is_far_away(web, images):
    web.files |= {f"/{name}": data for name, data in images.items()}
    web.files["/list.txt"] = "".join(f"{web.url}/{name}\r\n" for name in images).encode() * 2000
    names = [ref.name for ref in collect([], files_from=[f"{web.url}/list.txt"])]
    assert names == [f"{web.url}/{name}" for name in images] * 2000
    assert is_stream([], [f"{web.url}/list.txt"])
    web.files["/null.txt"] = b"\0".join(f"{web.url}/{name}".encode() for name in images)
    result = run("embed", "--files-from", f"{web.url}/null.txt", "-0", "--model", "tiny")
    assert [row["image"] for row in result.rows] == names[:5]
    missing = run("embed", "--files-from", f"http://me:secret@{web.url[7:]}/none.txt", "--model", "tiny", "-q")
    assert_one_error(missing, f"cannot read the list {web.url}/none.txt: no such object", code=4)


def test_a_list_on_a_server_without_ranges(web, images):
    web.files["/list.txt"], web.knows_ranges = b"a.png\n" * 10, False
    assert len(list(collect([], files_from=[f"{web.url}/list.txt"]))) == 10


def test_texts_that_are_far_away(web, tmp_path):
    web.files |= {"/t.txt": b"a cat\na dog\n", "/t.csv": b"id,said\n1,a cat\n2,\n", "/t.jsonl": b'{"said": "a cat"}\n'}
    for name, column, texts in (("t.txt?v=2", None, ["a cat", "a dog"]), ("t.csv", "said", ["a cat", ""]),
                                ("t.jsonl", "said", ["a cat"])):  # fmt: skip
        assert [ref.text for ref in read_texts([], [f"{web.url}/{name}"], column)] == texts
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"said": ["a cat", None, "a dog"]}), tmp_path / "t.parquet", row_group_size=2)
    web.files["/t.parquet"] = (tmp_path / "t.parquet").read_bytes()
    found = list(read_texts([], [f"{web.url}/t.parquet"], "said"))
    assert [(ref.text, ref.problem) for ref in found] == [
        ("a cat", None), ("", f"no text in row 2 of {web.url}/t.parquet"), ("a dog", None)
    ]  # fmt: skip
    for name in ("none.txt", "none.parquet"):
        with pytest.raises(InputsError, match=f"{name}: cannot be read: no such object"):
            list(read_texts([], [f"{web.url}/{name}"], "said" if name.endswith("parquet") else None))


def test_a_shard_is_streamed(web, shard, images):
    web.files["/s/00000.tar"] = shard.read_bytes()
    refs = list(collect([f"{web.url}/s/{{00000..00001}}.tar"]))
    assert [ref.name for ref in refs[:5]] == [f"{web.url}/s/00000.tar/{name}" for name in images]
    assert [reading.read_ref(ref) for ref in refs[:5]] == list(images.values())
    assert refs[5].problem == "no such object"
    assert web.bodies("/s/00000.tar") <= 2  # its blocks, once, and whether it exists


def test_a_table_is_read_by_row_group(web, images, tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"image": list(images.values())}), tmp_path / "t.parquet", row_group_size=2)
    web.files["/t.parquet"] = (tmp_path / "t.parquet").read_bytes()
    assert [reading.read_ref(ref) for ref in collect([f"{web.url}/t.parquet"])] == list(images.values())


def test_a_shard_on_a_server_without_ranges_says_so(web, shard):
    web.files["/00000.tar"], web.knows_ranges = shard.read_bytes() + bytes(8 << 20), False
    (ref,) = [ref for ref in collect([f"{web.url}/00000.tar"]) if ref.problem]
    assert "range" in ref.problem or "in place" in ref.problem


@pytest.mark.parametrize("fault", ["failing", "cutting"])
def test_a_fault_that_passes_is_not_seen(web, images, fault):
    web.files["/a.png"] = images["000000.png"]
    setattr(web, fault, 3)
    assert reading.read(f"{web.url}/a.png") == images["000000.png"]
    assert web.bodies("/a.png") == 4


def test_a_shard_from_a_flapping_server(web, shard, images):
    web.files["/00000.tar"] = shard.read_bytes()
    refs = list(collect([f"{web.url}/00000.tar"]))
    fetch._opened_remote.cache_clear()
    web.failing = 2
    assert [reading.read_ref(ref) for ref in refs] == list(images.values())


def test_a_fault_that_stays_ends_in_an_error_row(web, images):
    web.files["/a.png"], web.failing = images["000000.png"], 10**6
    result = run("embed", f"{web.url}/a.png", "--model", "tiny")
    assert result.code == 4
    assert result.rows == [
        {
            "image": f"{web.url}/a.png",
            "error": {"stage": "read", "reason": "the server answered 503 Service Unavailable"},
        }
    ]
    assert web.bodies("/a.png") == filesystems.TRIES


@pytest.mark.parametrize(("status", "reason"), [(403, "access denied"), (404, "no such object"), (400, "answered 400")])
def test_what_cannot_get_better_is_asked_once(web, images, status, reason):
    web.files["/a.png"], web.failing, web.status = images["000000.png"], 10**6, status
    with pytest.raises(ImageError, match=reason):
        reading.read(f"{web.url}/a.png")
    assert web.bodies("/a.png") == 1


@pytest.mark.parametrize("location", ["/a.png", "file:///etc/passwd", "mailto:a@b.c"])
def test_a_redirect_that_leads_nowhere_is_named_and_asked_once(web, location):
    web.moved["/a.png"] = location
    with pytest.raises(ImageError, match="the server redirects in a circle, or to what is no web address"):
        reading.read(f"{web.url}/a.png")
    assert web.bodies("/a.png") <= 11  # one try, of which aiohttp follows ten


def test_a_redirect_is_followed(web, images):
    web.files["/b.png"], web.moved["/a.png"] = images["000000.png"], "/b.png"
    assert reading.read(f"{web.url}/a.png") == images["000000.png"]


def test_a_body_that_is_always_cut_is_named(web, images):
    web.files["/a.png"], web.cutting = images["000000.png"], 10**6
    with pytest.raises(ImageError, match="the connection ended in the middle of the file"):
        reading.read(f"{web.url}/a.png")


def test_a_server_that_is_silent_is_given_up(web, monkeypatch):
    monkeypatch.setenv("CLIPCLI_REMOTE_TIMEOUT", "0.05")
    web.silent.add("/a.png")
    with pytest.raises(ImageError, match=r"no answer within 0.05 s"):
        reading.read(f"{web.url}/a.png")
    assert web.bodies("/a.png") == filesystems.TRIES


@pytest.mark.parametrize("given", ["soon", "-1", "0", "inf", "nan"])
def test_a_time_limit_that_is_none(monkeypatch, given):
    monkeypatch.setenv("CLIPCLI_REMOTE_TIMEOUT", given)
    result = run("embed", "https://host/a.png", "--model", "tiny", "-q")
    assert_one_error(result, "CLIPCLI_REMOTE_TIMEOUT cannot be", given, code=2)


def test_every_driver_has_the_time_limit():
    for protocol, option in (("https", "client_kwargs"), ("gs", "requests_timeout")):
        given = filesystems._options(protocol, 3.0)[option]
        limits = given["timeout"] if isinstance(given, dict) else given
        assert (limits.sock_connect, limits.sock_read) == (3.0, 3.0)
    assert filesystems._options("s3", 3.0)["config_kwargs"]["read_timeout"] == 3.0


def test_nobody_there():
    with pytest.raises(ImageError, match="cannot connect"):
        reading.read("http://127.0.0.1:9/a.png")


def test_many_images_are_fetched_at_once(web, images):
    web.files |= {f"/{n}.png": images["000000.png"] for n in range(12)}
    web.wait_for = 8
    result = run("embed", *(f"{web.url}/{n}.png" for n in range(12)), "--model", "tiny", "--workers", "1")
    assert len(result.rows) == 12
    assert web.at_once >= 8


@pytest.mark.thorough
def test_a_password_in_the_address_opens_and_is_never_shown(web, images, tmp_path):
    web.files |= {"/a.png": images["000000.png"], "/broken.png": b"no image"}
    web.password = "hunter2"  # noqa: S105 - made up
    host = web.url.removeprefix("http://")
    secret = [
        f"http://me:hunter2@{host}/{name}?X-Amz-Signature=5f2c" for name in ("a.png", "broken.png", "missing.png")
    ]
    out = tmp_path / "out.jsonl"
    result = run("classify", *secret, f"http://me:wrong1@{host}/a.png", "-l", "a,b", "--model", "tiny", "-o", out)
    assert result.code == 3
    said = result.stdout + result.stderr + out.read_text()
    assert f"{web.url}/a.png" in said
    assert "access denied" in said
    assert not any(word in said for word in ("hunter2", "wrong1", "5f2c", "me:"))


def test_who_stops_waiting_is_not_held_up(web, images):
    web.silent.add("/a.png")
    stopped = threading.Event()

    def wait_for_answer() -> None:
        filesystems.give_up_when(stopped)
        with pytest.raises(ImageError):
            reading.read(f"{web.url}/a.png")

    thread = threading.Thread(target=wait_for_answer)
    thread.start()
    stopped.set()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert web.bodies("/a.png") <= 1


def test_offline_asks_nobody(web, images):
    web.files["/a.png"] = images["000000.png"]
    result = run("embed", f"{web.url}/a.png", "--model", "tiny", "--offline", "-q")
    assert_one_error(result, "http:// needs the network", "--offline", code=2)
    assert web.requests == []
    assert run("embed", f"{web.url}/a.png", "--model", "tiny").code == 0


def test_memory_is_a_place_too(images):
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    for name, data in images.items():
        system.pipe(f"/sources/{name}", data)
    refs = list(collect(["memory://sources/"]))
    assert [ref.name for ref in refs] == [f"memory://sources/{name}" for name in images]
    assert [reading.read_ref(ref) for ref in refs] == list(images.values())


def test_a_place_that_nobody_knows():
    result = run("embed", "gopher://host/a.png", "--model", "tiny", "-q")
    assert_one_error(result, "gopher:// is not supported", "s3://", code=4)


@pytest.mark.parametrize(
    ("missing", "url", "words"),
    [
        ("fsspec", "s3://b/a.png", "[remote]"),
        ("tenacity", "memory://b/a.png", "[remote]"),
        ("aiohttp", "https://h/a.png", "[remote]"),
        ("s3fs", "s3://b/a.png", "[s3]"),
        ("gcsfs", "gs://b/a.png", "[gcs]"),
        ("adlfs", "az://b/a.png", "adlfs"),
    ],
)
def test_a_missing_driver_is_named(monkeypatch, missing, url, words):
    pytest.importorskip("fsspec")
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, url.partition(":")[0], raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    filesystems._fsspec.cache_clear()
    with pytest.raises(InputsError) as error:
        reading.read_ref(next(iter(collect([url]))))
    assert words in f"{error.value.message} {error.value.hint}"
    filesystems._fsspec.cache_clear()


@pytest.mark.thorough
def test_plain_local_runs_import_nothing_of_it(folder):
    script = """
import sys
from clipcli.cli import app
try:
    app(["classify", sys.argv[1], "-l", "cat,dog", "--model", "tiny", "-q", "--no-cache"], prog_name="clipcli")
except SystemExit:
    pass
print(sorted({"fsspec", "aiohttp", "tenacity", "pyarrow", "asyncio", "webdataset"} & set(sys.modules)))
"""
    assert run_script(script, str(folder)).stdout.splitlines()[-1] == "[]"


def test_the_number_of_remote_images_is_not_looked_up_first(tmp_path):
    assert is_stream(["s3://bucket/photos/"], [])
    assert not is_stream([os.curdir, "shards/{0..9}.tar"], [])
    (tmp_path / "near.txt").write_bytes(b"a.png\n" * 20_000)
    (tmp_path / "far.txt").write_bytes(b"a.png\n" * 20_000 + b"https://host/a.png\n")
    assert not is_stream([], [str(tmp_path / "near.txt"), str(tmp_path / "nowhere.txt")])
    assert is_stream([], [str(tmp_path / "far.txt")])


def test_a_dry_run_knows_sizes_without_asking(web, images, shard):
    web.files |= {f"/p/{name}": data for name, data in images.items()}
    said = run("embed", shard, f"{web.url}/p/", "--model", "tiny", "--dry-run").stdout
    assert "images: 10" in said
    assert all(method == "GET" and path.endswith("/") for method, path, _ in web.requests)
