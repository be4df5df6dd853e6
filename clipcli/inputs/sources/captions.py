"""Captions of the images of a tar shard, paired by name; names may contain dots.

A text belongs to the image whose name it has up to the extension, the part behind the **last** dot: `22.05.txt` to
`22.05.png`. webdataset cuts at the first dot instead, so that one `s.txt` stands for `s.left.png` and `s.right.png`;
that is followed where no image is called `s` alone. `s.en.txt` beside `s.png` is a text of another extension, `en.txt`.
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
    """Name and bytes of the texts with an extension such as `txt`, in the archive's order.

    Failures have the archive's or member's name and come in their place.

    Args:
        archive: a file or URL.
        extension: without its first dot; capitals do not matter.
        say: is told how many images have no text, if any have one.
    """
    shown, names = redact_url(archive), _Names(f".{extension.lower()}")
    texts = list(names.sort_out(entries(archive)))
    for entry in texts:
        name = f"{shown}/{entry.name}" if entry.name else shown
        if entry.member is None:
            yield name, ImageError("read", entry.problem or "")
        elif names.is_caption(entry.name):
            yield name, _content(entry)
    lost = [name for name in names.images.values() if not names.has_caption(name)]
    if say is not None and lost and names.texts:
        more = f" and {len(lost) - 1:,} more" if len(lost) > 1 else ""
        count = f"{len(lost):,} of {len(names.images):,} images"
        say(f"{count} in {shown} have no .{extension} beside them: {lost[0]}{more}")


def captioned_images(archive: str, extension: str) -> Iterator[tuple[ImageRef, bytes | ImageError | None]]:
    """Yield each image of an archive, in order, with the bytes of its text; None where it has none.

    Where a name stands in an archive several times, its first image has its first text, and so on.

    Args:
        archive: a file or URL.
        extension: without its first dot; capitals do not matter.
    """
    shown, names = redact_url(archive), _Names(f".{extension.lower()}")
    every = list(entries(archive))
    texts: dict[str, list[TarEntry]] = defaultdict(list)
    for entry in list(names.sort_out(iter(every))):
        if entry.name.lower().endswith(names.ending) and names.is_caption(entry.name):
            texts[entry.name[: -len(names.ending)]].append(entry)
    times = Counter(entry.name for entry in every if is_image_name(entry.name))
    seen: Counter[str] = Counter()
    for entry in every:
        if entry.member is None and entry.name.lower().endswith(names.ending):
            continue  # its image has the failure
        if (ref := image_of(archive, shown, entry)) is not None:
            own = texts.get(names.text_of(entry.name) or "", [])
            yield ref, _text_among(own, seen[entry.name], times[entry.name])
            seen[entry.name] += 1


def _text_among(texts: Sequence[TarEntry], number: int, times: int) -> bytes | ImageError | None:
    """Return the text of an image whose name stands in its archive so many times, counted from 0."""
    if not texts:
        return None
    if len(texts) not in {1, times} or len(texts) < times:
        return ImageError("read", f"{len(texts)} texts and {times} images have this name, so that none is its own")
    entry = texts[number if len(texts) == times else 0]
    return ImageError("read", f"its text is unusable: {entry.problem}") if entry.member is None else _content(entry)


@dataclass
class _Names:
    """The images and texts of an archive by their stems: folder and name without the extension."""

    ending: str
    images: dict[str, str] = field(default_factory=dict)
    """Stem → name."""
    texts: set[str] = field(default_factory=set)
    """Stems."""

    def sort_out(self, found: Iterator[TarEntry]) -> Iterator[TarEntry]:
        """Remember names; give back failures and what may be a text."""
        for entry in found:
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
        """Return whether the extension begins where the text's own name ends, and is not the end of a longer one."""
        stem = name[: -len(self.ending)]
        return stem in self.images or not any(shorter in self.images for shorter in shorter_stems(stem))

    def has_caption(self, image: str) -> bool:
        """Return whether a text stands for the image: its own, or that of a sample of several images."""
        return self.text_of(image) is not None

    def text_of(self, image: str) -> str | None:
        """Return the stem of the text that stands for an image, if there is one."""
        stem = image.rpartition(".")[0]
        if stem in self.texts:
            return stem
        return next((s for s in shorter_stems(stem) if s in self.texts and s not in self.images), None)


def shorter_stems(stem: str) -> Iterator[str]:
    """Yield the stem without its last dotted part, then without the last two, and so on; never without its first."""
    folder, slash, last = stem.rpartition("/")
    parts = last.split(".")
    for count in range(len(parts) - 1, 0, -1):
        yield folder + slash + ".".join(parts[:count])


def _content(entry: TarEntry) -> bytes | ImageError:
    assert entry.member is not None  # noqa: S101 - the caller looked
    try:
        return entry.member.read() if entry.member.size else b""
    except ImageError as error:
        return error
