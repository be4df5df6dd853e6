"""Remove secrets from URLs. Everything that is printed or stored passes through this module.

A link to a picture often grants access to it: by a signature in the query, a token in the fragment, or a password
before the host. Only the location is shown, and the few query parameters that choose a version or a size. Nobody can
list all secret parameters, so the module lists the harmless ones.
"""

from __future__ import annotations

import os
import re
from typing import Final

_START: Final = (
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)"
    r"(?P<mark>://|(?<=http):/|(?<=https):/|(?<=s3):/|(?<=gs):/|(?<=az):/|(?<=sftp):/)"
)
"""A URL that was normalised as a path has only one slash left."""
_URL: Final = re.compile(_START + r"(?P<rest>(?:[^\s'\"<>`]|'(?=[^\s/\"]*@))*)")
"""A URL inside a text. A quotation mark ends it, unless it is part of a password."""
_WHOLE: Final = re.compile(_START + "(?P<rest>.*)", re.DOTALL)
_ENCODED: Final = re.compile(r"(?i)([a-z][a-z0-9+.-]*%3a%2f%2f)[^\s'\"<>`]+")
"""A percent-encoded URL inside another URL."""
_AUTHORITY: Final = re.compile(r"[^/?#\\]*")
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.%]*\]|[^:\[\]]*)(:\d*)?")
_MATRIX: Final = re.compile(r";[^/?#;]*=[^/?#;]*")
_NUMBER: Final = re.compile(r"\d{1,10}")
_WORD: Final = re.compile(r"[A-Za-z]{1,10}")
_VERSION: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ALLOWED: Final = {
    **dict.fromkeys(("id", "page", "w", "h", "width", "height", "size", "quality", "dpr", "index", "frame"), _NUMBER),
    **dict.fromkeys(("format", "fm", "fit", "crop"), _WORD),
    **dict.fromkeys(("versionid", "generation"), _VERSION),
}
"""Parameters that are shown, with the pattern of their values."""
_WEB: Final = frozenset(("http", "https"))
_SECRET_VARIABLES: Final = re.compile(
    r"(?i)secret|token|password|passwd|access_key|credential|_key\b|connection_string"
)
_SHORTEST_SECRET: Final = 6


def redact(text: str) -> str:
    """Remove the user part, the fragment and all parameters not in `_ALLOWED` from every URL in a text.

    Other text stays as it is. Redacting twice gives the same text.
    """
    if ":/" in text:
        text = _URL.sub(_redacted, text)
    return _ENCODED.sub(r"\1***", text) if "%" in text else text


def redact_url(text: str) -> str:
    """Redact a text that is one URL as a whole, spaces and quotation marks included."""
    url = _WHOLE.fullmatch(text)
    return redact(_redacted(url)) if url else redact(text)


def redact_variables(text: str) -> str:
    """Replace the values of environment variables with secret-sounding names in a text."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_SECRET and value in text and _SECRET_VARIABLES.search(name):
            text = text.replace(value, "***")
    return text


def _redacted(url: re.Match[str]) -> str:
    start, remainder = url["scheme"] + url["mark"], url["rest"]
    authority = _AUTHORITY.match(remainder)
    user_and_host = authority[0] if authority else ""
    host = user_and_host.rpartition("@")[2]
    if not _HOST.fullmatch(host):  # a password with a slash in it: its end cannot be determined
        return f"{start}***"
    return f"{start}{host}{_path(remainder[len(user_and_host) :], is_web=url['scheme'].lower() in _WEB)}"


def _path(tail: str, *, is_web: bool) -> str:
    """Return the path and the allowed parameters. Outside the web, `?` and `#` may belong to an object's name."""
    path, _, query = tail.partition("?")
    if not is_web and "=" not in query and "=" not in path.partition("#")[2]:
        return tail
    path, hash_mark, _ = path.partition("#")
    if is_web:
        path = _MATRIX.sub("", path)
    allowed = [] if hash_mark else [pair for pair in query.partition("#")[0].split("&") if _is_allowed(pair)]
    return path + ("?" + "&".join(allowed) if allowed else "")


def _is_allowed(pair: str) -> bool:
    name, _, value = pair.partition("=")
    allowed = _ALLOWED.get(name.lower())
    return allowed is not None and allowed.fullmatch(value) is not None
