r"""What to look for, in one line: words, images, and sums and differences of them.

    query  = [sign] term { sign term }
    sign   = "+" | "-"                     alone, with white space (or an end of the query) on both sides
    term   = [weight ":"] ( words | image )
    weight = a number above 0, such as 2, 0.5 or .5, directly before what it weighs; no digit follows its colon
    image  = a path that starts with ./ ../ ~/ or / (or .\ ..\ as on Windows)
    words  = anything else

A query that as a whole names a picture, a file that is there or a URL, is that picture (`named_picture`).

Double quotes around a term, its weight included or not, keep signs and white space in it as they are; inside of them
`\"` is a quote and `\\` a backslash. So `black-and-white photo`, `t-shirt`, `C++`, `16:9 screen` and `12" record` are
plain words, `2:golden retriever + ./pool.jpg - fruit` is a sum of three terms, `"cats - and dogs"` is one term again,
and `1:"2:x"` looks for the words 2:x.
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
from clipcli.inputs.sources.suffixes import is_image_name

_SIGN = re.compile(r"(?:^|(?<=\s))([+-])(?=\s|$)")
_QUOTED = re.compile(r'(?:^|(?<=\s)|(?<=:))"((?:[^"\\]|\\.)*)"(?=\s|$)')
_OPENED = re.compile(r'(?:^|(?<=\s))"')
_WEIGHT = re.compile(r"(\d+(?:\.\d*)?|\.\d+):(?=[^\s\d])")
_IMAGE = re.compile(r"\.{0,2}/|~/|\.{1,2}\\")
_DOTTED_BACKSLASH = re.compile(r"\.{1,2}\\")


@dataclass(frozen=True)
class Term:
    """One thing to look for, or to look away from."""

    text: str
    """Words, or the path of an image (`~` expanded)."""
    is_image: bool = False
    weight: float = 1.0
    """Negative for what is taken away."""

    def __str__(self) -> str:
        """`+ 2 × 'golden retriever'`."""
        size = "" if abs(self.weight) == 1 else f"{abs(self.weight):g} × "
        what = f"image {self.text}" if self.is_image else repr(self.text)
        return f"{'-' if self.weight < 0 else '+'} {size}{what}"


@dataclass(frozen=True)
class Query:
    """A sum of terms."""

    name: str
    """What rows call it: as the user wrote it."""
    terms: tuple[Term, ...]
    id: str | None = None
    """From a file of queries that gives ids."""

    @property
    def images(self) -> tuple[str, ...]:
        """Paths of the images in it."""
        return tuple(term.text for term in self.terms if term.is_image)

    @property
    def is_example(self) -> bool:
        """Return whether it is one picture and nothing else."""
        return len(self.terms) == 1 and self.terms[0].is_image and self.terms[0].weight == 1

    @property
    def is_sum(self) -> bool:
        """Return whether signs or weights were read, which the user may not have meant."""
        return len(self.terms) > 1 or self.terms[0].weight != 1

    def __str__(self) -> str:
        """Return the terms as they were understood."""
        return " ".join(map(str, self.terms)).removeprefix("+ ")


def parse_query(source: str) -> Query:
    """Read a query as the grammar above has it.

    Raises:
        UsageError: empty, a term is missing, a quote is open, a weight is 0, or nothing but negative terms; the message
            points at the place.
    """
    if not source.strip():
        raise UsageError("the query is empty", hint="say what to look for, such as 'two parrots on a branch'")
    hidden = _QUOTED.sub(lambda match: "\0" * len(match[0]), source)
    if opened := _OPENED.search(hidden):
        raise _refusal(
            source, opened.start(), "this quote is not closed", 'a quote in plain words stands as \\" in quotes'
        )
    signs = [(match.start(), match.end(), match[1]) for match in _SIGN.finditer(hidden)]
    leading = source.strip()[0] in "+-" and signs and not source[: signs[0][0]].strip()
    pieces = [] if leading else [(0, "+")]
    pieces += [(end, sign) for _, end, sign in signs]
    stops = [start for start, _, _ in signs[1 if leading else 0 :]] + [len(source)]
    terms = tuple(_term(source, start, stop, sign) for (start, sign), stop in zip(pieces, stops, strict=True))
    if all(term.weight < 0 for term in terms):
        where = next(start for start, _, sign in signs if sign == "-")
        raise _refusal(
            source, where, "only negative terms: nothing is looked for", "add what to look for before the minus"
        )
    return Query(redact(source.strip()), terms)


def read_query(source: str) -> Query:
    """Read what a person typed: the picture that the whole of it names, else an expression.

    Raises:
        UsageError: as `parse_query`.
    """
    path = named_picture(source)
    return parse_query(source) if path is None else example(path, name=source.strip())


def named_picture(source: str) -> str | None:
    """Return the path or URL of the picture that a query as a whole names; None for words and expressions.

    A file counts when it is there and is named like an image or written as a path, a URL always.
    """
    text = source.strip()
    if is_url(text):
        return None if re.search(r"\s", text) else text
    path = _native(os.path.expanduser(text))  # noqa: PTH111 - any bytes included
    is_file = os.path.isfile(path)  # noqa: PTH113 - never raises, whatever the name
    return path if is_file and (is_image_name(path) or looks_like_image(text)) else None


def _native(path: str) -> str:
    r"""Return a path as this system writes it: `.\a.jpg`, which is Windows' way, is `./a.jpg` elsewhere."""
    if os.sep == "/" and _DOTTED_BACKSLASH.match(path) and not os.path.lexists(path):
        return path.replace("\\", "/")
    return path


def literal(text: str, *, identifier: str | None = None) -> Query:
    """Return a query of plain words, whatever signs are in them."""
    return Query(redact(text), (Term(text),), identifier)


def example(path: str, *, name: str | None = None, identifier: str | None = None) -> Query:
    """Return a query by an image, whatever its path looks like."""
    return Query(redact(name or path), (Term(path, is_image=True),), identifier)


def looks_like_image(text: str) -> bool:
    """Return whether a term would be read as the path of an image."""
    return _IMAGE.match(text) is not None


def _term(source: str, start: int, stop: int, sign: str) -> Term:
    raw = source[start:stop]
    text = raw.strip()
    if not text:
        where = min(start, max(len(source) - 1, 0))
        raise _refusal(source, where, "a term is missing here", "a literal sign stands in quotes: '\"a + b\"'")
    place = start + len(raw) - len(raw.lstrip())
    weight, text = _weighed(source, text, place)
    if quoted := _QUOTED.fullmatch(text):
        text = re.sub(r"\\(.)", r"\1", quoted[1])
        if weight is None:
            weight, text = _weighed(source, text, place + 1)
    if not text.strip():
        raise _refusal(source, place, "this term is empty", "say what to look for")
    is_image = looks_like_image(text)
    signed = (1.0 if weight is None else weight) * (-1 if sign == "-" else 1)
    return Term(_native(os.path.expanduser(text)) if is_image else text, is_image, signed)  # noqa: PTH111 - any bytes


def _weighed(source: str, text: str, place: int) -> tuple[float | None, str]:
    found = _WEIGHT.match(text)
    if found is None:
        return None, text
    weight = float(found[1])
    if weight == 0:
        raise _refusal(source, place, "a weight is above 0", "leave out the term, or subtract it with -")
    if math.isinf(weight):
        raise _refusal(source, place, "this weight is too large", "weights of other terms can be smaller instead")
    return weight, text[found.end() :]


def _refusal(source: str, place: int, problem: str, hint: str) -> UsageError:
    """Return the problem, the query, and a caret under the place."""
    from rich.cells import cell_len  # a Chinese character takes two columns, an accent that is put on a letter none

    line = re.sub(r"\s", " ", source)
    return UsageError(f"{problem}\n  {line}\n  {' ' * cell_len(printable(line[:place]))}^", hint=hint)
