"""URLs: which file system of fsspec reads them, and what lies below them. The one place that imports fsspec."""

from __future__ import annotations

import functools
import importlib
import logging
import math
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from clipcli.core.optional_packages import install_command, require_packages
from clipcli.errors import ClipcliError, InputsError, PackageMissingError, UsageError
from clipcli.inputs.sources.errors import message

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
"""What is read. fsspec knows others that run commands, unpack archives, or send a path through several of them."""
_IPV6: Final = re.compile(r"(?<=://)\[[0-9a-fA-F:.%]*\]|(?<=@)\[[0-9a-fA-F:.%]*\]")
_CONNECT_SECONDS: Final = 10
DEFAULT_SECONDS: Final = 60.0
_MUTTERING: Final = ("fsspec", "s3fs", "gcsfs", "aiohttp", "aiobotocore", "botocore", "asyncio", "urllib3")


@dataclass
class _Network:
    is_forbidden: bool = False


_network = _Network()
"""Of the process: what is read in another thread, or far below a command, obeys it too."""


@contextmanager
def no_network(*, asked: bool = True) -> Iterator[None]:
    """While the block runs, URLs are refused where `asked`."""
    before, _network.is_forbidden = _network.is_forbidden, asked
    try:
        yield
    finally:
        _network.is_forbidden = before


def scheme(text: str) -> str | None:
    """`s3` of `s3://bucket/key`; None for what is no URL."""
    found = _URL.match(text)
    return found[1].lower() if found else None


def is_url(text: str) -> bool:
    """Return whether the text names something that fsspec opens."""
    return _URL.match(text) is not None


def seconds() -> float:
    """Return how long a request may take.

    Raises:
        UsageError: the variable is no such number.
    """
    given = os.environ.get("CLIPCLI_REMOTE_TIMEOUT")
    try:
        found = float(given) if given else DEFAULT_SECONDS
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise UsageError(f"--remote-timeout or CLIPCLI_REMOTE_TIMEOUT cannot be {given!r}", hint="seconds, such as 60")
    return found


def file_system(url: str) -> tuple[Any, str]:
    """Return the file system of fsspec for a URL, and the path on it. fsspec keeps one a process, or one a thread.

    Raises:
        InputsError: fsspec or the driver is not installed, or the URL is none that is read; it says what to do.
        UsageError: the network is not to be used.
    """
    protocol = str(scheme(url))
    if protocol not in SCHEMES:
        known = ", ".join(f"{name}://" for name in ("s3", "gs", "https", "hf", "az", "sftp", "file"))
        raise InputsError(f"nothing reads {protocol}://", hint=f"known are {known}")
    if "::" in _IPV6.sub("", url):
        raise InputsError("a URL with :: is not read", hint="name each file itself, not one through another")
    if protocol not in _LOCAL and _network.is_forbidden:
        raise UsageError(f"{protocol}:// needs the network", hint="leave out --offline (or CLIPCLI_OFFLINE)")
    fsspec, options = _fsspec(), _options(protocol, seconds())
    try:
        kind = fsspec.get_filesystem_class(protocol)
        system = kind(**{**kind._get_kwargs_from_urls(url), **options})  # noqa: SLF001 - as fsspec itself, for one URL
        path = system._strip_protocol(url)  # noqa: SLF001 - likewise
    except ImportError as error:
        raise _missing(protocol, error) from error
    except ClipcliError:
        raise
    except Exception as error:
        raise InputsError(f"{protocol}:// cannot be used: {message(str(error))}") from error
    if hasattr(system, "retries"):
        system.retries = 1  # tried again in one place, `fetching`, alike for every driver
    return system, str(path)


def _options(protocol: str, limit: float) -> Mapping[str, object]:
    """Time limits, in the words of each driver; no listing is kept, since a bucket may have millions of objects."""
    kept: dict[str, object] = {"use_listings_cache": False}
    connect = min(_CONNECT_SECONDS, limit)
    if protocol in {"http", "https", "gs", "gcs"}:
        aiohttp = _driver("aiohttp", protocol)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=limit)
        web = protocol in {"http", "https"}
        # Nothing is unpacked on the way: three megabytes of gzip can be six gigabytes of zeros.
        plain = {"timeout": timeout, "auto_decompress": False, "headers": {"Accept-Encoding": "identity"}}
        return kept | ({"client_kwargs": plain} if web else {"requests_timeout": timeout})
    if protocol in {"s3", "s3a"}:
        once = {"total_max_attempts": 1}
        return kept | {"config_kwargs": {"connect_timeout": connect, "read_timeout": limit, "retries": once}}
    return {} if protocol in _LOCAL else kept


def _driver(name: str, protocol: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise _missing(protocol, error) from error


def _missing(protocol: str, error: ImportError) -> PackageMissingError:
    extra = _EXTRAS.get(protocol)
    hint = install_command(extra) if extra else message(str(error))
    return PackageMissingError(f"{protocol}:// needs a driver that is not installed", hint=hint)


@functools.cache
def _fsspec() -> Any:
    require_packages("remote", "reading URLs")
    import fsspec

    for name in _MUTTERING:
        logging.getLogger(name).addHandler(logging.NullHandler())  # the error row says it better
    return fsspec
