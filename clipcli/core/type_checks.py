"""What Python code may get wrong without an error of Python's own."""

from __future__ import annotations


def require_several(texts: object, what: str) -> None:
    """Refuse one string where a list of strings belongs: it would be taken letter by letter.

    Raises:
        TypeError: it is a string or bytes.
    """
    if isinstance(texts, (str, bytes)):
        raise TypeError(f"{what} takes a list of texts, not one: [{texts!r}]")
