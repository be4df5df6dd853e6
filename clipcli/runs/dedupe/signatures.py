"""Pictures read again, small, to be compared with each other. Hashes are remembered between runs, pictures are not."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from clipcli import images
from clipcli.core.devices import usable_cores
from clipcli.errors import ImageError
from clipcli.images.digests import pixel_digest
from clipcli.images.thumbnails import glance, laid_on
from clipcli.tasks.dedupe.detail import Spectrum, spectrum
from clipcli.tasks.dedupe.likeness import Likeness, Signature, compare, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from clipcli.cache import EmbeddingCache, NoCache
    from clipcli.runs.dedupe.image_files import Content
    from clipcli.tasks.dedupe.join_rows import Bits

_REMEMBERED: Final = 400_000_000
"""Bytes of looks in memory at once, about 1,200 photos; others are opened again when they are due."""
_AT_ONCE: Final = 1024
_SURE: Final = ("other", "edited", "near")


@dataclass(frozen=True)
class ImageSignature:
    """What is known of a picture: 20 to 500 kB, more for an animation."""

    width: int
    height: int
    format: str
    frames: int
    signatures: tuple[Signature, ...]
    camera: bool = False
    """Whether it says which camera took it."""
    whole: bool = True
    """Whether every page was looked at: what was not cannot be called the same."""

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(one.sheet.grey.nbytes + one.sheet.colour.nbytes + one.sheet.looks.nbytes for one in self.signatures)


@dataclass(frozen=True)
class Facts:
    """The same without the picture, kept for all that were looked at."""

    width: int
    height: int
    format: str
    frames: int
    coloured: bool
    camera: bool = False

    @property
    def size(self) -> tuple[int, int, int]:
        """Width, height and frames: what copies in other containers share."""
        return self.width, self.height, self.frames


@dataclass
class SignatureReader:
    """Looks at contents by their number."""

    contents: Sequence[Content]
    cache: EmbeddingCache | NoCache
    turns: bool
    orient: bool = True
    rendering: images.Rendering = images.ON_WHITE
    max_pixels: int | None = None
    workers: int | None = None
    facts: dict[int, Facts] = field(default_factory=dict)
    errors: dict[int, ImageError] = field(default_factory=dict)
    """Contents that are no image, or are gone."""
    _looks: OrderedDict[int, ImageSignature | None] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _pixels: dict[int, str] = field(default_factory=dict)

    def hashes(self, advance: Callable[[int], object]) -> Bits:
        """The hash of every content, (contents, 32 or 8 × 32) uint8, zeros for `errors`."""
        width = 32 * (8 if self.turns else 1)
        space = f"looks/2/{width}/{self.rendering.name}" + ("" if self.orient else "/unrotated")
        bits = np.zeros((len(self.contents), width), np.uint8)
        for start in range(0, len(self.contents), _AT_ONCE):
            some = range(start, min(start + _AT_ONCE, len(self.contents)))
            known = self.cache.get(space, [self.contents[number].digest for number in some])
            fresh = [number for number, vector in zip(some, known, strict=True) if vector is None]
            self.prepare(fresh, advance)
            for number, vector in zip(some, known, strict=True):
                look = self.look(number) if vector is None else None
                if vector is not None:
                    bits[number] = vector.astype(np.uint8)
                elif look is not None:
                    bits[number] = look.signatures[0].hashes.ravel()
            made = [(self.contents[n].digest, bits[n].astype(np.float32)) for n in fresh if n not in self.errors]
            self.cache.put(space, made)
            advance(len(some) - len(fresh))
        return bits

    def prepare(self, numbers: Iterable[int], advance: Callable[[int], object] = lambda _n: None) -> None:
        """ImageSignature at several in parallel, so that what follows finds them done."""
        new = [number for number in numbers if number not in self._looks]
        if not new:
            return
        with ThreadPoolExecutor(self.workers or usable_cores()) as pool:
            for start in range(0, len(new), _AT_ONCE):
                some = new[start : start + _AT_ONCE]
                for number, look in zip(some, pool.map(self._open, some), strict=True):
                    self._remember(number, look)
                    advance(1)

    def look(self, number: int) -> ImageSignature | None:
        """One content; None when it can no longer be read."""
        if number not in self._looks:
            self._remember(number, self._open(number))
        self._looks.move_to_end(number)
        return self._looks[number]

    def compare(self, one: int, other: int) -> Likeness | None:
        """Whether two contents show the same picture, or the same moving one; None when one cannot be looked at.

        The lower digest comes first, so that the answer does not depend on the order of inputs.
        """
        first, second = sorted((one, other), key=lambda number: self.contents[number].digest)
        a, b = self.look(first), self.look(second)
        if a is None or b is None:
            return None
        found = [compare(s, t) for s, t in zip(a.signatures, b.signatures, strict=False)]
        worst = min(found, key=lambda likeness: (_SURE.index(likeness.verdict), likeness.structure))
        if a.frames != b.frames:
            return worst._replace(verdict="other")
        return worst if (a.whole and b.whole) or worst.verdict != "near" else worst._replace(verdict="edited")

    def spectra(self, numbers: Sequence[int]) -> list[Spectrum | None]:
        """What pictures hold at full size; None for those that cannot be read, and for animations and documents."""
        with ThreadPoolExecutor(self.workers or usable_cores()) as pool:
            return list(pool.map(self._spectrum, numbers))

    def _spectrum(self, number: int) -> Spectrum | None:
        look = self.look(number)
        if look is None or look.frames > 1:
            return None
        try:
            data = images.read(self.contents[number].files[0].path)
            picture = images.decode(data, orient=self.orient, max_pixels=self._limit)
            grey = np.asarray(laid_on(picture, self.rendering).convert("L"), np.uint8)
        except ImageError:
            return None
        return spectrum(grey, look.signatures[0].sheet.stretches[-1])

    def pixels(self, numbers: Sequence[int], advance: Callable[[int], object] = lambda _n: None) -> dict[int, str]:
        """Digests of the full pixels of some contents; those that cannot be read are left out."""
        new = [number for number in numbers if number not in self._pixels]
        advance(len(numbers) - len(new))
        with ThreadPoolExecutor(self.workers or usable_cores()) as pool:
            for number, digest in zip(new, pool.map(self._digest, new), strict=True):
                self._pixels[number] = digest
                advance(1)
        return {number: self._pixels[number] for number in numbers if self._pixels[number]}

    @property
    def _limit(self) -> int:
        return self.max_pixels or images.DEFAULT_MAX_PIXELS

    def _remember(self, number: int, look: ImageSignature | None) -> None:
        if number in self._looks:
            return
        self._looks[number] = look
        if look is not None:
            coloured = any(signature.coloured for signature in look.signatures)
            self.facts[number] = Facts(look.width, look.height, look.format, look.frames, coloured, look.camera)
            self._bytes += look.nbytes
        while self._bytes > _REMEMBERED and len(self._looks) > 1:
            _, old = self._looks.popitem(last=False)
            self._bytes -= old.nbytes if old is not None else 0

    def _open(self, number: int) -> ImageSignature | None:
        try:
            data = images.read(self.contents[number].files[0].path)
            seen = glance(data, orient=self.orient, rendering=images.Rendering(bare=True), max_pixels=self._limit)
        except ImageError as error:
            self.errors[number] = error.bare()
            return None
        size = seen.height, seen.width
        pictures = [laid_on(picture, self.rendering) for picture in seen.pictures]
        signatures = tuple(sign(picture, turns=self.turns, pixels=size) for picture in pictures)
        return ImageSignature(seen.width, seen.height, seen.format, seen.frames, signatures, seen.camera, seen.whole)

    def _digest(self, number: int) -> str:
        try:
            data = images.read(self.contents[number].files[0].path)
            return pixel_digest(data, orient=self.orient, max_pixels=self._limit)
        except ImageError:
            return ""
