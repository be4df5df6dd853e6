"""Read tar files in webdataset's form in place: scan the headers once, then read members by offset.

A member is an image by its suffix, as in folders. A member that is not a plain file, or whose name leads out of the
archive, is a failure of its own. Of a truncated archive, the complete members are used, and one failure is reported.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from clipcli.core.files import words_of
from clipcli.core.redaction import redact_url
from clipcli.errors import ImageError
from clipcli.inputs.sources.fetch import OpenFile, Stream, open_file
from clipcli.inputs.sources.filesystems import is_url
from clipcli.inputs.sources.refs import ImageRef
from clipcli.inputs.sources.suffixes import MAX_BYTES, is_image_name

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK: Final = 512
_LONGEST_HEADER: Final = 1 << 20
_LONG_HEADERS: Final = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
_INDEXED: Final = 4
"""Number of archives whose index of members is cached."""


@dataclass(frozen=True)
class TarMember:
    """A plain file in an archive."""

    archive: str
    offset: int
    size: int

    @property
    def is_remote(self) -> bool:
        """Return whether the archive is remote."""
        return is_url(self.archive)

    def read(self) -> bytes:
        """Return the member's bytes. Raises ImageError."""
        if self.size == 0:
            raise ImageError("read", "empty file")
        if self.size > MAX_BYTES:
            raise ImageError("read", f"{self.size / 1e9:.1f} GB, too large for an image")
        data = open_file(self.archive).read_at(self.offset, self.size)
        if len(data) != self.size:
            raise ImageError("read", f"the archive ends after {len(data):,} of {self.size:,} bytes")
        return data


@dataclass(frozen=True)
class TarEntry:
    """One header of an archive, or its problem."""

    name: str
    """The member's name; empty for a problem of the archive itself."""
    member: TarMember | None
    problem: str | None = None


def images(archive: str) -> Iterator[ImageRef]:
    """Yield the images and failures of an archive, in its order."""
    archive_name = redact_url(archive)
    for entry in entries(archive):
        if (ref := image_of(archive, archive_name, entry)) is not None:
            yield ref


def image_of(archive: str, archive_name: str, entry: TarEntry) -> ImageRef | None:
    """Return the reference or failure of an entry; None for other files. `archive_name` has no secrets."""
    if entry.member is None:
        return _failure(archive, archive_name, entry)
    if is_image_name(entry.name) and not is_hidden(entry.name):
        return ImageRef(f"{archive}/{entry.name}", f"{archive_name}/{entry.name}", None, entry.member)
    return None


def find_member(archive: str, name: str) -> TarMember:
    """Return a member by its name.

    Raises:
        ImageError: at stage `read`, there is no such member.
    """
    member = _index(archive, open_file(archive).size).get(name)
    if member is None:
        raise ImageError("read", f"no such member in {redact_url(archive)}")
    return member


@lru_cache(maxsize=_INDEXED)
def _index(archive: str, _size: int | None) -> dict[str, TarMember]:
    return {entry.name: entry.member for entry in entries(archive) if entry.member is not None}


def entries(archive: str) -> Iterator[TarEntry]:
    """Yield every file of an archive, without folders."""
    try:
        file = open_file(archive)
        if file.size is None:
            yield TarEntry("", None, "the server does not report its size, so its members cannot be read in place")
        else:
            yield from _read_headers(archive, file, file.size)
    except ImageError as error:
        yield TarEntry("", None, error.reason)


def _read_headers(archive: str, file: OpenFile, size: int) -> Iterator[TarEntry]:
    tar: tarfile.TarFile | None = None
    good = 0
    try:
        tar = tarfile.open(fileobj=Stream(file, size), mode="r:", tarinfo=_Header)  # noqa: SIM115 - closes nothing
        last_offset = -1
        while (info := tar.next()) is not None:
            if tar.offset <= last_offset or info.size < 0:
                yield TarEntry("", None, f"damaged after {good:,} files (a header leads back)")
                return
            last_offset = tar.offset
            tar.members = []  # type: ignore[attr-defined]  # a list of all headers would grow with the archive
            if info.offset_data + info.size > size and info.isreg():
                yield _cut(good, info.name)
                return
            if not info.isdir():
                yield _entry(archive, info)
                good += info.isreg()
    except tarfile.ReadError as error:
        yield _cut(good, "") if good or tar else TarEntry("", None, f"no tar file ({str(error).splitlines()[0]})")
    except ImageError:
        raise
    except Exception as error:  # noqa: BLE001 - tarfile raises anything for unexpected values
        yield TarEntry("", None, f"damaged after {good:,} files ({words_of(error)})")
    else:
        if file.read_at(tar.offset, _BLOCK) != bytes(_BLOCK):  # empty blocks mark the end
            yield _cut(good, "")


class _Header(tarfile.TarInfo):
    """A header whose extra data is read into memory only if it is short."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _LONG_HEADERS and not 0 <= self.size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes")
        return super()._proc_member(tar)  # type: ignore[misc, no-any-return]


def _entry(archive: str, info: tarfile.TarInfo) -> TarEntry:
    name = info.name.removeprefix("./")
    if name.startswith("/") or ".." in name.split("/"):
        return TarEntry(name, None, "a name that leads out of the archive")
    if info.issym() or info.islnk():
        return TarEntry(name, None, "a link, not a file")
    if not info.isreg():
        return TarEntry(name, None, "a device or pipe, not a file" if info.isdev() else "not a file")
    if info.issparse():
        return TarEntry(name, None, "a sparse file; pack it again without holes")
    return TarEntry(name, TarMember(archive, info.offset_data, info.size))


def _cut(good: int, name: str) -> TarEntry:
    location = f", in {name}" if name else ""
    return TarEntry("", None, f"the archive is cut off after {good:,} files{location}")


def _failure(archive: str, archive_name: str, entry: TarEntry) -> ImageRef:
    if not entry.name:
        return ImageRef(archive, archive_name, entry.problem)
    return ImageRef(f"{archive}/{entry.name}", f"{archive_name}/{entry.name}", entry.problem)


def is_hidden(name: str) -> bool:
    """Return whether the name of a member or of one of its folders begins with a dot."""
    return any(part.startswith(".") for part in name.split("/"))
