"""An S3 server of the test's own: listing, faults, delays, and credentials that are denied and never shown."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from run import assert_one_error, run

from clipcli import images as reading
from clipcli.inputs.collect import collect
from clipcli.inputs.texts import read_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
SECRET, KEY = "wJalrXUtnFEMIK7MDENGbPx", "AKIAIOSFODNN7EXAMPLE"


class Trouble:
    """Between the client and the server: delays, and refusals of some requests."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self.app = app
        self.refused: list[str] = []
        """Statuses that the next requests for objects are answered with."""
        self.refuses = "GET"
        self.delay = threading.Event()
        self.seconds = 0.0
        self.asked: list[str] = []

    def __call__(self, environ, start_response):
        self.asked.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}")
        self.delay.wait(self.seconds)
        if self.refused and environ["REQUEST_METHOD"] == self.refuses:
            start_response(self.refused.pop(), [("Content-Length", "0")])
            return [b""]
        return self.app(environ, start_response)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Trouble]]:
    pytest.importorskip("s3fs")
    moto_server = pytest.importorskip("moto.server")
    from werkzeug.serving import make_server

    trouble = Trouble(moto_server.DomainDispatcherApplication(moto_server.create_backend_app))
    http = make_server("127.0.0.1", 0, trouble, threaded=True)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}", trouble
    http.shutdown()
    thread.join()


@pytest.fixture
def bucket(server, monkeypatch, images, shard: Path) -> Iterator[Trouble]:
    """s3://pictures with five images, one of them in a sub-folder, and a shard."""
    import boto3

    url, trouble = server
    trouble.seconds, trouble.refused, trouble.asked, trouble.refuses = 0.0, [], [], "GET"
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="pictures")
    for number, (name, data) in enumerate(images.items()):
        s3.put_object(Bucket="pictures", Key=f"p/{'sub/' if number == 2 else ''}{name}", Body=data)
    s3.put_object(Bucket="pictures", Key="p/notes.txt", Body=b"no image")
    s3.put_object(Bucket="pictures", Key="shards/00000.tar", Body=shard.read_bytes())
    trouble.asked = []
    import fsspec

    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield trouble
    trouble.seconds, trouble.refused = 0.0, []


def test_a_bucket_is_searched_as_a_folder_is(bucket, images):
    refs = list(collect(["s3://pictures/p"]))
    assert [ref.name for ref in refs] == [
        f"s3://pictures/p/{name}" for name in ("000000.png", "000001.png", "000003.png", "000004.png", "sub/000002.png")
    ]
    assert reading.read_ref(refs[-1]) == images["000002.png"]
    assert [ref.name for ref in collect(["s3://pictures/p/**/*2.png"])] == ["s3://pictures/p/sub/000002.png"]


def test_shards_in_a_bucket(bucket, images):
    refs = list(collect(["s3://pictures/shards/{00000..00003}.tar"]))
    assert [reading.read_ref(ref) for ref in refs[:5]] == list(images.values())
    assert [ref.problem for ref in refs[5:]] == ["no such object"] * 3
    blocks = [asked for asked in bucket.asked if asked.startswith(("GET /shards", "GET /pictures/shards"))]
    assert len(blocks) == 1


def test_braces_and_stars_in_one_pattern(bucket):
    assert len([ref for ref in collect(["s3://pictures/{shards,none}/*.tar"]) if ref.problem is None]) == 5
    assert len([ref for ref in read_texts([], ["s3://pictures/shards/*.tar"], None) if ref.problem is None]) == 5


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("s3://pictures/nothing/", "no such object"),
        ("s3://pictures/p/", "holds no parts"),
        ("s3://nowhere-at-all/p/", "no such bucket"),
        ("s3://nowhere-at-all/p/*.parquet", "no such bucket"),
    ],
)
def test_parts_that_are_not_there(bucket, tmp_path, place, why):
    result = run("merge", place, "-o", tmp_path / "out.npy")
    assert (result.code, result.stdout) == (4, "")
    assert result.stderr.startswith(f"clipcli: error: {place}: {why}")


def test_parts_that_nobody_may_read(bucket, tmp_path):
    bucket.refused = ["403 Forbidden"] * 1000
    for place in ("s3://pictures/vectors/", "s3://pictures/vectors/*.parquet"):
        assert_one_error(run("merge", place, "-o", tmp_path / "out.npy"), "access denied", code=4)


def test_a_bucket_that_does_not_exist(bucket):
    result = run("embed", "s3://nowhere-at-all/p/", "--model", "tiny")
    assert result.code == 4
    (row,) = result.rows
    assert row["image"] == "s3://nowhere-at-all/p/"
    assert "no such bucket" in row["error"]["reason"]


def test_an_empty_folder(bucket):
    result = run("embed", "s3://pictures/nothing/", "--model", "tiny")
    assert result.code == 4
    assert "s3://pictures/nothing/" in result.stdout + result.stderr


def test_denied_credentials_are_not_shown(bucket):
    bucket.refused = ["403 Forbidden"] * 1000
    result = run("embed", "s3://pictures/p/", "s3://pictures/p/000000.png", "--model", "tiny", "-v")
    assert result.code == 4
    assert [row["error"]["reason"].removeprefix("cannot list this folder: ") for row in result.rows] == [
        "access denied: are the credentials right?"
    ] * 2
    assert KEY not in result.stdout + result.stderr
    assert SECRET not in result.stdout + result.stderr


def test_no_credentials_at_all(bucket, monkeypatch, tmp_path):
    import fsspec

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    (row,) = run("embed", "s3://pictures/p/000000.png", "--model", "tiny").rows
    assert "credentials" in row["error"]["reason"]
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_a_flapping_server(bucket, images):
    refs = list(collect(["s3://pictures/p/"]))
    bucket.refused = ["503 Slow Down", "500 Internal Server Error", "503 Service Unavailable"]
    assert reading.read_ref(refs[0]) == images["000000.png"]
    assert bucket.refused == []
    bucket.refused = ["503 Slow Down"] * 1000
    (row,) = run("embed", "s3://pictures/p/000000.png", "--model", "tiny").rows
    assert row["error"]["reason"].startswith("the server answered 503")


def test_a_slow_server_is_read_in_parallel_and_given_up_in_time(bucket, monkeypatch):
    import fsspec

    bucket.seconds = 0.1
    assert len(run("embed", "s3://pictures/p/", "--model", "tiny").rows) == 5
    monkeypatch.setenv("CLIPCLI_REMOTE_TIMEOUT", "0.2")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    bucket.seconds = 1.0
    (row,) = run("embed", "s3://pictures/p/000000.png", "--model", "tiny").rows
    assert row["error"]["reason"] == "no answer within 0.2 s"


def test_the_same_vectors_as_from_disk(bucket, images, tmp_path):
    for name, data in images.items():
        (tmp_path / name).write_bytes(data)
    listed = "".join(f"{tmp_path / name}\n" for name in images).encode()
    near = run("embed", "-", "--model", "tiny", "--no-cache", stdin=listed)
    far = run("embed", "s3://pictures/shards/00000.tar", "--model", "tiny", "--no-cache")
    assert [row["embedding"] for row in far.rows] == [row["embedding"] for row in near.rows]


def objects(prefix: str) -> dict[str, bytes]:
    import boto3

    s3 = boto3.client("s3")
    found = s3.list_objects_v2(Bucket="pictures", Prefix=prefix).get("Contents", [])
    return {one["Key"]: s3.get_object(Bucket="pictures", Key=one["Key"])["Body"].read() for one in found}


def test_results_in_a_bucket(bucket, tmp_path):
    bucket.refused, bucket.refuses = ["503 Slow Down", "500 Internal Server Error"], "PUT"
    far = run("embed", "s3://pictures/p/", "--model", "tiny", "-o", "s3://pictures/vectors/v.npy")
    near = run("embed", "s3://pictures/p/", "--model", "tiny", "-o", tmp_path / "v.npy")
    assert (far.code, near.code, bucket.refused) == (0, 0, [])
    sent = objects("vectors/")
    assert sent == {f"vectors/{name}": (tmp_path / name).read_bytes() for name in ("v.npy", "v.npy.json")}


def test_results_that_may_not_be_written(bucket):
    bucket.refused, bucket.refuses = ["403 Forbidden"] * 1000, "PUT"
    result = run("embed", "s3://pictures/p/", "--model", "tiny", "-o", "s3://pictures/none/v.npy", "-v")
    assert (result.code, result.stdout) == (6, "")
    *_, kept, error = result.stderr.splitlines()
    assert error.startswith("clipcli: error: cannot write s3://pictures/none/v.npy")
    assert error.endswith(": access denied: are the credentials right?")
    assert "--resume" in kept
    assert KEY not in result.stderr
    assert SECRET not in result.stderr
    bucket.refused = []
    assert run("embed", "s3://pictures/p/", "--model", "tiny", "-o", "s3://pictures/none/v.npy", "--resume").code == 0
    assert set(objects("none/")) == {"none/v.npy", "none/v.npy.json"}


def test_results_for_a_bucket_that_does_not_exist(bucket):
    result = run("embed", "s3://pictures/p/", "--model", "tiny", "-q", "-o", "s3://nowhere-at-all/v.npy")
    assert (result.code, result.stdout) == (6, "")
    assert result.stderr == "clipcli: error: cannot write s3://nowhere-at-all/v.npy: no such bucket\n"
    assert not [asked for asked in bucket.asked if "pictures" in asked]
