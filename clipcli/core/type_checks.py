"""Checks of arguments from Python code that Python itself does not make."""

from __future__ import annotations


def require_several(texts: object, what: str) -> None:
    """Refuse a single string in place of a list of strings, since it would be read letter by letter.

    Raises:
        TypeError: `texts` is a string or bytes.
    """
    if isinstance(texts, (str, bytes)):
        raise TypeError(f"{what} takes a list of texts, not one: [{texts!r}]")
