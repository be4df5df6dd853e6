"""What went wrong between here and the hub, in one line and with a way out."""

from __future__ import annotations

import errno
import socket
import sys

from clipcli.errors import DownloadError

OFFLINE_HINT = "run once with a network (clipcli models pull), or use --model tiny, which needs none"
_AGAIN_HINT = "try again (what was fetched is kept), or use --model tiny, which needs no download"
DISK_HINT = "free some space, or keep weights elsewhere with --cache-dir DIR"
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
_TOO_MANY_REQUESTS, _UNAUTHORIZED, _FORBIDDEN = 429, 401, 403


def network_errors() -> tuple[type[Exception], ...]:
    """What fetching may raise: the hub's own errors, those of the system, and those of the HTTP client it uses."""
    from huggingface_hub.errors import HfHubHTTPError

    clients = [sys.modules[name] for name in ("httpx2", "httpx") if name in sys.modules]
    return (HfHubHTTPError, OSError, *(client.HTTPError for client in clients))


def failure(error: Exception, filename: str, repo: str) -> DownloadError:
    """The error for the user, from any of `network_errors`."""
    cause = _innermost(error)
    hint = DISK_HINT if isinstance(cause, OSError) and cause.errno in _DISK else _AGAIN_HINT
    return DownloadError(f"cannot fetch {filename} of {repo}: {_reason(cause)}", hint=hint)


def _innermost(error: BaseException) -> BaseException:
    """The hub's client wraps what happened several times."""
    cause = error
    while cause.__cause__ is not None or (cause.__context__ is not None and not cause.__suppress_context__):
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    return cause


def _reason(cause: BaseException) -> str:
    response = getattr(cause, "response", None)
    status = getattr(response, "status_code", None)
    if status == _TOO_MANY_REQUESTS:
        wait = getattr(response, "headers", {}).get("Retry-After", "")
        when = f"in {wait} s" if wait.isdigit() else "later"
        return f"too many requests, the hub refuses for now (HTTP 429); try {when}, or set HF_TOKEN"
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        return f"the hub refuses (HTTP {status}); HF_TOKEN says who you are"
    if status is not None:
        return f"the hub answered HTTP {status}"
    text = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
    if isinstance(cause, TimeoutError) or "timed out" in text:
        return "the hub does not answer (timed out)"
    if isinstance(cause, (ConnectionError, socket.gaierror)) or type(cause).__name__ == "ConnectError":
        return f"no connection to the hub ({text})"
    return text
