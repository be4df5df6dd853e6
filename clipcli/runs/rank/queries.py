"""Read queries from options, files and stdin, and encode them as unit vectors.

Queries that arrive on stdin are answered at once, so that a program can read an answer before it writes the next query.
"""

from __future__ import annotations

import os
import shlex
import sys
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import IO, TYPE_CHECKING, Final

import numpy as np

from clipcli.core.decode import DecodeError, parse_json
from clipcli.core.files import LineTooLongError
from clipcli.core.vectors import stack, unit_length
from clipcli.errors import ImageError, InputsError, UsageError
from clipcli.inputs.collect import ImageRef, is_words
from clipcli.inputs.query import Query, Term, image_query, parse_query, read_query, words_query
from clipcli.inputs.sources.filesystems import is_url
from clipcli.inputs.sources.patterns import has_magic
from clipcli.inputs.sources.refs import is_image_name
from clipcli.inputs.text_files import STDIN, Fault, Faults, read_text, refuse, shown_name, tidy, unusable
from clipcli.session.features import NoVectorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from clipcli.core.vectors import Vector, Vectors
    from clipcli.session.session import Session

_CANCELLED = 1e-3
"""Length below which a sum of unit vectors points nowhere."""
_JSON = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class EncodedQueries:
    """Queries with their vectors, and the errors of those that have none."""

    queries: tuple[Query, ...]
    vectors: Vectors
    """(queries, dim), unit length."""
    images: Mapping[str, Vector]
    """Vector of each image in the queries, by path: (dim,), unit length."""
    digests: Mapping[str, str]
    """sha256 of the bytes of each image, by path."""
    errors: Mapping[Term, ImageError]
    """Error of each unusable term, by the term without its weight; queries with such a term are left out."""


def read_queries(path: str) -> list[Query]:
    """Return the queries of a file (`-` is stdin); `+` and `-` in them are plain text, except in `query` objects.

    A text file has one query per line. A `.jsonl` (stdin: whatever starts with a brace) has objects with
    one of `text` (plain words), `image` (a path) or `query` (an expression), and an `id` if wanted.

    Raises:
        InputsError: unreadable, a faulty line, or nothing in it.
    """
    if path.lower().endswith(".json"):
        raise InputsError(
            f"{path}: queries in JSON are one object per line", hint="jq -c '.[]' makes a .jsonl of a list"
        )
    text, faults = read_text(path, errors="surrogateescape"), Faults(shown_name(path))
    if isinstance(text, Fault):
        refuse([text], InputsError)
    is_json = path.lower().endswith(_JSON) or (path == "-" and text.lstrip().startswith("{"))
    queries = [
        query
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip() and (query := query_of_line(number, line, faults, is_json=is_json))
    ]
    if not queries and not faults.entries:
        faults.add(None, "holds no queries", "one query a line")
    if faults.entries:
        refuse(faults.in_order(), InputsError)
    return queries


def query_of_line(number: int, line: str, faults: Faults, *, is_json: bool) -> Query | None:
    """Return the query of one line; on a fault, add it to `faults` and return None."""
    return _json_query(number, line, faults) if is_json else _plain(number, line, faults)


def first_argument(arguments: list[str]) -> Query:
    """Remove the first argument, which is the query, and return it.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    if not arguments:
        raise UsageError("nothing to look for", hint="clipcli rank 'two parrots' photos/")
    if len(arguments) == 1 and os.path.exists(arguments[0]):  # noqa: PTH110 - paths are strings here, any bytes included
        raise UsageError(f"nothing to look for in {arguments[0]}", hint=f"clipcli rank 'two parrots' {arguments[0]}")
    _refuse_swapped(arguments)
    _refuse_unquoted(arguments)
    return read_query(arguments.pop(0))


def _refuse_swapped(arguments: list[str]) -> None:
    """Raise UsageError if the first argument is a folder and none of the others is an input."""
    folder, *inputs = arguments
    if os.path.isdir(folder) and inputs and not any(map(_is_input, inputs)):  # noqa: PTH112 - any bytes included
        hint = f"the query comes first: clipcli rank {shlex.quote(inputs[0])} {shlex.quote(folder)}"
        raise UsageError(f"{folder} is a folder, and {inputs[0]!r} is none", hint=hint)


def _refuse_unquoted(arguments: Sequence[str]) -> None:
    """Raise UsageError if words stand between the query and the first input: `rank a red car photos/`."""
    words = [arguments[0], *takewhile(is_words, arguments[1:])]
    inputs = arguments[len(words) :]
    if len(words) == 1 or not inputs or "+" in words or os.path.lexists(words[0]):
        return
    if any(" " in word for word in words):
        options = [part for word in words for part in ("-e", word)]
        hint = f"for several queries: clipcli rank {shlex.join([*options, *inputs])}"
    else:
        hint = f"put the query in quotes: clipcli rank {shlex.join([' '.join(words), *inputs])}"
    raise UsageError(f"{words[1]!r} is not a file or folder", hint=hint)


def _is_input(argument: str) -> bool:
    is_reachable = os.path.exists(argument) or argument == STDIN or is_url(argument) or has_magic(argument)  # noqa: PTH110
    return is_reachable and not (os.path.isfile(argument) and is_image_name(argument))  # noqa: PTH113


def embed_queries(session: Session, queries: Sequence[Query], prompts: Sequence[str]) -> EncodedQueries:
    """Encode all queries; each distinct text and image once.

    Args:
        session: the model and its cache; the model is loaded only for what the cache lacks.
        queries: the queries.
        prompts: names of template sets for the texts; without any, texts are encoded as they are.

    Raises:
        UsageError: the terms of a query cancel each other.
        PromptsError: bad templates.
    """
    terms = [term for query in queries for term in query.terms]
    texts = list(dict.fromkeys(term.text for term in terms if not term.is_image))
    if prompts and texts:
        from clipcli.prompts import Label, load_prompts

        rows = _rows(lambda: session.embed_labels([Label(text, (text,)) for text in texts], load_prompts(prompts)))
    else:
        rows = _rows(lambda: session.embed_texts(texts)) if texts else []
    results: dict[Term, Vector | ImageError] = {Term(text): row for text, row in zip(texts, rows, strict=True)}
    digests: dict[str, str] = {}
    paths = dict.fromkeys(term.text for term in terms if term.is_image)
    for embedded in session.embed_images(ImageRef(path, path) for path in paths):
        result = embedded.vector if embedded.error is None else embedded.error
        if result is not None:
            results[Term(embedded.ref.path, is_image=True)] = result
            digests[embedded.ref.path] = embedded.digest
    known = {term: result for term, result in results.items() if not isinstance(result, ImageError)}
    errors = {term: result for term, result in results.items() if isinstance(result, ImageError)}
    usable = tuple(query for query in queries if not any(_bare(term) in errors for term in query.terms))
    vectors = stack([_combined(query, known) for query in usable], session.info.dim)
    images = {term.text: vector for term, vector in known.items() if term.is_image}
    return EncodedQueries(usable, vectors, images, {path: digests[path] for path in images}, errors)


def _rows(embed: Callable[[], Vectors]) -> Sequence[Vector | ImageError]:
    """Return the vectors of texts, or the errors of those that have none."""
    try:
        return list(embed())
    except NoVectorError as error:
        return error.results


def _bare(term: Term) -> Term:
    """Return the term without its weight."""
    return Term(term.text, term.is_image)


def _combined(query: Query, known: Mapping[Term, Vector]) -> Vector:
    """Return the weighted sum of unit vectors, of unit length again; only the weights' proportions count."""
    largest = max(abs(term.weight) for term in query.terms)
    terms = ((term.weight / largest, known[_bare(term)]) for term in query.terms)
    total = sum(weight * vector.astype(np.float64) for weight, vector in terms)
    if np.linalg.norm(total) < _CANCELLED:
        raise UsageError(f"the terms of {query.name!r} cancel each other", hint="nothing is left to look for")
    return unit_length(np.asarray(total))


def _plain(number: int, line: str, faults: Faults) -> Query | None:
    words = tidy(line)
    if problem := unusable(words):
        faults.add(number, problem, "save the file as UTF-8")
        return None
    return words_query(words)


def _json_query(number: int, line: str, faults: Faults) -> Query | None:
    try:
        row = parse_json(line)
    except DecodeError as error:
        faults.add(number, str(error), "one object per line")
        return None
    fields = row if isinstance(row, dict) else {}
    kinds = [(name, fields[name]) for name in ("text", "image", "query") if isinstance(fields.get(name), str)]
    identifier = fields.get("id")
    if len(kinds) != 1 or not kinds[0][1].strip() or not isinstance(identifier, (str, int, type(None))):
        faults.add(number, "needs one of text, image and query", '{"id": "1", "text": "two parrots"}')
        return None
    (kind, value), key = kinds[0], None if identifier is None else str(identifier)
    if kind == "text":
        return words_query(value, identifier=key)
    if kind == "image":
        return image_query(value, identifier=key)
    try:
        return replace(parse_query(value), id=key)
    except UsageError as error:
        faults.add(number, error.message, error.hint or "")
        return None


_READ_SIZE: Final = 1 << 20
"""Bytes per read; lines read together are embedded and searched together."""
_LONGEST: Final = 16 << 20


@dataclass(frozen=True)
class QueryBatch:
    """Queries that arrived together."""

    queries: tuple[Query, ...]
    faults: tuple[tuple[str, ImageError], ...]
    """Lines that are not queries: (source and line number, error)."""


@dataclass
class QueryStream:
    """One query per line, or JSON Lines where the first line starts with a brace."""

    _is_json: bool | None = None
    _has_ids: bool | None = None
    """True if the first queries had ids; all rows have the same columns."""
    _faults: Faults = field(default_factory=lambda: Faults(shown_name(STDIN)))

    def batches(self) -> Iterator[QueryBatch]:
        """Yield the queries of the lines that have arrived.

        Raises:
            InputsError: stdin cannot be read, is UTF-16 text, or holds no queries.
        """
        number, empty = 0, True
        for lines in _lines():
            queries: list[Query] = []
            for line in lines:
                number += 1
                if line.strip():
                    queries += self._read(number, line)
            faults = tuple(
                (f"{fault.source}:{fault.line}", ImageError("read", fault.problem)) for fault in self._faults.entries
            )
            self._faults.entries.clear()
            if queries or faults:
                empty = False
                yield QueryBatch(tuple(self._with_ids(queries)), faults)
        if empty:
            raise InputsError(f"{shown_name(STDIN)}: holds no queries", hint="one query per line")

    def _read(self, number: int, line: str) -> list[Query]:
        if self._is_json is None:
            self._is_json = line.lstrip().startswith("{")
        query = query_of_line(number, line, self._faults, is_json=self._is_json)
        return [] if query is None else [query]

    def _with_ids(self, queries: list[Query]) -> list[Query]:
        if self._has_ids is None and queries:
            self._has_ids = any(query.id is not None for query in queries)
        if self._has_ids:
            return [query if query.id is not None else replace(query, id="") for query in queries]
        return [replace(query, id=None) for query in queries]


def _lines() -> Iterator[list[str]]:
    """Yield the lines of stdin, in lists of those that arrived together."""
    remainder, is_first = b"", True
    try:
        stream = _stdin()
        while block := stream.read(_READ_SIZE):
            if is_first and block.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
                raise InputsError(f"{shown_name(STDIN)}: is UTF-16 text", hint="save it as UTF-8")
            block = block.removeprefix(BOM_UTF8) if is_first else block
            is_first = False
            *whole, remainder = (remainder + block).split(b"\n")
            if len(remainder) > _LONGEST:
                raise LineTooLongError(_LONGEST)
            if whole:
                yield [_text(line) for line in whole]
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise InputsError(f"{shown_name(STDIN)}: cannot be read: {reason}") from error
    if remainder:
        yield [_text(remainder)]


def _stdin() -> IO[bytes]:
    """Return stdin without a buffer: a buffered reader would wait until its buffer is full."""
    try:
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    except (OSError, ValueError):  # stdin has no descriptor, as in a program that calls the command line
        return sys.stdin.buffer


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "surrogateescape")
