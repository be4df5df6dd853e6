"""Expand arguments and lines of lists into references to images that are not plain local files."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from clipcli.core.files import is_skipped_folder
from clipcli.core.redaction import redact_url
from clipcli.errors import ImageError
from clipcli.inputs.sources.fetch import read_object
from clipcli.inputs.sources.filesystems import attempt, file_system, is_url, scheme
from clipcli.inputs.sources.patterns import Globs, full_url, has_braces, has_magic, names_of
from clipcli.inputs.sources.refs import (
    INSIDE,
    MAX_BYTES,
    PACKED,
    SHARDS,
    TABLES,
    TEXT_TABLES,
    ImageRef,
    has_suffix,
    is_image_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from clipcli.inputs.row_filter import Condition
    from clipcli.inputs.sources.refs import ByteSource, ListedPath


@dataclass(frozen=True)
class RemoteObject:
    """An image at a URL."""

    url: str
    size: int | None = None
    is_remote: ClassVar[bool] = True

    def read(self) -> bytes:
        """Return the object's bytes. Raises ImageError."""
        return read_object(self.url)


def _tar_images(name: str, column: TableColumns) -> Iterator[ImageRef]:
    del column
    from clipcli.inputs.sources import tar

    return tar.images(name)


def _tar_member(archive: str, member: str) -> ByteSource:
    from clipcli.inputs.sources import tar

    return tar.find_member(archive, member)


def _refused_archive(name: str, column: TableColumns) -> Iterator[ImageRef]:
    del column
    problem = "a compressed archive cannot be read in place; unpack it to a plain .tar (images hardly shrink)"
    yield ImageRef(name, redact_url(name), problem)


def _parquet_images(name: str, column: TableColumns) -> Iterator[ImageRef | ListedPath]:
    from clipcli.inputs.sources import parquet

    return parquet.images(name, column.image, column.keep, column.where)


def _parquet_cell(table: str, row: str) -> ByteSource | None:
    if not row.isdecimal():
        return None
    from clipcli.inputs.sources import parquet

    return parquet.find_cell(table, int(row))


def _text_table_images(name: str, column: TableColumns) -> Iterator[ImageRef | ListedPath]:
    from clipcli.inputs.sources import text_tables

    return text_tables.read_rows(name, column.image, column.keep, column.where)


class ContainerKind(NamedTuple):
    """A kind of file that holds several images or paths; its module is imported on use."""

    suffixes: tuple[str, ...]
    images: Callable[[str, TableColumns], Iterator[ImageRef | ListedPath]]
    """Yields the images of a file, local or remote."""
    find: Callable[[str, str], ByteSource | None] | None = None
    """Returns the source of `FILE/INNER` by the names of the file and of a member or row in it."""


CONTAINERS: Final = (
    ContainerKind(SHARDS, _tar_images, _tar_member),
    ContainerKind(PACKED, _refused_archive),
    ContainerKind(TABLES, _parquet_images, _parquet_cell),
    ContainerKind(TEXT_TABLES, _text_table_images),
)
"""All kinds of files with several images. To add one, write its module and add a line here."""


def container_kind(name: str) -> ContainerKind | None:
    """Return the kind of a file or URL by its suffix; None if it is not a container."""
    return next((kind for kind in CONTAINERS if has_suffix(name, kind.suffixes)), None)


def is_elsewhere(argument: str) -> bool:
    """Return whether `expand` handles an argument: a URL, a shard, a table, or a pattern of these; fast for files."""
    if is_url(argument):
        return True
    if os.path.isdir(argument):  # noqa: PTH112 - paths are strings here, any bytes included
        return False
    if container_kind(argument) is not None:
        return True
    if INSIDE.fullmatch(argument) or has_braces(argument):
        return not os.path.lexists(argument)
    return False


@dataclass(frozen=True)
class TableColumns:
    """The columns of tables to read."""

    image: str | None = None
    """The column of images or paths; None takes the only one with images, or one of a usual name."""
    keep: tuple[str, ...] = ()
    """Columns to copy to the output; `all` copies every column."""
    where: Condition | None = None
    """Which rows are wanted; None is all."""


@dataclass
class FolderSearch:
    """The rules of a search in folders, and the folders skipped so far."""

    globs: Globs = field(default_factory=Globs)
    follows_links: bool = False
    """Enter links to folders, each once on the way down."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Names of skipped recycle bins, thumbnail caches and the like, with their number."""

    def enters(self, path: str, root: str) -> bool:
        """Return whether to search a subfolder; count it otherwise."""
        above, name = os.path.split(path.rstrip("/"))
        if is_skipped_folder(name, os.path.basename(above)):  # noqa: PTH119 - any bytes, URLs too
            self.skipped[name] += 1
            return False
        return not self.globs.prunes(path, root)

    def takes(self, name: str, root: str = "") -> bool:
        """Return whether an image is included."""
        return self.globs.takes(name, root)

    @property
    def summary(self) -> str:
        """Return the names of skipped folders as text; empty if there were none."""
        names = [name if count == 1 else f"{name} ({count:,})" for name, count in sorted(self.skipped.items())]
        return ", ".join(names)


def expand(argument: str, column: TableColumns, search: FolderSearch) -> Iterator[ImageRef | ListedPath | str]:
    """Yield the images of an argument; strings are paths of local files or folders.

    Args:
        argument: one that `is_elsewhere` accepts.
        column: the columns of tables to read.
        search: decides which folders below a URL to enter and which images to take.

    Raises:
        InputsError: a package is missing, or a table cannot be used.
    """
    is_pattern = has_magic(argument)
    for name in names_of(argument):
        if isinstance(name, ImageRef):
            yield name
        elif is_url(name) and not is_pattern:
            yield from _expand_url(name, column, search)
        else:
            yield from _filter(_named(name, column), search)


def _filter(
    items: Iterable[ImageRef | ListedPath | str], search: FolderSearch
) -> Iterator[ImageRef | ListedPath | str]:
    """Return the items that pass the globs; paths are filtered later, when they are expanded."""
    return (item for item in items if not isinstance(item, ImageRef) or search.takes(item.name))


def list_folder(folder: str) -> Iterator[tuple[str, bool]]:
    """Yield the direct entries of a folder or URL, sorted: the full path, and whether it is a folder.

    Raises:
        ImageError: a remote folder does not exist or cannot be listed.
        OSError: a local folder does not exist or cannot be listed.
    """
    if not is_url(folder):
        with os.scandir(folder) as entries:
            yield from sorted((entry.path, entry.is_dir()) for entry in entries)
        return
    system, path = file_system(folder)
    listing = attempt(lambda: system.ls(path, detail=True))
    below = [info for info in listing if str(info["name"]).rstrip("/") != path.rstrip("/")]
    yield from sorted((full_url(system, folder, str(info["name"])), info.get("type") == "directory") for info in below)


def locate(path: str) -> ByteSource | None:
    """Return the source of a path in `ImageRef.path` form; None for plain files.

    Raises:
        ImageError: at stage `read`, the archive or table has no such member or row.
    """
    inside = INSIDE.fullmatch(path)
    if inside is None or (not is_url(path) and not os.path.isfile(inside["outer"])):  # noqa: PTH113
        return RemoteObject(path) if is_url(path) else None
    kind = container_kind(inside["outer"])
    return kind.find(inside["outer"], inside["inner"]) if kind is not None and kind.find is not None else None


def _named(name: str, column: TableColumns) -> Iterator[ImageRef | ListedPath | str]:
    """Yield the images of one named file, local or remote."""
    if (kind := container_kind(name)) is not None:
        yield from kind.images(name, column)
    elif is_url(name):
        yield ImageRef(name, redact_url(name), None, RemoteObject(name))
    else:
        try:
            source = locate(name)
            yield ImageRef(name, name, None, source) if source else name
        except ImageError as error:
            yield ImageRef(name, name, error.reason)


def _expand_url(url: str, column: TableColumns, search: FolderSearch) -> Iterator[ImageRef | ListedPath | str]:
    url_name = redact_url(url)
    try:
        system, path = file_system(url)
        if _is_file(system, url, path):
            inside = INSIDE.fullmatch(url)
            yield from _filter(
                [ImageRef(url, _display_name(url), None, locate(url))] if inside else _named(url, column), search
            )
        else:
            yield from _walk(system, url, path, search, top=True)
    except ImageError as error:
        yield ImageRef(url, url_name, error.reason)


def _display_name(url: str) -> str:
    """Return a URL without secrets but with a member or row after the query: `…/a.tar?sig=…/000012.jpg`."""
    inside = INSIDE.fullmatch(url)
    if inside is None or not (is_image_name(inside["inner"]) or inside["inner"].isdecimal()):
        return redact_url(url)
    return f"{redact_url(inside['outer'])}/{redact_url(inside['inner'])}"


def _is_file(system: Any, url: str, path: str) -> bool:
    """Return whether a URL is a file: a name with a known suffix is one, a name that ends in a slash is a folder.

    Other names are looked up, except on the web, where all are files.
    """
    plain = url.partition("?")[0] if scheme(url) in {"http", "https"} else url
    if plain.endswith("/"):
        return False
    if scheme(url) in {"http", "https"} or is_image_name(plain) or container_kind(plain) is not None:
        return True
    if INSIDE.fullmatch(url):
        return True
    return not attempt(lambda: system.isdir(path))


def _walk(system: Any, url: str, folder: str, search: FolderSearch, *, top: bool = False) -> Iterator[ImageRef]:
    """Yield the images below a folder, sorted; skip hidden names. Hold the listing of one folder per level."""
    try:
        listing = attempt(lambda: system.ls(folder, detail=True))
    except ImageError as error:
        folder_name = redact_url(url if top else full_url(system, url, folder))
        words = "no such folder" if error.reason == "no such object" else f"cannot list this folder: {error.reason}"
        yield ImageRef(folder_name, folder_name, words)
        return
    for info in sorted(listing, key=lambda info: str(info["name"])):
        full = str(info["name"])
        last = posixpath.basename(full.rstrip("/"))
        if not last or last.startswith(".") or full.rstrip("/") == folder.rstrip("/"):
            continue
        name = full_url(system, url, full)
        if info.get("type") == "directory":
            if search.enters(name, url):
                yield from _walk(system, url, full, search)
        elif is_image_name(last) and search.takes(redact_url(name), redact_url(url)):
            yield _listed(name, info.get("size"))


def _listed(url: str, size: int | None) -> ImageRef:
    if size is not None and size > MAX_BYTES:
        return ImageRef(url, redact_url(url), f"{size / 1e9:.1f} GB, too large for an image")
    return ImageRef(url, redact_url(url), None, RemoteObject(url, size))
