"""A web server on 127.0.0.1 that serves bytes from memory, also in ranges, and everything that can go wrong."""

from __future__ import annotations

import base64
import contextlib
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local_server import QuietHandler, listening

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Web:
    """What is served, how it misbehaves, and what was asked of it."""

    files: dict[str, bytes] = field(default_factory=dict)
    """Path → bytes; a path that ends in a slash is a page of links to what lies right below it."""
    failing: int = 0
    """How many of the next requests for a body are answered with `status`."""
    status: int = 503
    cutting: int = 0
    """How many of the next bodies are cut in the middle."""
    moved: dict[str, str] = field(default_factory=dict)
    """Path → where the server redirects to."""
    silent: set[str] = field(default_factory=set)
    """Paths whose requests are never answered."""
    knows_ranges: bool = True
    password: str | None = None
    """Only who gives this password is answered."""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path with its query, and range."""
    at_once: int = 0
    """The most requests for bodies that were under way together."""
    wait_for: int = 0
    """Bodies wait until as many requests are under way (or the server ends)."""
    url: str = ""
    released: threading.Event = field(default_factory=threading.Event)
    _busy: int = 0
    _lock: threading.Condition = field(default_factory=threading.Condition)

    def bodies(self, path: str) -> int:
        """How many requests for a file's bytes arrived."""
        return sum(1 for method, asked, _ in self.requests if method == "GET" and asked.partition("?")[0] == path)

    def enter(self) -> None:
        with self._lock:
            self._busy += 1
            self.at_once = max(self.at_once, self._busy)
            self._lock.notify_all()
            self._lock.wait_for(lambda: self.at_once >= self.wait_for, timeout=10)

    def leave(self) -> None:
        with self._lock:
            self._busy -= 1


@contextmanager
def serve(web: Web) -> Iterator[Web]:
    """Serve until the block ends."""

    class Handler(_Handler):
        pass

    Handler.web = web
    with listening(Handler, web.released.set) as web.url:
        yield web


class _Handler(QuietHandler):
    web: Web

    def answer(self) -> None:
        web, path = self.web, self.path.partition("?")[0]
        web.requests.append((self.command, self.path, self.headers.get("Range")))
        if path in web.silent:
            web.released.wait()
            self.close_connection = True
            return None
        if web.password is not None and self._password() != web.password:
            return self._refuse(401)
        if self.command == "GET" and web.failing > 0:
            web.failing -= 1
            return self._refuse(web.status)
        if path in web.moved:
            return self._refuse(302, web.moved[path])
        if path.endswith("/") and path not in web.files:
            return self._send(self._page(path), "text/html")
        data = web.files.get(path)
        return self._refuse(404) if data is None else self._send(data, "application/octet-stream")

    def _password(self) -> str:
        _, _, given = self.headers.get("Authorization", "").partition(" ")
        return base64.b64decode(given).decode().partition(":")[2]

    def _page(self, folder: str) -> bytes:
        below = {name[len(folder) :].split("/")[0] + ("/" if "/" in name[len(folder) :] else "")
                 for name in self.web.files if name.startswith(folder)}  # fmt: skip
        return "".join(f'<a href="{name}">{name}</a>\n' for name in sorted(below)).encode()

    def _refuse(self, status: int, location: str | None = None) -> None:
        self.send_response(status)
        if location is not None:
            self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, data: bytes, kind: str) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if self.web.knows_ranges else None
        start = int(wanted[1]) if wanted else 0
        stop = min(int(wanted[2]) + 1, len(data)) if wanted and wanted[2] else len(data)
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Accept-Ranges", "bytes" if self.web.knows_ranges else "none")
        self.send_header("Content-Length", str(stop - start))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.end_headers()
        if self.command == "GET":
            self._send_body(data[start:stop])

    def _send_body(self, body: bytes) -> None:
        self.web.enter()
        if self.web.cutting > 0:
            self.web.cutting -= 1
            body = body[: len(body) // 2]
            self.close_connection = True
        self.web.leave()
        with contextlib.suppress(ConnectionError):  # who asked may have gone
            self.wfile.write(body)
