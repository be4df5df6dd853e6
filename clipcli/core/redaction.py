"""URLs without what is secret in them: the one function that everything shown or kept goes through.

A link to a picture is often a key to it: a signature in the query, a token in the fragment, a password before the host.
So only the parts that say where something is are shown, and of the query the few parameters that choose a version or a
size of a picture. Which parameters are secret cannot be listed; which are not, can.
"""

from __future__ import annotations

import os
import re
from typing import Final

_START: Final = (
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)"
    r"(?P<mark>://|(?<=http):/|(?<=https):/|(?<=s3):/|(?<=gs):/|(?<=az):/|(?<=sftp):/)"
)
"""One slash is left of two where a URL was taken for a path."""
_URL: Final = re.compile(_START + r"(?P<rest>(?:[^\s'\"<>`]|'(?=[^\s/\"]*@))*)")
"""In a text. A quotation mark ends it, unless it stands in a password."""
_WHOLE: Final = re.compile(_START + "(?P<rest>.*)", re.DOTALL)
_ENCODED: Final = re.compile(r"(?i)([a-z][a-z0-9+.-]*%3a%2f%2f)[^\s'\"<>`]+")
"""A URL within a parameter or a name of another."""
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
"""Parameters that are shown, and what may stand behind each."""
_WEB: Final = frozenset(("http", "https"))
_SECRET_VARIABLES: Final = re.compile(
    r"(?i)secret|token|password|passwd|access_key|credential|_key\b|connection_string"
)
_SHORTEST_SECRET: Final = 6


def redact(text: str) -> str:
    """A text in which every URL has lost its user part, its fragment, and the parameters that are not on the list.

    What is no URL stays as it is, and a URL without any of these too, so it can be applied to anything, and again.
    """
    if ":/" in text:
        text = _URL.sub(_redacted, text)
    return _ENCODED.sub(r"\1***", text) if "%" in text else text


def redact_url(text: str) -> str:
    """Return the same for a text that is one URL from its beginning to its end, spaces and quotation marks included."""
    whole = _WHOLE.fullmatch(text)
    return redact(_redacted(whole)) if whole else redact(text)


def redact_variables(text: str) -> str:
    """Return a text without the values of environment variables whose names say that they are secret."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_SECRET and value in text and _SECRET_VARIABLES.search(name):
            text = text.replace(value, "***")
    return text


def _redacted(url: re.Match[str]) -> str:
    start, rest = url["scheme"] + url["mark"], url["rest"]
    authority = _AUTHORITY.match(rest)
    user_and_host = authority[0] if authority else ""
    host = user_and_host.rpartition("@")[2]
    if not _HOST.fullmatch(host):  # a password with a slash in it: where it ends cannot be told
        return f"{start}***"
    return f"{start}{host}{_path(rest[len(user_and_host) :], is_web=url['scheme'].lower() in _WEB)}"


def _path(tail: str, *, is_web: bool) -> str:
    """Path and what is left of the query. Elsewhere than on the web `?` and `#` may belong to an object's name."""
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
