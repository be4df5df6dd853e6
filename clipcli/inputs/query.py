r"""The query language: words, images, and sums and differences of them, in one line.

    query  = [sign] term { sign term }
    sign   = "+" | "-"                     alone, with white space (or an end of the query) on both sides
    term   = [weight ":"] ( words | image )
    weight = a number above 0, such as 2, 0.5 or .5, directly before its term; no digit follows the colon
    image  = a path that starts with ./ ../ ~/ or / (or .\ ..\ as on Windows)
    words  = anything else

A query that names an existing picture or a URL means that picture (`named_picture`).

Double quotes around a term, with or without its weight, keep its signs and white space literal; inside them `\"` is a
quote and `\\` a backslash. So `black-and-white photo`, `t-shirt`, `C++`, `16:9 screen` and `12" record` are plain
words, `2:golden retriever + ./pool.jpg - fruit` is a sum of three terms, `"cats - and dogs"` is one term, and
`1:"2:x"` searches for the words 2:x.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass

from clipcli.core.console import printable
from clipcli.core.redaction import redact
from clipcli.errors import UsageError
from clipcli.inputs.sources.filesystems import is_url
from clipcli.inputs.sources.refs import is_image_name

_SIGN = re.compile(r"(?:^|(?<=\s))([+-])(?=\s|$)")
_QUOTED = re.compile(r'(?:^|(?<=\s)|(?<=:))"((?:[^"\\]|\\.)*)"(?=\s|$)')
_OPENING_QUOTE = re.compile(r'(?:^|(?<=\s))"')
_WEIGHT = re.compile(r"(\d+(?:\.\d*)?|\.\d+):(?=[^\s\d])")
_IMAGE = re.compile(r"\.{0,2}/|~/|\.{1,2}\\")
_DOTTED_BACKSLASH = re.compile(r"\.{1,2}\\")


@dataclass(frozen=True)
class Term:
    """One term of a query: words or an image, with a weight."""

    text: str
    """Words, or the path of an image (`~` expanded)."""
    is_image: bool = False
    weight: float = 1.0
    """Negative if the term is subtracted."""

    def __str__(self) -> str:
        """Return the term as text, such as `+ 2 × 'golden retriever'`."""
        size = "" if abs(self.weight) == 1 else f"{abs(self.weight):g} × "
        term = f"image {self.text}" if self.is_image else repr(self.text)
        return f"{'-' if self.weight < 0 else '+'} {size}{term}"


@dataclass(frozen=True)
class Query:
    """A sum of terms."""

    name: str
    """The query's name in rows: the text that the user wrote."""
    terms: tuple[Term, ...]
    id: str | None = None
    """The id, if a file of queries gives one."""

    @property
    def images(self) -> tuple[str, ...]:
        """Return the paths of its images."""
        return tuple(term.text for term in self.terms if term.is_image)

    @property
    def is_example(self) -> bool:
        """Return whether it consists of one picture only."""
        return len(self.terms) == 1 and self.terms[0].is_image and self.terms[0].weight == 1

    @property
    def is_sum(self) -> bool:
        """Return whether signs or weights were parsed, which the user may not have meant."""
        return len(self.terms) > 1 or self.terms[0].weight != 1

    def __str__(self) -> str:
        """Return the parsed terms as text."""
        return " ".join(map(str, self.terms)).removeprefix("+ ")


def parse_query(source: str) -> Query:
    """Parse a query by the grammar above.

    Raises:
        UsageError: the query is empty, a term is missing, a quote is not closed, a weight is 0, or all terms are
            negative; the message points at the position.
    """
    if not source.strip():
        raise UsageError("the query is empty", hint="say what to look for, such as 'two parrots on a branch'")
    masked = _QUOTED.sub(lambda match: "\0" * len(match[0]), source)
    if unclosed := _OPENING_QUOTE.search(masked):
        raise _syntax_error(
            source, unclosed.start(), "this quote is not closed", 'for a literal quote write \\" inside quotes'
        )
    signs = [(match.start(), match.end(), match[1]) for match in _SIGN.finditer(masked)]
    has_leading_sign = source.strip()[0] in "+-" and signs and not source[: signs[0][0]].strip()
    term_starts = [] if has_leading_sign else [(0, "+")]
    term_starts += [(end, sign) for _, end, sign in signs]
    term_ends = [start for start, _, _ in signs[1 if has_leading_sign else 0 :]] + [len(source)]
    terms = tuple(
        _parse_term(source, start, stop, sign) for (start, sign), stop in zip(term_starts, term_ends, strict=True)
    )
    if all(term.weight < 0 for term in terms):
        minus = next(start for start, _, sign in signs if sign == "-")
        raise _syntax_error(source, minus, "there are only negative terms", "add what to look for before the minus")
    return Query(redact(source.strip()), terms)


def read_query(source: str) -> Query:
    """Parse the user's text: the picture that it names, else an expression.

    Raises:
        UsageError: as `parse_query`.
    """
    path = named_picture(source)
    return parse_query(source) if path is None else image_query(path, name=source.strip())


def named_picture(source: str) -> str | None:
    """Return the path or URL if the query names a picture; None for words and expressions.

    Every URL counts as a picture; a file counts if it exists and has an image suffix or is written as a path.
    """
    text = source.strip()
    if is_url(text):
        return None if re.search(r"\s", text) else text
    path = _native_path(os.path.expanduser(text))  # noqa: PTH111 - any bytes included
    is_file = os.path.isfile(path)  # noqa: PTH113 - never raises, whatever the name
    return path if is_file and (is_image_name(path) or looks_like_image(text)) else None


def _native_path(path: str) -> str:
    r"""Return a path with this system's separators: Windows' `.\a.jpg` becomes `./a.jpg` elsewhere."""
    if os.sep == "/" and _DOTTED_BACKSLASH.match(path) and not os.path.lexists(path):
        return path.replace("\\", "/")
    return path


def words_query(text: str, *, identifier: str | None = None) -> Query:
    """Return a query of plain words; signs in them are literal."""
    return Query(redact(text), (Term(text),), identifier)


def image_query(path: str, *, name: str | None = None, identifier: str | None = None) -> Query:
    """Return a query by an image; any path is accepted."""
    return Query(redact(name or path), (Term(path, is_image=True),), identifier)


def looks_like_image(text: str) -> bool:
    """Return whether a term is parsed as the path of an image."""
    return _IMAGE.match(text) is not None


def _parse_term(source: str, start: int, stop: int, sign: str) -> Term:
    raw_term = source[start:stop]
    text = raw_term.strip()
    if not text:
        gap = min(start, max(len(source) - 1, 0))
        raise _syntax_error(source, gap, "a term is missing here", "put a literal sign in quotes: '\"a + b\"'")
    column = start + len(raw_term) - len(raw_term.lstrip())
    weight, text = _split_weight(source, text, column)
    if quoted := _QUOTED.fullmatch(text):
        text = re.sub(r"\\(.)", r"\1", quoted[1])
        if weight is None:
            weight, text = _split_weight(source, text, column + 1)
    if not text.strip():
        raise _syntax_error(source, column, "this term is empty", "say what to look for")
    is_image = looks_like_image(text)
    signed = (1.0 if weight is None else weight) * (-1 if sign == "-" else 1)
    return Term(_native_path(os.path.expanduser(text)) if is_image else text, is_image, signed)  # noqa: PTH111 - any bytes


def _split_weight(source: str, text: str, column: int) -> tuple[float | None, str]:
    match = _WEIGHT.match(text)
    if match is None:
        return None, text
    weight = float(match[1])
    if weight == 0:
        raise _syntax_error(source, column, "a weight must be above 0", "leave out the term, or subtract it with -")
    if math.isinf(weight):
        raise _syntax_error(
            source, column, "this weight is too large", "make the weights of the other terms smaller instead"
        )
    return weight, text[match.end() :]


def _syntax_error(source: str, column: int, problem: str, hint: str) -> UsageError:
    """Return the error with the problem, the query, and a caret under the position."""
    from rich.cells import cell_len  # a Chinese character takes two columns, a combining accent none

    line = re.sub(r"\s", " ", source)
    return UsageError(f"{problem}\n  {line}\n  {' ' * cell_len(printable(line[:column]))}^", hint=hint)
