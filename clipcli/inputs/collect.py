"""Expand arguments, folders and lists of paths into image references, in a stable order; divide inputs among machines.

Inputs are divided by a stable hash of their names, so the machines need not communicate.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Generic, TypeVar

from clipcli.core.files import is_file, open_file, read_lines
from clipcli.core.redaction import redact, redact_url
from clipcli.errors import InputsError, UsageError
from clipcli.inputs.sources import IMAGE_SUFFIXES, ImageRef, ListedPath, TableColumns, expand, is_elsewhere
from clipcli.inputs.sources.expand import FolderSearch
from clipcli.inputs.sources.filesystems import is_url
from clipcli.inputs.sources.patterns import Globs, has_magic, is_local_pattern, local_names
from clipcli.inputs.sources.refs import LONGEST_NAME, SHARDS, TABLES, TEXT_TABLES, has_suffix, is_image_name
from clipcli.inputs.text_files import STDIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from clipcli.inputs.row_filter import Condition

__all__ = ["IMAGE_SUFFIXES", "STDIN", "ImageRef", "collect", "is_stream"]

_TABLES = (*TABLES, *TEXT_TABLES)
_SHOWN = 80
_LONG = 1000
"""Longest faulty name, in characters, that a message shows in full."""
_LOOKED_AT = 1_000_000
"""Most lines of a list that are searched for URLs before the run."""
_NAME = re.compile(r"[/\\]|\.\w{1,8}$")
"""The mark of a file name: a folder or a suffix."""
_SUFFIXES_COUNT = "folders are searched for suffixes such as .jpg and .png; a file named outright is always tried"
_Input = TypeVar("_Input")


def collect(
    arguments: Sequence[str],
    *,
    files_from: Sequence[str] = (),
    null: bool = False,
    column: str | None = None,
    keep: Sequence[str] = (),
    where: Condition | None = None,
    globs: Globs | None = None,
    follows_links: bool = False,
    warn: Callable[[str], object] | None = None,
    detail: Callable[[str], object] | None = None,
) -> Iterator[ImageRef]:
    """Yield image references for arguments and lists, in the order given; folders are sorted by name.

    Inside a folder, hidden names, links to folders, recycle bins and the like are skipped. A file named as an argument
    is always tried.

    Args:
        arguments: files, folders, tar shards, tables (Parquet, CSV, TSV, JSON Lines), URLs, patterns of these, or `-`
            for stdin: a list, or the bytes of one image.
        files_from: files or URLs with a list of the same; `-` is stdin.
        null: lists are separated by NUL instead of newlines.
        column: the column of images or paths in tables; None takes the only one with images, or one of a usual name.
        keep: columns of tables to keep as `ImageRef.fields`; `all` keeps every column.
        where: the rows of tables to read.
        globs: the names to include and exclude; None includes all.
        follows_links: follow links to folders inside a folder.
        warn: gets a message for each folder without images when others have some.
        detail: gets the list of skipped folders at the end.

    Raises:
        UsageError: no input was given, or stdin was given twice.
        InputsError: a list or table cannot be used, a package is missing, or there are no images at all.
    """
    options = {"--column": column is not None, "--keep": bool(keep), "--where": where is not None}
    lists = _checked(arguments, files_from, [option for option, given in options.items() if given])
    named, alone = named_inputs(arguments, files_from, null=null), len(arguments) == 1 and not lists
    columns, search = TableColumns(column, tuple(keep), where), FolderSearch(globs or Globs(), follows_links)
    return _expand_all(named, columns, search, warn, detail, alone=alone)


def _checked(arguments: Sequence[str], files_from: Sequence[str], table_options: Sequence[str]) -> list[str]:
    """Return all lists, including `-` among the arguments. Raises UsageError for conflicting arguments."""
    if not arguments and not files_from:
        raise UsageError("no images given", hint="name files or folders, or - for a list of paths on stdin")
    if [*arguments, *files_from].count(STDIN) > 1:
        raise UsageError("stdin can be read only once", hint="give - once")
    lists = [*files_from, *(argument for argument in arguments if argument == STDIN)]
    if table_options and not lists and not any(has_suffix(argument, _TABLES) for argument in arguments):
        raise UsageError(f"{table_options[0]} is for tables", hint="a .parquet, .csv, .tsv or .jsonl file of images")
    return lists


def named_inputs(arguments: Sequence[str], files_from: Sequence[str], *, null: bool) -> Iterator[str | ImageRef]:
    """Yield the arguments and the entries of lists as they arrive.

    An image on stdin and a pattern without matches are yielded as references.

    Raises:
        InputsError: a list cannot be read.
    """
    return chain(
        chain.from_iterable(_names_of(argument, null=null) for argument in arguments),
        chain.from_iterable(_read_list(source, null=null) for source in files_from),
    )


def _read_list(source: str, *, null: bool) -> Iterator[str | ImageRef]:
    from clipcli.inputs.listed_paths import read_list  # most runs have no list

    return read_list(source, null=null)


def _names_of(argument: str, *, null: bool) -> Iterator[str | ImageRef]:
    if argument == STDIN:
        yield from _read_list(argument, null=null)
    elif is_local_pattern(argument):  # quoted, or from a shell that does not expand patterns
        yield from local_names(argument)
    else:
        yield argument


def is_words(argument: str) -> bool:
    """Return whether an argument can only mean words: it neither is nor looks like a file, a URL or a pattern."""
    is_phrase = " " in argument.strip()
    return (
        argument.strip() not in {"", STDIN}
        and _NAME.search(argument) is None
        and (is_phrase or not has_magic(argument))
        and not is_url(argument)
        and not os.path.lexists(argument)
    )


def is_stream(arguments: Sequence[str], files_from: Sequence[str]) -> bool:
    """Return whether inputs come from a pipe or a URL, so that their number is unknown in advance."""
    if STDIN in arguments or STDIN in files_from:
        return True
    return any(map(is_url, arguments)) or any(map(_names_urls, files_from))


def _names_urls(file: str) -> bool:
    """Return whether a list contains a URL or is one itself; False for an unreadable list, which fails later."""
    if is_url(file):
        return True
    try:
        if not is_file(file):  # a pipe can be read only once
            return False
        with open_file(file) as stream:
            return any(b"://" in line for line in islice(read_lines(stream, LONGEST_NAME), _LOOKED_AT))
    except (OSError, ValueError):
        return False


def _expand_all(
    named: Iterable[str | ImageRef],
    column: TableColumns,
    search: FolderSearch,
    warn: Callable[[str], object] | None,
    detail: Callable[[str], object] | None,
    *,
    alone: bool,
) -> Iterator[ImageRef]:
    is_any_found = False
    barren: list[str] = []
    for argument in named:
        count = 0
        name = argument.name if isinstance(argument, ImageRef) else argument
        try:
            for ref in _refs_of(argument, column, search):
                count += 1
                yield ref
        except (InputsError, UsageError) as error:
            if alone:
                raise
            count += 1
            yield ImageRef(name, redact_url(name), problem=error.message + (f" ({error.hint})" if error.hint else ""))
        is_any_found = is_any_found or count > 0
        if not count:
            barren.append(name)
    if detail is not None and search.summary:
        detail(f"skipped folders: {search.summary}; name one to search it")
    if not is_any_found:
        raise _nothing_found(barren, search, column.where)
    if warn is not None:
        for argument in barren:
            warn(f"no images in {redact(argument)}")


def _refs_of(argument: str | ImageRef, column: TableColumns, search: FolderSearch) -> Iterator[ImageRef]:
    return iter([argument]) if isinstance(argument, ImageRef) else _expand(argument, column, search)


def _expand(argument: str, column: TableColumns, search: FolderSearch) -> Iterator[ImageRef]:
    if problem := _why_no_name(argument):
        short_name = argument if len(argument) <= _LONG else f"{argument[:_SHOWN]}…"
        yield ImageRef(short_name, short_name, problem=problem)
    elif is_elsewhere(argument):
        for item in expand(argument, column, search):
            if isinstance(item, ImageRef):
                yield item
            elif isinstance(item, ListedPath):
                yield from (replace(ref, fields=item.fields) for ref in _listed(item.path, search))
            elif item != argument:
                yield from _expand(item, column, search)
            elif search.takes(item):
                yield ImageRef(item, item)
    elif os.path.isdir(argument):  # noqa: PTH112 - paths are strings here, any bytes included
        yield from _walk(argument, argument, search, (os.path.realpath(argument),) if search.follows_links else ())
    elif search.takes(argument):
        yield ImageRef(argument, argument)


def _listed(path: str, search: FolderSearch) -> Iterator[ImageRef]:
    """Yield the images that a row of a table names; a faulty row is a failure of its own."""
    count = 0
    try:
        for ref in _expand(path, TableColumns(), search):
            count += 1
            yield ref
        if not count and os.path.isdir(path):  # noqa: PTH112
            yield ImageRef(path, path, "a folder without images")
    except (InputsError, UsageError) as error:
        yield ImageRef(path, redact_url(path), error.message + (f" ({error.hint})" if error.hint else ""))


def _why_no_name(argument: str) -> str | None:
    """Return why an argument cannot be a file name; None if it can."""
    if not argument:
        return "an empty name (a variable that is not set?)"
    if "\0" in argument:
        return "a file name cannot hold a NUL byte (is the list NUL-separated? use -0)"
    return f"a name of more than {LONGEST_NAME:,} characters" if len(argument) > LONGEST_NAME else None


def _walk(folder: str, root: str, search: FolderSearch, chain: tuple[str, ...]) -> Iterator[ImageRef]:
    """Yield the images below a folder, sorted; skip hidden names and, unless `search` follows them, links to folders.

    `chain` holds the real paths of the links followed so far, so that no folder is entered inside itself.
    """
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        yield ImageRef(folder, folder, problem=f"cannot list this folder: {(error.strerror or str(error)).lower()}")
        return
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            if search.enters(entry.path, root):
                yield from _walk(entry.path, root, search, chain)
        elif search.follows_links and _is_folder_link(entry):
            target = os.path.realpath(entry.path)
            if target not in chain and search.enters(entry.path, root):
                yield from _walk(entry.path, root, search, (*chain, target))
        elif is_image_name(entry.name) and search.takes(entry.path, root) and not _is_folder_link(entry):
            yield ImageRef(entry.path, entry.path)


def _is_folder_link(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and os.path.isdir(entry.path)  # noqa: PTH112


def _nothing_found(barren: Iterable[str], search: FolderSearch, where: Condition | None) -> InputsError:
    if where is not None:
        return nothing_left(search.globs, where)
    if search.globs.words:
        return nothing_left(search.globs)
    names = [name for name in barren if os.path.isdir(name) or is_elsewhere(name)]  # noqa: PTH112
    if not names:
        return InputsError("the list of images is empty", hint="one path per line, or NUL-separated with -0")
    first = redact(names[0])
    files = [file for _, _, found in os.walk(names[0]) for file in found]
    details = f" ({len(files)} other file{'s' if len(files) != 1 else ''} there)" if files else ""
    if not files and os.path.isdir(names[0]):  # noqa: PTH112
        details = " (the folder is empty)"
    if len(names) > 1:
        details = f" and {len(names) - 1} more"
    if any(file.lower().endswith((*SHARDS, *_TABLES)) for file in files):
        return InputsError(f"no images in {first}{details}", hint="name shards and tables themselves: FOLDER/*.tar")
    if search.summary:
        return InputsError(f"no images in {first}{details}", hint=f"skipped: {search.summary}; name one to search it")
    return InputsError(f"no images in {first}{details}", hint=_SUFFIXES_COUNT)


def nothing_left(globs: Globs, where: Condition | None = None) -> InputsError:
    """Return the error for a run in which no row passes the condition, or no name the globs."""
    if where is not None:
        return InputsError("no row of the tables passes --where", hint=f"the condition is {where.expression}")
    if not globs.words:
        return InputsError("there is nothing to search")
    hint = "a pattern with a slash is compared with the path: '*/cats/*'" if "/" in globs.words else None
    return InputsError(f"no image is left ({globs.words})", hint=hint)


def parse_shard(text: str) -> tuple[int, int]:
    """Parse `i/n` and return (i, n) with 1 ≤ i ≤ n.

    Raises:
        UsageError: the text is not of this form.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count:
        raise UsageError(f"not a shard: {text!r}", hint="1/4, 2/4, 3/4 and 4/4 are the shards of four")
    return index, count


def shard_of(name: str, count: int) -> int:
    """Return the shard of a name, from 1 to `count`; the same on every machine and in every version."""
    digest = hashlib.sha256(_name_bytes(name)).digest()
    return int.from_bytes(digest[:8], "big") % count + 1


@dataclass
class Listing(Generic[_Input]):
    """Counts inputs while iterating; yields those of one shard with their position among all."""

    inputs: Iterable[_Input]
    name_of: Callable[[_Input], str]
    index: int = 1
    shards: int = 1
    count: int = 0
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256, repr=False)

    def __iter__(self) -> Iterator[tuple[int, _Input]]:
        for item in self.inputs:
            name = self.name_of(item)
            position = self.count
            self.count += 1
            self._hash.update(hashlib.sha256(_name_bytes(name)).digest())
            if self.shards == 1 or shard_of(name, self.shards) == self.index:
                yield position, item

    @property
    def digest(self) -> str:
        """Return the hash over the names of all inputs so far, in order."""
        return self._hash.hexdigest()[:32]


def _name_bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
