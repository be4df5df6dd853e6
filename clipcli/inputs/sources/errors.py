"""Turn exceptions of drivers into messages without credentials, and recognise temporary faults."""

from __future__ import annotations

import errno
from typing import Any, Final

from clipcli.core.redaction import redact, redact_variables
from clipcli.errors import ImageError

without_secrets = redact
"""Its older name."""
_PASSING_STATUS: Final = frozenset((408, 425, 429))
_LASTING: Final = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ImageError)
_PASSING_NUMBERS: Final = frozenset(
    getattr(errno, name, None)
    for name in ("EBUSY", "EREMOTEIO", "EIO", "EAGAIN", "ECONNRESET", "ECONNREFUSED", "EPIPE", "ETIMEDOUT")
)
_NETWORK_PACKAGES: Final = frozenset(("aiohttp", "aiobotocore", "botocore", "httpx", "requests", "urllib3", "http"))
_LONGEST = 200
"""Most characters of a driver's message."""


def message(text: str) -> str:
    """Return a driver's message in one line, without secrets."""
    line = redact_variables(" ".join(redact(text).split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def is_passing(error: BaseException) -> bool:
    """Return whether a retry may help."""
    if isinstance(error, _LASTING) or _is_offline(error):
        return False
    status = _status(error)
    if status is not None:
        return status >= 500 or status in _PASSING_STATUS  # noqa: PLR2004 - the server's own faults
    if isinstance(error, ConnectionError) or _is_timeout(error):
        return True
    if isinstance(error, OSError) and error.errno in _PASSING_NUMBERS:
        return True
    return type(error).__module__.split(".")[0] in _NETWORK_PACKAGES and not _has_no_credentials(error)


def reason(error: BaseException, seconds: float) -> str:
    """Return why something could not be read, in a few words.

    Args:
        error: what the driver raised.
        seconds: the time limit of a request.
    """
    status = _status(error) or _status(error.__cause__)
    cases = (
        (isinstance(error, PermissionError) or status in {401, 403}, "access denied: are the credentials right?"),
        (isinstance(error, FileNotFoundError) or status in {404, 410}, _what_is_missing(error)),
        (_is_offline(error), "the network is switched off by HF_HUB_OFFLINE=1"),
        (_has_no_credentials(error), "no credentials found"),
        (_is_timeout(error), f"no answer within {seconds:g} s"),
        (status is not None, f"the server answered {status} {getattr(error, 'message', '')}".strip()),
        (isinstance(error, ConnectionError) or "Connect" in type(error).__name__, "cannot connect to the server"),
    )
    words = next((words for holds, words in cases if holds), message(str(error)) or type(error).__name__)
    return words[:1].lower() + words[1:]


def _is_offline(error: BaseException) -> bool:
    return type(error).__name__ == "OfflineModeIsEnabled"


def _what_is_missing(error: BaseException) -> str:
    return "no such bucket" if "bucket" in str(error).lower() else "no such object"


def _is_timeout(error: BaseException) -> bool:
    """Return whether it is a timeout, also by name: before Python 3.11, asyncio has its own TimeoutError."""
    return isinstance(error, TimeoutError) or "Timeout" in type(error).__name__


def _status(error: BaseException | None) -> int | None:
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        code = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return int(code) if code >= 400 else None  # noqa: PLR2004 - HTTP's errors
    for holder in (error, response):
        for name in ("status", "status_code", "code"):
            code = getattr(holder, name, None)
            if isinstance(code, int) and 400 <= code < 600:  # noqa: PLR2004 - HTTP's errors
                return code
    return None


def _has_no_credentials(error: BaseException) -> bool:
    return type(error).__name__ in {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"}
