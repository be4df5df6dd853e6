"""A server on 127.0.0.1 in threads of this process."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class QuietHandler(BaseHTTPRequestHandler):
    """Answers HEAD as GET, through `answer`, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        raise AssertionError("every server has its own")

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def log_message(self, *_: object) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that went away, which is what some tests make them do."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def listening(handler: type[QuietHandler], release: Callable[[], None]) -> Iterator[str]:
    """The server's URL; at the end `release` frees requests that wait, and all threads end."""
    server = QuietServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        release()
        server.shutdown()
        server.server_close()
        thread.join()
