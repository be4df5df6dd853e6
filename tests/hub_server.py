"""A stand-in for the hub on 127.0.0.1: what huggingface_hub's client asks for, and everything that can go wrong."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local_server import QuietHandler, listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

COMMIT = "1" * 40
_PATH = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


@dataclass
class Request:
    """One request that arrived."""

    method: str
    file: str
    range: str | None
    sent: int = 0
    """Bytes of the body that were sent."""


@dataclass
class Hub:
    """What is served, how it misbehaves, and what was asked of it."""

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Repository → file name → bytes."""
    commits: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    """Branch or tag → commit, of every repository."""
    cut_after: int | None = None
    """Close the connection when this many bytes of a large file's body are out, once."""
    wrong_bytes: bool = False
    """Send large files with one byte changed."""
    status: int | None = None
    """Answer everything with this HTTP status."""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with `status`."""
    is_silent: bool = False
    """Accept large files' requests and send nothing of their bodies."""
    requests: list[Request] = field(default_factory=list)
    endpoint: str = ""
    released: threading.Event = field(default_factory=threading.Event)

    def of(self, file: str, method: str = "GET") -> list[Request]:
        """The requests for one file."""
        return [request for request in self.requests if (request.file, request.method) == (file, method)]

    def environment(self) -> dict[str, str]:
        """For processes that are to use this hub."""
        return {"HF_ENDPOINT": self.endpoint, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}


def is_large(data: bytes) -> bool:
    """Whether the hub would keep a file by its sha256."""
    return len(data) > 100_000


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serve until the block ends."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    with listening(Handler, hub.released.set) as hub.endpoint:
        yield hub


class _Handler(QuietHandler):
    hub: Hub

    def answer(self) -> None:
        hub, found = self.hub, _PATH.fullmatch(self.path)
        name = found["file"] if found else self.path
        request = Request(self.command, name, self.headers.get("Range"))
        hub.requests.append(request)
        if hub.status is not None:
            return self._refuse(hub.status, hub.headers)
        if found is None or found["repo"] not in hub.files:
            return self._refuse(404, {"X-Error-Code": "RepoNotFound"})
        commit = hub.commits.get(found["revision"], found["revision"])
        if commit not in hub.commits.values():
            return self._refuse(404, {"X-Error-Code": "RevisionNotFound"})
        data = hub.files[found["repo"]].get(name)
        if data is None:
            return self._refuse(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        return self._send(data, commit, request)

    def _refuse(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": "0", **headers}.items():
            self.send_header(key, value)
        self.end_headers()

    def _send(self, data: bytes, commit: str, request: Request) -> None:
        start = int(request.range.removeprefix("bytes=").split("-")[0]) if request.range else 0
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if is_large(data):
            self.send_header("X-Linked-Etag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Linked-Size", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"')
        self.end_headers()
        if self.command == "GET":
            self._send_body(data, start, request)

    def _send_body(self, data: bytes, start: int, request: Request) -> None:
        hub, end = self.hub, len(data)
        if is_large(data):
            if hub.is_silent:
                hub.released.wait()
                self.close_connection = True
                return
            if hub.wrong_bytes:
                data = data[:-1] + bytes([data[-1] ^ 1])
            if hub.cut_after is not None:
                end, hub.cut_after = start + hub.cut_after, None
        self.wfile.write(data[start:end])
        request.sent = end - start
        if end < len(data):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)


def use(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point huggingface_hub at a server; it reads its settings once, at import."""
    from huggingface_hub import constants, file_download

    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    for module in (constants, file_download):  # which of them holds it differs by version
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # What the client holds in memory before it writes; as large as the files here otherwise.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50_000)
    monkeypatch.setattr(file_download.time, "sleep", lambda _seconds: None)
