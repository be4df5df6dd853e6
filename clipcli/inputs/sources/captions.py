"""Pair the images of a tar shard with their captions by name; names may contain dots.

A text belongs to the image with the same name up to the extension, the part after the **last** dot: `22.05.txt` belongs
to `22.05.png`. webdataset splits at the first dot, so one `s.txt` belongs to both `s.left.png` and `s.right.png`; this
also works here unless there is an image called `s`. `s.en.txt` beside `s.png` is a text with the extension `en.txt`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clipcli.core.redaction import redact_url
from clipcli.errors import ImageError
from clipcli.inputs.sources.suffixes import is_image_name
from clipcli.inputs.sources.tar import entries, image_of, is_hidden

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from clipcli.inputs.sources.refs import ImageRef
    from clipcli.inputs.sources.tar import TarEntry


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
    archive_name, names = redact_url(archive), _Names(f".{extension.lower()}")
    texts = list(names.sort_out(entries(archive)))
    for entry in texts:
        name = f"{archive_name}/{entry.name}" if entry.name else archive_name
        if entry.member is None:
            yield name, ImageError("read", entry.problem or "")
        elif names.is_caption(entry.name):
            yield name, _content(entry)
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
    archive_name, names = redact_url(archive), _Names(f".{extension.lower()}")
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
            yield ref, _text_among(captions, counts[entry.name], times[entry.name])
            counts[entry.name] += 1


def _text_among(texts: Sequence[TarEntry], number: int, times: int) -> bytes | ImageError | None:
    """Return the text of the image that is number `number`, from 0, of `times` images of the same name."""
    if not texts:
        return None
    if len(texts) not in {1, times} or len(texts) < times:
        return ImageError("read", f"{len(texts)} texts and {times} images have this name, so they cannot be paired")
    entry = texts[number if len(texts) == times else 0]
    if entry.member is None:
        return ImageError("read", f"its text cannot be used: {entry.problem}")
    return _content(entry)


@dataclass
class _Names:
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


def _content(entry: TarEntry) -> bytes | ImageError:
    assert entry.member is not None  # noqa: S101 - the caller has checked it
    try:
        return entry.member.read() if entry.member.size else b""
    except ImageError as error:
        return error
