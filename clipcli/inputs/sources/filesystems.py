"""The file systems behind URLs, through fsspec: open them, try requests again, write to them, and explain their errors.

Messages hold no credentials. Only this module imports fsspec.
"""

from __future__ import annotations

import errno
import functools
import importlib
import logging
import math
import os
import re
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from clipcli.core.optional_packages import install_command, require_packages
from clipcli.core.redaction import redact, redact_variables
from clipcli.errors import ClipcliError, ImageError, InputsError, OutputError, PackageMissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from clipcli.core.optional_packages import Extra

_URL: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://")
_EXTRAS: Final[dict[str, Extra]] = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "http": "remote",
    "https": "remote",
}
_LOCAL: Final = frozenset(("file", "local", "memory"))
SCHEMES: Final = (
    "file", "http", "https", "s3", "s3a", "gs", "gcs", "hf", "az", "abfs", "abfss", "sftp", "local", "memory",
)  # fmt: skip
"""Accepted schemes. fsspec has others that run commands, unpack archives or chain several file systems."""
_IPV6: Final = re.compile(r"(?<=://)\[[0-9a-fA-F:.%]*\]|(?<=@)\[[0-9a-fA-F:.%]*\]")
_CONNECT_SECONDS: Final = 10
DEFAULT_SECONDS: Final = 60.0
_NOISY_LOGGERS: Final = ("fsspec", "s3fs", "gcsfs", "aiohttp", "aiobotocore", "botocore", "asyncio", "urllib3")

TRIES: Final = 5
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 20.0
"""Waits between tries in seconds; each is up to twice the one before."""
_TEMPORARY_STATUS: Final = frozenset((408, 425, 429))
_PERMANENT: Final = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ImageError)
_TEMPORARY_NUMBERS: Final = frozenset(
    getattr(errno, name, None)
    for name in ("EBUSY", "EREMOTEIO", "EIO", "EAGAIN", "ECONNRESET", "ECONNREFUSED", "EPIPE", "ETIMEDOUT")
)
_NETWORK_PACKAGES: Final = frozenset(("aiohttp", "aiobotocore", "botocore", "httpx", "requests", "urllib3", "http"))
_LONGEST_MESSAGE: Final = 200
"""Most characters of a driver's message."""
_HARMLESS_REASONS = ("no such object", "access denied")
"""Reasons that do not prevent an upload: writing creates the folder, and a writer may lack the right to list."""

_Result = TypeVar("_Result")
_thread = threading.local()


@dataclass
class _Network:
    is_forbidden: bool = False


_network = _Network()
"""State of the process, so that every thread and every layer obeys it."""


@contextmanager
def no_network(*, forbidden: bool = True) -> Iterator[None]:
    """Refuse remote URLs inside the block if `forbidden`."""
    before, _network.is_forbidden = _network.is_forbidden, forbidden
    try:
        yield
    finally:
        _network.is_forbidden = before


def scheme(text: str) -> str | None:
    """Return the scheme of a URL, such as `s3` for `s3://bucket/key`; None for other text."""
    match = _URL.match(text)
    return match[1].lower() if match else None


def is_url(text: str) -> bool:
    """Return whether the text begins with a URL scheme."""
    return _URL.match(text) is not None


def request_seconds() -> float:
    """Return the time limit of a request in seconds, from CLIPCLI_REMOTE_TIMEOUT.

    Raises:
        UsageError: the variable is not a positive number.
    """
    setting = os.environ.get("CLIPCLI_REMOTE_TIMEOUT")
    try:
        value = float(setting) if setting else DEFAULT_SECONDS
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(
            f"--remote-timeout or CLIPCLI_REMOTE_TIMEOUT cannot be {setting!r}", hint="seconds, such as 60"
        )
    return value


def file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the path on it. fsspec caches file systems per process or thread.

    Raises:
        InputsError: fsspec or the driver is not installed, or the scheme is not accepted.
        UsageError: the network is switched off.
    """
    protocol = str(scheme(url))
    if protocol not in SCHEMES:
        schemes = ", ".join(f"{name}://" for name in ("s3", "gs", "https", "hf", "az", "sftp", "file"))
        raise InputsError(f"{protocol}:// is not supported", hint=f"use {schemes}")
    if "::" in _IPV6.sub("", url):
        raise InputsError("a URL with :: is not supported", hint="name each file directly, not one through another")
    if protocol not in _LOCAL and _network.is_forbidden:
        raise UsageError(f"{protocol}:// needs the network", hint="leave out --offline (or CLIPCLI_OFFLINE)")
    fsspec, options = _fsspec(), _options(protocol, request_seconds())
    try:
        kind = fsspec.get_filesystem_class(protocol)
        system = kind(**{**kind._get_kwargs_from_urls(url), **options})  # noqa: SLF001 - as fsspec itself, for one URL
        path = system._strip_protocol(url)  # noqa: SLF001 - likewise
    except ImportError as error:
        raise _missing(protocol, error) from error
    except ClipcliError:
        raise
    except Exception as error:
        raise InputsError(f"{protocol}:// cannot be used: {driver_message(str(error))}") from error
    if hasattr(system, "retries"):
        system.retries = 1  # `attempt` retries, in the same way for every driver
    return system, str(path)


def _options(protocol: str, limit: float) -> Mapping[str, object]:
    """Return a driver's options: time limits, and no cache of listings, since a bucket may have millions of objects."""
    options: dict[str, object] = {"use_listings_cache": False}
    connect = min(_CONNECT_SECONDS, limit)
    if protocol in {"http", "https", "gs", "gcs"}:
        aiohttp = _driver("aiohttp", protocol)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=limit)
        web = protocol in {"http", "https"}
        # No compression in transit: 3 MB of gzip can be 6 GB of zeros.
        plain = {"timeout": timeout, "auto_decompress": False, "headers": {"Accept-Encoding": "identity"}}
        return options | ({"client_kwargs": plain} if web else {"requests_timeout": timeout})
    if protocol in {"s3", "s3a"}:
        retries = {"total_max_attempts": 1}
        return options | {"config_kwargs": {"connect_timeout": connect, "read_timeout": limit, "retries": retries}}
    return {} if protocol in _LOCAL else options


def _driver(name: str, protocol: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise _missing(protocol, error) from error


def _missing(protocol: str, error: ImportError) -> PackageMissingError:
    extra = _EXTRAS.get(protocol)
    hint = install_command(extra) if extra else driver_message(str(error))
    return PackageMissingError(f"{protocol}:// needs a driver that is not installed", hint=hint)


@functools.cache
def _fsspec() -> Any:
    require_packages("remote", "reading URLs")
    import fsspec

    for name in _NOISY_LOGGERS:
        logging.getLogger(name).addHandler(logging.NullHandler())  # the error row has a better message
    return fsspec


def attempt(request: Callable[[], _Result]) -> _Result:
    """Return the result of a request; retry temporary faults, with growing waits.

    Raises:
        ImageError: at stage `read`, with the reason of the last fault.
        ClipcliError: a package is not installed.
    """
    tenacity, stopped = _tenacity(), stop_event()
    waits = tenacity.wait_random_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT)
    tries = tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_temporary),
        stop=tenacity.stop_after_attempt(TRIES) | tenacity.stop_when_event_set(stopped),
        sleep=tenacity.sleep_using_event(stopped),
        wait=waits,
        reraise=True,
    )
    try:
        return tries(request)  # type: ignore[no-any-return]
    except (ClipcliError, ImageError):
        raise
    except Exception as error:
        raise ImageError("read", failure_reason(error, request_seconds())) from error


def give_up_when(stopped: threading.Event) -> None:
    """Cancel the requests of this thread when the event is set, since nobody waits for them any more."""
    _thread.stopped = stopped


def stop_event() -> threading.Event:
    """Return the event of this thread, as given to `give_up_when`; one that is never set if there is none."""
    event: threading.Event = getattr(_thread, "stopped", None) or threading.Event()
    return event


def _tenacity() -> Any:
    require_packages("remote", "reading URLs")
    import tenacity

    return tenacity


def check_writable(url: str) -> None:
    """Check before the work that the result can be written to a URL.

    Raises:
        UsageError: such URLs are read-only, or the network is switched off.
        InputsError: a driver is missing.
        OutputError: the bucket does not exist, or the server does not answer.
    """
    if scheme(url) in {"http", "https"}:
        raise UsageError(
            f"{scheme(url)}:// can only be read", hint="-o takes a file, s3://, gs:// or another of fsspec"
        )
    system, path = file_system(url)
    try:
        attempt(lambda: system.ls(path.rpartition("/")[0], detail=False))
    except ImageError as error:
        if not error.reason.startswith(_HARMLESS_REASONS):
            raise OutputError(f"cannot write {redact(url)}: {error.reason}") from error


def upload(file: Path, url: str) -> None:
    """Upload a file, replacing an existing object.

    Raises:
        OutputError: all tries failed.
    """

    def put_file() -> None:
        system, path = file_system(url)
        system.put_file(str(file), path)

    try:
        attempt(put_file)
    except ImageError as error:
        raise OutputError(f"cannot write {redact(url)}: {error.reason}") from error


def delete(url: str) -> None:
    """Delete the object at a URL, if it exists."""
    system, path = file_system(url)
    with suppress(ImageError):
        attempt(lambda: system.rm_file(path))


def driver_message(text: str) -> str:
    """Return a driver's message in one line, without secrets."""
    line = redact_variables(" ".join(redact(text).split()))
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[: _LONGEST_MESSAGE - 1]}…"


def is_temporary(error: BaseException) -> bool:
    """Return whether a retry may help."""
    if isinstance(error, _PERMANENT) or _is_offline(error) or _is_redirect(error):
        return False
    status = _status(error)
    if status is not None:
        return status >= 500 or status in _TEMPORARY_STATUS  # noqa: PLR2004 - the server's own faults
    if isinstance(error, ConnectionError) or _is_timeout(error):
        return True
    if isinstance(error, OSError) and error.errno in _TEMPORARY_NUMBERS:
        return True
    return type(error).__module__.split(".")[0] in _NETWORK_PACKAGES and not _has_no_credentials(error)


def failure_reason(error: BaseException, seconds: float) -> str:
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
        (_is_redirect(error), "the server redirects in a circle, or to what is no web address"),
        ("Payload" in type(error).__name__, "the connection ended in the middle of the file"),
        (status is not None, f"the server answered {status} {getattr(error, 'message', '')}".strip()),
        (isinstance(error, ConnectionError) or "Connect" in type(error).__name__, "cannot connect to the server"),
    )
    words = next((words for holds, words in cases if holds), driver_message(str(error)) or type(error).__name__)
    return words[:1].lower() + words[1:]


def _is_offline(error: BaseException) -> bool:
    return type(error).__name__ == "OfflineModeIsEnabled"


def _what_is_missing(error: BaseException) -> str:
    return "no such bucket" if "bucket" in str(error).lower() else "no such object"


def _is_redirect(error: BaseException) -> bool:
    return "Redirect" in type(error).__name__


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
