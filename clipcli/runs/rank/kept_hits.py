"""Hits besides their rows: thumbnails on the terminal (`--preview`), and copies of files or links to them."""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from clipcli.core.redaction import redact
from clipcli.errors import ImageError, OutputError
from clipcli.inputs.sources import locate
from clipcli.output.terminal_images import SLOT_PIXELS, Thumbnail, draw, why_none

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from PIL import Image

    from clipcli.core.console import Console
    from clipcli.inputs.sources import ByteSource
    from clipcli.runs.rank.rows import Hit, Result

_PREVIEWED = 24
"""Thumbnails of one query: a screen or two."""
_TRIES = 10_000
_LONGEST_STEM, _LONGEST_SUFFIX = 200, 16
"""Bytes of a file's name that are kept: with its number, it must fit into the 255 bytes that file systems allow."""
_NO_NAME = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
"""Characters that Windows does not allow in names and that are common in URLs."""
_IS_WINDOWS = os.name == "nt"
_NO_PRIVILEGE = 1314
"""Windows' error number for a user who may not create links."""
_WORDS = 40
"""Characters of a query that name its folder."""


@dataclass
class Preview:
    """Keeps the first hits of every query until they are shown."""

    console: Console
    orient: bool = True
    fetch: bool = False
    """True if URLs named by a vector file are fetched."""
    _results: list[tuple[str, tuple[Hit, ...], int]] = field(default_factory=list)
    _texts: bool = False

    def add(self, result: Result, kind: Literal["image", "text"]) -> None:
        """Add the hits of one query."""
        self._texts |= kind == "text"
        self._results.append((result.query.name, result.hits[:_PREVIEWED], len(result.hits)))

    def show(self) -> None:
        """Draw all thumbnails, or print the reason why none can be shown."""
        reason = "texts were searched" if self._texts else why_none()
        if reason is not None:
            self.console.info(f"no preview: {reason}")
            return
        for query, hits, count in self._results:
            if hits:
                more = f" (the first {_PREVIEWED} of {count:,})" if count > len(hits) else ""
                draw(query + more, [self._thumbnail(hit) for hit in hits])

    def _thumbnail(self, hit: Hit) -> Thumbnail:
        name = os.path.basename(hit.name) or hit.name  # noqa: PTH119 - any bytes included
        picture = None if hit.is_far and not self.fetch else self._picture(hit.path)
        return Thumbnail(picture, (f"{hit.rank}  {hit.score:.4f}" + ("" if picture else "  cannot be shown"), name))

    def _picture(self, path: str) -> Image.Image | None:
        from clipcli import images

        try:
            draft = (2 * SLOT_PIXELS, 2 * SLOT_PIXELS)
            picture = images.decode(images.read(path), orient=self.orient, draft=draft, rendering=images.ON_WHITE)
            picture.thumbnail((SLOT_PIXELS, SLOT_PIXELS))
            return picture.convert("RGB")
        except (ImageError, OSError, ValueError):
            return None


def check_folder(folder: str) -> None:
    """Refuse a folder that cannot be made or written, before hours of work.

    Raises:
        OutputError: the folder, or its nearest parent that exists, cannot be written.
    """
    if not folder:
        raise OutputError("the folder for hits has no name")
    parent = os.path.abspath(folder)  # noqa: PTH100 - paths are strings here, any bytes included
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)  # noqa: PTH120
    if not os.path.isdir(parent):  # noqa: PTH112
        raise OutputError(f"cannot make the folder {folder}: {parent} is not a folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write in the folder {parent}")


@dataclass(frozen=True)
class Keeper:
    """A folder for hits; with several queries it has one subfolder per query."""

    folder: str
    link: bool
    queries: int
    width: int
    """Digits of the numbers."""

    def keep(self, result: Result, hit: Hit) -> ImageError | None:
        """Copy or link one hit as `007-name.jpg`; return the error if its file cannot be read.

        Raises:
            OutputError: the folder cannot be written.
        """
        folder = self.folder
        if self.queries > 1:
            words = re.sub(r"[^\w-]+", "-", result.query.id or result.query.name)[:_WORDS].strip("-")
            folder = os.path.join(folder, f"{result.number:0{len(str(self.queries))}}-{words}")  # noqa: PTH118
        try:
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - paths are strings here, any bytes included
        except OSError as error:
            raise OutputError(f"cannot make the folder {folder}: {(error.strerror or str(error)).lower()}") from error
        stem, suffix = _file_name(hit.path)
        for turn in range(1, _TRIES):
            again = "" if turn == 1 else f".{turn}"
            target = os.path.join(folder, f"{hit.rank:0{self.width}}-{stem}{again}{suffix}")  # noqa: PTH118
            try:
                self._make(hit.path, target)
            except FileExistsError:
                continue
            except ImageError as error:
                return error
            except (FileNotFoundError, IsADirectoryError, shutil.SpecialFileError, PermissionError) as error:
                if os.path.isfile(hit.path) and os.access(hit.path, os.R_OK):  # noqa: PTH113
                    raise OutputError(f"cannot write {target}: {getattr(error, 'strerror', error)}".lower()) from error
                return ImageError("read", "no such file" if not os.path.exists(hit.path) else "cannot be copied")  # noqa: PTH110
            except OSError as error:
                hint = (
                    "--copy-to, or Windows' developer mode" if getattr(error, "winerror", 0) == _NO_PRIVILEGE else None
                )
                raise OutputError(
                    f"cannot write {target}: {(error.strerror or str(error)).lower()}", hint=hint
                ) from error
            return None
        raise OutputError(f"{folder} is full of hits of earlier runs", hint="name another folder")

    def _make(self, path: str, target: str) -> None:
        source = None if os.path.isfile(path) else locate(path)  # noqa: PTH113
        if source is not None:
            self._fetch(source, target)
            return
        if not os.path.isfile(path):  # noqa: PTH113
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        if self.link:
            os.symlink(os.path.abspath(path), target)  # noqa: PTH100, PTH211
            return
        with open(path, "rb") as original, _new_file(target) as copy:  # noqa: PTH123
            shutil.copyfileobj(original, copy)
        shutil.copystat(path, target)

    def _fetch(self, source: ByteSource, target: str) -> None:
        """Copy an image that is not a file of its own, such as a member of an archive or a URL."""
        if self.link:
            raise ImageError("read", "no file of its own, so nothing can link to it")
        data = source.read()
        with _new_file(target) as copy:
            copy.write(data)


@contextmanager
def _new_file(target: str) -> Iterator[IO[bytes]]:
    """Open a file that is not there yet; one that is not written to its end is removed. Raises OSError."""
    copy = open(target, "xb")  # noqa: PTH123, SIM115 - closed below
    try:
        with copy:
            yield copy
    except BaseException:
        with suppress(OSError):
            os.unlink(target)  # noqa: PTH108
        raise


def _file_name(path: str) -> tuple[str, str]:
    """Return stem and suffix of a hit's name, shortened and cleaned so that any file system accepts them."""
    name = os.path.basename(redact(path))  # noqa: PTH119 - paths are strings here, any bytes included
    if _IS_WINDOWS or locate(path) is not None:  # names of local files are valid already
        name = _NO_NAME.sub("_", name).rstrip(". ")
    stem, suffix = os.path.splitext(name)  # noqa: PTH122
    if len(os.fsencode(suffix)) > _LONGEST_SUFFIX:
        stem, suffix = name, ""
    while len(os.fsencode(stem)) > _LONGEST_STEM:
        stem = stem[:-1]
    return stem, suffix
