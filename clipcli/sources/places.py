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

from clipcli.errors import InputsError, UsageError
from clipcli.sources.faults import message

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_URL: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://")
_EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "http": "remote", "https": "remote"}
_LOCAL: Final = frozenset(("file", "local", "memory"))
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
    """Whether the text names something that fsspec opens."""
    return _URL.match(text) is not None


def seconds() -> float:
    """How long a request may take.

    Raises:
        UsageError: the variable is no such number.
    """
    given = os.environ.get("CLIPCLI_REMOTE_TIMEOUT")
    try:
        found = float(given) if given else DEFAULT_SECONDS
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise UsageError(f"CLIPCLI_REMOTE_TIMEOUT cannot be {given!r}", hint="seconds, such as 60")
    return found


def file_system(url: str) -> tuple[Any, str]:
    """The file system of fsspec for a URL, and the path on it. fsspec keeps one a process, or one a thread.

    Raises:
        InputsError: fsspec or the driver is not installed, or no driver is known; it says what to install.
        UsageError: the network is not to be used.
    """
    protocol = str(scheme(url))
    if protocol not in _LOCAL and _network.is_forbidden:
        raise UsageError(f"{protocol}:// needs the network", hint="leave --offline (or CLIPCLI_OFFLINE) away")
    fsspec = _fsspec()
    if protocol not in fsspec.available_protocols():
        known = ", ".join(f"{name}://" for name in ("s3", "gs", "https", "hf", "az", "sftp"))
        raise InputsError(f"nothing reads {protocol}://", hint=f"known are {known} and others of fsspec")
    try:
        system, path = fsspec.core.url_to_fs(url, **_options(protocol, seconds()))
    except ImportError as error:
        raise _missing(protocol, error) from error
    except (ValueError, OSError) as error:
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
        return kept | ({"client_kwargs": {"timeout": timeout}} if web else {"requests_timeout": timeout})
    if protocol in {"s3", "s3a"}:
        once = {"total_max_attempts": 1}
        return kept | {"config_kwargs": {"connect_timeout": connect, "read_timeout": limit, "retries": once}}
    return {} if protocol in _LOCAL else kept


def _driver(name: str, protocol: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise _missing(protocol, error) from error


def _missing(protocol: str, error: ImportError) -> InputsError:
    extra = _EXTRAS.get(protocol)
    hint = f"pip install 'clipcli[{extra}]'" if extra else message(str(error))
    return InputsError(f"{protocol}:// needs a driver that is not installed", hint=hint)


@functools.cache
def _fsspec() -> Any:
    try:
        import fsspec
    except ImportError as error:
        raise InputsError("URLs need the package fsspec", hint="pip install 'clipcli[remote]'") from error
    for name in _MUTTERING:
        logging.getLogger(name).addHandler(logging.NullHandler())  # the error row says it better
    return fsspec
