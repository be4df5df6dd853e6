"""Files from the hub: fetched once, taken up, checked, and every failure in words."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from types import SimpleNamespace

import hub_server
import pytest
from filelock import FileLock

from clipcli.core.console import Console
from clipcli.errors import DownloadError, UnknownModelError
from clipcli.hub.client import Hub
from clipcli.hub.local_files import cached_models, expected_sha256, is_cached

REPO = "org/small"
WEIGHTS = "open_clip_model.safetensors"
CONFIG = "open_clip_config.json"


def client(**options: object) -> Hub:
    return Hub(Console(quiet=True), **options)  # type: ignore[arg-type]


def parts(cache: Path) -> list[Path]:
    return list(cache.rglob("*.incomplete"))


def test_a_file_is_fetched_once(hub: hub_server.Hub, hub_cache: Path):
    path = client().fetch(REPO, WEIGHTS)
    assert path is not None
    assert path.read_bytes() == hub.files[REPO][WEIGHTS]
    assert path.parent.name == hub_server.COMMIT
    assert expected_sha256(path) == hashlib.sha256(hub.files[REPO][WEIGHTS]).hexdigest()
    assert len(hub.of(WEIGHTS)) == 1
    assert parts(hub_cache) == []

    hub.requests.clear()
    assert client().fetch(REPO, WEIGHTS) == path
    assert client(offline=True).fetch(REPO, WEIGHTS) == path
    assert hub.requests == []


def test_other_tools_find_what_was_fetched(hub: hub_server.Hub):
    from huggingface_hub import hf_hub_download, scan_cache_dir

    path = client().fetch(REPO, WEIGHTS)
    assert hf_hub_download(REPO, WEIGHTS) == str(path)
    report = scan_cache_dir()
    assert report.warnings == []
    assert [repo.repo_id for repo in report.repos] == [REPO]
    assert len(hub.of(WEIGHTS)) == 1


def test_what_another_tool_fetched_is_used(hub: hub_server.Hub):
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(REPO, WEIGHTS)
    hub.requests.clear()
    assert client().fetch(REPO, WEIGHTS) == Path(path)
    assert hub.requests == []


def test_cache_dir_holds_the_files(hub: hub_server.Hub, hub_cache: Path, tmp_path: Path):
    path = client(cache_dir=str(tmp_path / "mine")).fetch(REPO, WEIGHTS)
    assert path is not None
    assert path.is_relative_to(tmp_path / "mine")
    assert not hub_cache.exists()
    assert is_cached(REPO, "", str(tmp_path / "mine"))
    assert not is_cached(REPO, "", None)


def test_a_cut_connection_is_taken_up_within_a_run(hub: hub_server.Hub):
    hub.cut_after = 200_000
    path = client().fetch(REPO, WEIGHTS)
    assert path is not None
    assert path.read_bytes() == hub.files[REPO][WEIGHTS]
    first, second = hub.of(WEIGHTS)
    assert (first.range, first.sent) == (None, 200_000)
    assert second.range is not None
    assert 100_000 <= 600_000 - second.sent <= 200_000


def test_an_interrupted_download_is_taken_up_by_the_next_run(
    hub: hub_server.Hub, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    """Ctrl-C comes when the connection has just broken."""
    from huggingface_hub import file_download

    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    hub.cut_after = 200_000
    with monkeypatch.context() as patch:
        patch.setattr(file_download.time, "sleep", interrupt)
        patch.setattr("clipcli.hub.client.network_errors", interrupt)
        with pytest.raises(KeyboardInterrupt):
            client().fetch(REPO, WEIGHTS)
    (part,) = parts(hub_cache)
    have = part.stat().st_size
    assert have >= 100_000

    hub.requests.clear()
    path = client().fetch(REPO, WEIGHTS)
    assert path is not None
    assert path.read_bytes() == hub.files[REPO][WEIGHTS]
    (request,) = hub.of(WEIGHTS)
    assert request.range == f"bytes={have}-"
    assert request.sent == 600_000 - have
    assert parts(hub_cache) == []


def test_a_part_longer_than_the_file_starts_anew(hub: hub_server.Hub, hub_cache: Path):
    data = hub.files[REPO][WEIGHTS]
    blobs = hub_cache / "models--org--small" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{hashlib.sha256(data).hexdigest()}.incomplete").write_bytes(data + b"more")
    path = client().fetch(REPO, WEIGHTS)
    assert path is not None
    assert path.read_bytes() == data


def test_who_waits_for_another_program_says_so(hub: hub_server.Hub, hub_cache: Path, monkeypatch: pytest.MonkeyPatch):
    digest = hashlib.sha256(hub.files[REPO][WEIGHTS]).hexdigest()
    other = FileLock(hub_cache / ".locks" / "models--org--small" / f"{digest}.lock")
    Path(other.lock_file).parent.mkdir(parents=True)
    other.acquire()
    said = []

    class Listener(Console):
        def info(self, text: str) -> None:
            said.append(text)
            other.release()

    monkeypatch.setattr("clipcli.hub.client._WAIT_SECONDS", 0)
    path = Hub(Listener()).fetch(REPO, WEIGHTS)
    assert path is not None
    assert path.read_bytes() == hub.files[REPO][WEIGHTS]
    assert said == [f"waiting for another program that is downloading {WEIGHTS}"]


def test_wrong_bytes_are_found_by_hash_and_fetched_anew(hub: hub_server.Hub, hub_cache: Path):
    hub.wrong_bytes = True
    good = hashlib.sha256(hub.files[REPO][WEIGHTS]).hexdigest()
    with pytest.raises(DownloadError) as caught:
        client().fetch(REPO, WEIGHTS)
    assert caught.value.message.startswith(f"{WEIGHTS} is damaged: sha256 ")
    assert f"expected {good[:12]}…" in caught.value.message
    assert caught.value.hint == "run the command again to download it again"
    assert not is_cached(REPO, "", None)
    assert list((hub_cache / "models--org--small" / "blobs").iterdir()) == []

    hub.wrong_bytes = False
    path = client().fetch(REPO, WEIGHTS)
    assert path is not None
    assert path.read_bytes() == hub.files[REPO][WEIGHTS]


def test_a_disk_too_small_is_known_before_the_download(hub: hub_server.Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=1000))
    with pytest.raises(DownloadError, match=r"needs 0\.0 GB, and .*blobs has 0\.0 GB left") as caught:
        client().fetch(REPO, WEIGHTS)
    assert caught.value.hint is not None
    assert "--weights-dir" in caught.value.hint
    assert hub.of(WEIGHTS) == []


@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_a_disk_that_fails_is_not_blamed_on_the_hub(
    hub: hub_server.Hub, hub_cache: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    number = 28 if kind == "full" else 30

    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("huggingface_hub.file_download.http_get", fail)
    with pytest.raises(DownloadError, match=os.strerror(number)) as caught:
        client().fetch(REPO, WEIGHTS)
    assert caught.value.hint == "free some space, or store weights elsewhere with --weights-dir DIR"


def test_a_missing_file_is_no_error_and_asked_for_once(hub: hub_server.Hub):
    assert client().fetch(REPO, "tokenizer.json") is None
    hub.requests.clear()
    assert client().fetch(REPO, "tokenizer.json") is None
    assert client(offline=True).fetch(REPO, "tokenizer.json") is None
    assert hub.requests == []


@pytest.mark.parametrize(
    ("repo", "revision", "message", "hint"),
    [
        ("org/none", None, "the hub has no repository org/none", "a private repository needs HF_TOKEN"),
        (REPO, "v9", f"{REPO} has no revision v9", "check the part after @"),
    ],
)
def test_what_the_hub_does_not_have(hub: hub_server.Hub, repo: str, revision: str | None, message: str, hint: str):
    with pytest.raises(DownloadError) as caught:
        client().fetch(repo, WEIGHTS, revision)
    assert caught.value.message == message
    assert caught.value.hint is not None
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("status", "headers", "message", "hint"),
    [
        (
            401,
            {"X-Error-Code": "GatedRepo"},
            f"{REPO} is gated",
            "accept its terms on the hub's website, then set HF_TOKEN",
        ),
        (
            403,
            {"X-Error-Code": "GatedRepo"},
            f"{REPO} is gated",
            "accept its terms on the hub's website, then set HF_TOKEN",
        ),
        (
            401,
            {"X-Error-Code": "RepoNotFound"},
            f"the hub has no repository {REPO}",
            "a private repository needs HF_TOKEN",
        ),
        (401, {}, "the hub refuses access (HTTP 401); set HF_TOKEN to log in", "--model tiny"),
        (403, {}, "the hub refuses access (HTTP 403); set HF_TOKEN to log in", "--model tiny"),
        (429, {}, "too many requests (HTTP 429); try later, or set HF_TOKEN", "--model tiny"),
        (429, {"Retry-After": "90"}, "(HTTP 429); try in 90 s, or set HF_TOKEN", "--model tiny"),
        (503, {}, f"cannot fetch {WEIGHTS} of {REPO}: the hub answered HTTP 503", "--model tiny"),
    ],
)
def test_refusals_say_what_to_do(hub: hub_server.Hub, status: int, headers: dict[str, str], message: str, hint: str):
    hub.status, hub.headers = status, headers
    with pytest.raises(DownloadError) as caught:
        client().fetch(REPO, WEIGHTS)
    assert message in caught.value.message
    assert caught.value.hint is not None
    assert hint in caught.value.hint


@pytest.mark.thorough
def test_a_silent_server_is_given_up(hub: hub_server.Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    hub.is_silent = True
    with pytest.raises(DownloadError) as caught:
        client().fetch(REPO, WEIGHTS)
    assert caught.value.message == f"cannot fetch {WEIGHTS} of {REPO}: the hub does not answer (timed out)"
    assert caught.value.hint is not None
    assert "--model tiny" in caught.value.hint
    assert all(request.sent == 0 for request in hub.of(WEIGHTS))


def test_no_network(hub: hub_server.Hub, monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hub_server.use(f"http://127.0.0.1:{port}", monkeypatch)
    with pytest.raises(DownloadError, match=r"no connection to the hub \(.*refused\)") as caught:
        client().fetch(REPO, WEIGHTS)
    assert (
        caught.value.hint
        == "try again (the download continues where it stopped), or use --model tiny, which needs no download"
    )


def test_no_such_host(hub: hub_server.Hub, monkeypatch: pytest.MonkeyPatch):
    def unknown(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    hub_server.use("http://hub.invalid", monkeypatch)
    with pytest.raises(DownloadError, match=r"no connection to the hub \(.*Name or service not known\)"):
        client().fetch(REPO, WEIGHTS)


@pytest.mark.parametrize("how", ["option", "environment"])
def test_offline_asks_nobody(hub: hub_server.Hub, monkeypatch: pytest.MonkeyPatch, how: str):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", how == "environment")
    with pytest.raises(DownloadError) as caught:
        client(offline=how == "option").fetch_weights(REPO)
    assert caught.value.message == f"{WEIGHTS} of {REPO} is not on this disk and cannot be downloaded offline"
    assert caught.value.hint is not None
    assert "clipcli models pull" in caught.value.hint
    assert "--model tiny" in caught.value.hint
    assert hub.requests == []


@pytest.mark.parametrize("repo", ["org/na..me", "-a/b", "a/b.", "a--b/c"])
def test_names_that_no_repository_has(hub: hub_server.Hub, repo: str):
    with pytest.raises(UnknownModelError, match="not the name of a repository"):
        client().fetch(repo, WEIGHTS)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("there", "asked", "expected"),
    [
        ({"open_clip_model.safetensors", "open_clip_pytorch_model.bin"}, "", "open_clip_model.safetensors"),
        ({"open_clip_pytorch_model.bin"}, "", "open_clip_pytorch_model.bin"),
        ({"model.bin", "model.safetensors"}, "model.bin", "model.safetensors"),
        ({"model.bin"}, "model.bin", "model.bin"),
        ({"vit.pt", "vit.safetensors"}, "vit.pt", "vit.safetensors"),
        ({"vit.pt"}, "vit.pt", "vit.pt"),
        ({"only.safetensors"}, "only.safetensors", "only.safetensors"),
    ],
)
def test_safetensors_are_preferred_to_pickles(hub: hub_server.Hub, there: set[str], asked: str, expected: str):
    hub.files[REPO] = {name: name.encode() * 10_000 for name in there}
    path = client().fetch_weights(REPO, filename=asked)
    assert path.name == expected
    assert path.read_bytes() == hub.files[REPO][expected]
    assert [request.file for request in hub.requests if request.method == "GET"] == [expected]


def test_weights_on_disk_are_used_before_others_are_fetched(hub: hub_server.Hub):
    hub.files[REPO] = {"open_clip_pytorch_model.bin": b"pickle" * 50_000}
    pickled = client().fetch_weights(REPO)
    hub.files[REPO]["open_clip_model.safetensors"] = b"tensors" * 50_000
    hub.requests.clear()
    assert client().fetch_weights(REPO) == pickled
    assert hub.requests == []


def test_a_repository_without_weights(hub: hub_server.Hub):
    del hub.files[REPO][WEIGHTS]
    with pytest.raises(DownloadError) as caught:
        client().fetch_weights(REPO)
    assert caught.value.message == (
        f"{REPO} has no OpenCLIP weights (open_clip_model.safetensors or open_clip_pytorch_model.bin)"
    )


def test_a_tokenizer_is_all_files_that_there_are(hub: hub_server.Hub):
    hub.files["org/words"] = {"tokenizer_config.json": b"{}", "spiece.model": b"model"}
    folder = Path(client().fetch_tokenizer("org/words"))
    assert sorted(path.name for path in folder.iterdir()) == ["spiece.model", "tokenizer_config.json"]
    hub.requests.clear()
    assert client(offline=True).fetch_tokenizer("org/words") == str(folder)
    assert hub.requests == []
    with pytest.raises(DownloadError, match=f"{REPO} has no tokenizer files"):
        client().fetch_tokenizer(REPO)


def test_openclip_models_on_disk_are_listed(hub: hub_server.Hub):
    hub.files["org/words"] = {"tokenizer.json": b"{}"}
    for repo, name in [(REPO, CONFIG), (REPO, WEIGHTS), ("org/words", "tokenizer.json")]:
        client().fetch(repo, name)
    assert list(cached_models(None)) == [REPO]


def test_blobs_that_lead_on_keep_the_hubs_name(tmp_path: Path):
    """A store shared by repositories names its files by another hash; the link in `blobs` has the sha256."""
    data = b"weights" * 1000
    store, blobs, snapshot = (tmp_path / name for name in ("store", "blobs", "snapshot"))
    for folder in (store, blobs, snapshot):
        folder.mkdir()
    (store / ("f" * 64)).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).symlink_to(store / ("f" * 64))
    (snapshot / WEIGHTS).symlink_to(Path("..") / "blobs" / digest)
    assert expected_sha256(snapshot / WEIGHTS) == digest


def test_the_clients_own_warnings_stay_away(hub: hub_server.Hub, capfd: pytest.CaptureFixture[str]):
    hub.cut_after = 100_000
    client().fetch(REPO, WEIGHTS)
    assert capfd.readouterr() == ("", "")
