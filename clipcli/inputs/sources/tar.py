"""Read tar files in webdataset's form in place: scan the headers once, then read members by offset.

A member is an image by its suffix, as in folders. A member that is not a plain file, or whose name leads out of the
archive, is a failure of its own. Of a truncated archive, the complete members are used, and one failure is reported.

A caption belongs to the image with the same name up to the extension, the part after the **last** dot: `22.05.txt`
belongs to `22.05.png`. webdataset splits at the first dot, so one `s.txt` belongs to both `s.left.png` and
`s.right.png`; this also works here unless there is an image called `s`. `s.en.txt` beside `s.png` is a text with the
extension `en.txt`.
"""

from __future__ import annotations

import tarfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from clipcli.core.files import words_of
from clipcli.core.redaction import redact_url
from clipcli.errors import ImageError
from clipcli.inputs.sources.fetch import OpenFile, Stream, open_file
from clipcli.inputs.sources.filesystems import is_url
from clipcli.inputs.sources.refs import MAX_BYTES, ImageRef, is_image_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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


def captions(
    archive: str, extension: str, say: Callable[[str], object] | None = None
) -> Iterator[tuple[str, bytes | ImageError]]:
    """Yield name and bytes of the texts with an extension such as `txt`, in the archive's order.

    A failure has the name of the archive or member and takes its position.

    Args:
        archive: a file or URL.
        extension: without its first dot; case is ignored.
        say: gets a message with the number of images without text, if other images have one.
    """
    archive_name, names = redact_url(archive), _CaptionNames(f".{extension.lower()}")
    texts = list(names.sort_out(entries(archive)))
    for entry in texts:
        name = f"{archive_name}/{entry.name}" if entry.name else archive_name
        if entry.member is None:
            yield name, ImageError("read", entry.problem or "")
        elif names.is_caption(entry.name):
            yield name, _caption_bytes(entry)
    lost = [name for name in names.images.values() if not names.has_caption(name)]
    if say is not None and lost and names.texts:
        ending = f" and {len(lost) - 1:,} more" if len(lost) > 1 else ""
        count = f"{len(lost):,} of {len(names.images):,} images"
        say(f"{count} in {archive_name} have no .{extension} beside them: {lost[0]}{ending}")


def captioned_images(archive: str, extension: str) -> Iterator[tuple[ImageRef, bytes | ImageError | None]]:
    """Yield each image of an archive, in order, with the bytes of its text, or None if it has no text.

    If a name occurs several times, its first image is paired with its first text, and so on.

    Args:
        archive: a file or URL.
        extension: without its first dot; case is ignored.
    """
    archive_name, names = redact_url(archive), _CaptionNames(f".{extension.lower()}")
    members = list(entries(archive))
    texts: dict[str, list[TarEntry]] = defaultdict(list)
    for entry in list(names.sort_out(iter(members))):
        if entry.name.lower().endswith(names.ending) and names.is_caption(entry.name):
            texts[entry.name[: -len(names.ending)]].append(entry)
    times = Counter(entry.name for entry in members if is_image_name(entry.name))
    counts: Counter[str] = Counter()
    for entry in members:
        if entry.member is None and entry.name.lower().endswith(names.ending):
            continue  # its image has the failure
        if (ref := image_of(archive, archive_name, entry)) is not None:
            captions = texts.get(names.text_of(entry.name) or "", [])
            yield ref, _caption_among(captions, counts[entry.name], times[entry.name])
            counts[entry.name] += 1


def _caption_among(texts: Sequence[TarEntry], number: int, times: int) -> bytes | ImageError | None:
    """Return the text of the image that is number `number`, from 0, of `times` images of the same name."""
    if not texts:
        return None
    if len(texts) not in {1, times} or len(texts) < times:
        return ImageError("read", f"{len(texts)} texts and {times} images have this name, so they cannot be paired")
    entry = texts[number if len(texts) == times else 0]
    if entry.member is None:
        return ImageError("read", f"its text cannot be used: {entry.problem}")
    return _caption_bytes(entry)


@dataclass
class _CaptionNames:
    """The images and texts of an archive by stem: folder and name without the extension."""

    ending: str
    images: dict[str, str] = field(default_factory=dict)
    """Stem → name."""
    texts: set[str] = field(default_factory=set)
    """Stems."""

    def sort_out(self, members: Iterator[TarEntry]) -> Iterator[TarEntry]:
        """Record the names of images and texts; yield failures and possible texts."""
        for entry in members:
            if entry.member is None:
                if entry.name.lower().endswith(self.ending):
                    self.texts.add(entry.name[: -len(self.ending)])
                yield entry
            elif not is_hidden(entry.name):
                if entry.name.lower().endswith(self.ending):
                    self.texts.add(entry.name[: -len(self.ending)])
                    yield entry
                elif is_image_name(entry.name):
                    self.images[entry.name.rpartition(".")[0]] = entry.name

    def is_caption(self, name: str) -> bool:
        """Return whether the text has exactly this extension, not a longer one that ends in it."""
        stem = name[: -len(self.ending)]
        return stem in self.images or not any(shorter in self.images for shorter in shorter_stems(stem))

    def has_caption(self, image: str) -> bool:
        """Return whether the image has a text: its own, or one for a sample of several images."""
        return self.text_of(image) is not None

    def text_of(self, image: str) -> str | None:
        """Return the stem of an image's text, if it has one."""
        stem = image.rpartition(".")[0]
        if stem in self.texts:
            return stem
        return next((s for s in shorter_stems(stem) if s in self.texts and s not in self.images), None)


def shorter_stems(stem: str) -> Iterator[str]:
    """Yield the stem without its last dotted part, then without the last two, down to the first part."""
    folder, slash, last = stem.rpartition("/")
    parts = last.split(".")
    for count in range(len(parts) - 1, 0, -1):
        yield folder + slash + ".".join(parts[:count])


def _caption_bytes(entry: TarEntry) -> bytes | ImageError:
    assert entry.member is not None  # noqa: S101 - the caller has checked it
    try:
        return entry.member.read() if entry.member.size else b""
    except ImageError as error:
        return error
