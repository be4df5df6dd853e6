"""Map URLs to file systems of fsspec. Only this module imports fsspec."""

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
"""Accepted schemes. fsspec has others that run commands, unpack archives or chain several file systems."""
_IPV6: Final = re.compile(r"(?<=://)\[[0-9a-fA-F:.%]*\]|(?<=@)\[[0-9a-fA-F:.%]*\]")
_CONNECT_SECONDS: Final = 10
DEFAULT_SECONDS: Final = 60.0
_MUTTERING: Final = ("fsspec", "s3fs", "gcsfs", "aiohttp", "aiobotocore", "botocore", "asyncio", "urllib3")


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


def seconds() -> float:
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
        system.retries = 1  # the module `fetch` retries, in the same way for every driver
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
    hint = install_command(extra) if extra else message(str(error))
    return PackageMissingError(f"{protocol}:// needs a driver that is not installed", hint=hint)


@functools.cache
def _fsspec() -> Any:
    require_packages("remote", "reading URLs")
    import fsspec

    for name in _MUTTERING:
        logging.getLogger(name).addHandler(logging.NullHandler())  # the error row has a better message
    return fsspec
