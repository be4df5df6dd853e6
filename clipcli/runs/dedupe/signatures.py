"""Compute facts of pictures and compare pairs. Facts, verdicts and digests are cached between runs."""

from __future__ import annotations

import hashlib
import struct
import weakref
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from clipcli import images
from clipcli.cache import NoCache
from clipcli.core.devices import single_threaded_blas, usable_cores
from clipcli.errors import ImageError
from clipcli.images.digests import pixel_digest
from clipcli.images.thumbnails import COMPARED, glance, laid_on
from clipcli.runs.dedupe.facts import Facts
from clipcli.runs.dedupe.workers import ComparisonWorkers, WorkerLostError
from clipcli.tasks.dedupe.detail import Spectrum, spectrum
from clipcli.tasks.dedupe.likeness import Likeness, Signature, Verdict, compare, sign
from clipcli.tasks.dedupe.sheets import flat_share, is_coloured
from clipcli.tasks.dedupe.sketches import sketch_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from clipcli.cache import EmbeddingCache
    from clipcli.images.thumbnails import Glance
    from clipcli.runs.dedupe.image_files import Content

_REMEMBERED: Final = 400_000_000
"""Bytes of looks in memory at once, about 1,200 photos; others are opened again when they are due."""
_AT_ONCE: Final = 1024
_PAIRS_AT_ONCE: Final = 128
_SURE: Final[tuple[Verdict, ...]] = ("other", "edited", "near")
_SKETCHED: Final = 160
"""Pixels a side that a sketch is made from, at least, where the file has them."""
_RULES: Final = 7
"""Raised whenever a verdict on two pictures may change, so that old ones are not taken for new ones."""
_VERDICT: Final = struct.Struct("<BHdBd")
_SPECTRUM: Final = struct.Struct("<20dqd4d")
_DIGEST_BYTES: Final = 32
_SECONDS: Final = {"sketch": 0.0015, "signature": 0.005, "compare": 0.01, "spectrum": 0.004, "digest": 0.002}
"""What a call takes, about, by the name of the method: workers must be worth their start."""
_BY_SIGNATURE: Final = {"compare", "spectrum"}
"""Those for which a worker is given signatures, so that each picture is opened once."""
_WORTH_S: Final = 1.0
_CHUNK_S: Final = 0.05
_Item = tuple[int, ...]


def _nothing(_count: int) -> None:
    pass


@dataclass(frozen=True)
class ImageSignature:
    """What is compared of a picture: 20 to 500 kB, more for an animation."""

    frames: int
    signatures: tuple[Signature, ...]
    whole: bool = True
    """Whether every page was looked at: what was not cannot be called the same."""

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(one.sheet.grey.nbytes + one.sheet.colour.nbytes + one.sheet.looks.nbytes for one in self.signatures)


@dataclass
class SignatureReader:
    """Looks at contents by their number."""

    contents: Sequence[Content] | dict[int, Content]
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
    _likenesses: dict[tuple[int, int], Likeness] = field(default_factory=dict)
    _asked: set[tuple[int, int]] = field(default_factory=set)
    """Pairs that were looked up in the cache."""
    _due_s: float = 0.0
    """What all calls so far cost, about."""
    _pool: ComparisonWorkers | None = None
    _may_start: bool = True

    def read(self, advance: Callable[[int], object]) -> None:
        """Fill `facts` for every content, and `errors` for those that cannot be read."""
        space = self._space("facts/1")
        for start in range(0, len(self.contents), _AT_ONCE):
            some = range(start, min(start + _AT_ONCE, len(self.contents)))
            known = self.cache.get_blobs(space, [self.contents[number].digest for number in some])
            kept = {number: Facts.unpack(data) for number, data in zip(some, known, strict=True) if data is not None}
            self.facts.update((number, facts) for number, facts in kept.items() if facts is not None)
            fresh = [number for number in some if number not in self.facts]
            advance(len(some) - len(fresh))
            for number, facts in zip(fresh, self._map("sketch", _each(fresh), advance), strict=True):
                if facts is not None:
                    self.facts[number] = facts
            self.cache.put_blobs(
                space, [(self.contents[n].digest, self.facts[n].pack()) for n in fresh if n in self.facts]
            )

    def learn(self, contents: dict[int, Content], looks: dict[int, ImageSignature | None]) -> None:
        """Take over, in a worker, what a call needs; what an earlier call needed is forgotten."""
        self.contents, self._looks = contents, OrderedDict(looks)

    def prepare(self, numbers: Iterable[int]) -> None:
        """Look at several in parallel, so that what follows finds them done."""
        new = [number for number in dict.fromkeys(numbers) if number not in self._looks]
        for number, look in zip(new, self._map("signature", _each(new)), strict=True):
            self._remember(number, look)

    def look(self, number: int) -> ImageSignature | None:
        """One content; None when it can no longer be read."""
        if number not in self._looks:
            self._remember(number, self.signature(number))
        with suppress(KeyError):
            self._looks.move_to_end(number)
        return self._looks.get(number)

    def likeness(self, one: int, other: int) -> Likeness | None:
        """Return whether two contents show the same picture; None when one cannot be looked at."""
        key = min(one, other), max(one, other)
        if key not in self._likenesses:
            self.compare_all([key])
        return self._likenesses.get(key)

    def compare_all(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Compare pairs in parallel, or take what an earlier run kept, so that `likeness` finds them done."""
        keys = dict.fromkeys((min(pair), max(pair)) for pair in pairs)
        new = [key for key in keys if key not in self._likenesses]
        self._recall(new)
        new = [key for key in new if key not in self._likenesses]
        for start in range(0, len(new), _PAIRS_AT_ONCE):
            some = new[start : start + _PAIRS_AT_ONCE]
            compared = zip(some, self._compared_all(some), strict=True)
            fresh = {pair: likeness for pair, likeness in compared if likeness is not None}
            self._likenesses.update(fresh)
            self.cache.put_blobs(
                self._space(f"pairs/{_RULES}"), [(self._key(pair), _packed(one)) for pair, one in fresh.items()]
            )

    def _compared_all(self, pairs: Sequence[tuple[int, int]]) -> list[Likeness | None]:
        self.prepare(number for pair in pairs for number in pair)
        return self._map("compare", pairs)

    def compare(self, one: int, other: int) -> Likeness | None:
        """Return whether two contents show the same picture, or the same moving one; None when one cannot be looked at.

        The lower digest comes first, so that the answer does not depend on the order of inputs.
        """
        first, second = sorted((one, other), key=lambda number: self.contents[number].digest)
        a, b = (self._looks.get(number) or self.signature(number) for number in (first, second))
        if a is None or b is None:
            return None
        found = [compare(s, t) for s, t in zip(a.signatures, b.signatures, strict=False)]
        worst = min(found, key=lambda likeness: (_SURE.index(likeness.verdict), likeness.structure))
        if a.frames != b.frames:
            return worst._replace(verdict="other")
        return worst if (a.whole and b.whole) or worst.verdict != "near" else worst._replace(verdict="edited")

    def spectra(self, numbers: Sequence[int]) -> list[Spectrum | None]:
        """Return what pictures hold at full size.

        None for those that cannot be read, and for animations and documents.
        """
        space, keys = self._space("spectrum/2"), [self.contents[number].digest for number in numbers]
        kept = [_spectrum_of(data) for data in self.cache.get_blobs(space, keys)]
        new = [number for number, one in zip(numbers, kept, strict=True) if one is None]
        made = dict(zip(new, self._map("spectrum", _each(new)), strict=True))
        packed = {n: _SPECTRUM.pack(*one.power, one.pixels, one.waste, *one.tone) for n, one in made.items() if one}
        self.cache.put_blobs(space, [(self.contents[number].digest, data) for number, data in packed.items()])
        return [one or made[number] for number, one in zip(numbers, kept, strict=True)]

    def pixels(self, numbers: Sequence[int], advance: Callable[[int], object] = _nothing) -> dict[int, str]:
        """Digests of the full pixels of some contents; those that cannot be read are left out."""
        new = [number for number in numbers if number not in self._pixels]
        advance(len(numbers) - len(new))
        space = "pixels/1" + ("" if self.orient else "/unrotated")
        kept = self.cache.get_blobs(space, [self.contents[number].digest for number in new])
        whole = (pair for pair in zip(new, kept, strict=True) if pair[1] is not None and len(pair[1]) == _DIGEST_BYTES)
        self._pixels.update((number, data.hex()) for number, data in whole if data is not None)
        fresh = [number for number in new if number not in self._pixels]
        advance(len(new) - len(fresh))
        made = dict(zip(fresh, self._map("digest", _each(fresh), advance), strict=True))
        self._pixels.update(made)
        self.cache.put_blobs(
            space, [(self.contents[n].digest, bytes.fromhex(digest)) for n, digest in made.items() if digest]
        )
        return {number: self._pixels[number] for number in numbers if self._pixels[number]}

    def close(self) -> None:
        """End the workers, if there are any; what is asked for later is done in this process."""
        self._may_start = False
        if self._pool is not None:
            self._pool.close()

    @property
    def _limit(self) -> int:
        return self.max_pixels or images.DEFAULT_MAX_PIXELS

    def _space(self, what: str) -> str:
        ways = ("" if self.orient else "/unrotated") + ("/turns" if self.turns and what.startswith("pairs") else "")
        return f"{what}/{self.rendering.name}{ways}"

    def _map(self, method: str, items: Sequence[_Item], advance: Callable[[int], object] = _nothing) -> list[Any]:
        """Return what a method answers to all items, in their order, on every core."""
        count = self.workers or usable_cores()
        apart = self._uses_processes(method, items)
        self._due_s += len(items) * _SECONDS[method]
        size = max(1, min(int(_CHUNK_S / _SECONDS[method]), -(-len(items) // count))) if apart else 1
        chunks = [items[start : start + size] for start in range(0, len(items), size)]
        results: list[Any] = []
        if items:
            with single_threaded_blas(), ThreadPoolExecutor(count) as threads:
                for chunk in threads.map(lambda some: self._call(method, some, apart=apart), chunks):
                    results += chunk
                    advance(len(chunk))
        return results

    def _call(self, method: str, items: Sequence[_Item], *, apart: bool) -> list[Any]:
        """Return what a method answers to some items; from a worker, unless none is wanted or it is lost."""
        if apart and self._pool is not None:
            numbers = {number for item in items for number in item}
            known = {number: self.contents[number].with_one_file() for number in numbers}
            looks = {number: self._looks[number] for number in numbers & self._looks.keys()}
            try:
                results, errors = self._pool.call(method, items, (known, looks if method in _BY_SIGNATURE else {}))
            except WorkerLostError:
                self._may_start = False
            else:
                self.errors.update(errors)
                return results
        return [getattr(self, method)(*item) for item in items]

    def _uses_processes(self, method: str, items: Sequence[_Item]) -> bool:
        """Return whether workers take these calls: they are worth their start, and all pictures are files."""
        if self._due_s + len(items) * _SECONDS[method] < _WORTH_S:
            return False
        numbers = {number for item in items for number in item}
        if not all(self.contents[number].files[0].state.is_file for number in numbers):
            return False  # what is in an archive or far away is read by this process alone
        if self._pool is None and self._may_start:
            self._start_workers(self.workers or usable_cores())
        return self._may_start

    def _start_workers(self, count: int) -> None:
        settings = {
            "contents": {}, "cache": NoCache(), "turns": self.turns, "orient": self.orient,
            "rendering": self.rendering, "max_pixels": self.max_pixels, "workers": 1,
        }  # fmt: skip
        self._pool = ComparisonWorkers(count, SignatureReader, settings)
        weakref.finalize(self, self._pool.close)
        try:
            self._may_start = count > 1 and self._pool.start()
        except OSError:
            self._may_start = False

    def _recall(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Take verdicts from the cache that were not looked up before."""
        new = [pair for pair in pairs if pair not in self._asked]
        self._asked.update(new)
        for pair, data in zip(
            new, self.cache.get_blobs(self._space(f"pairs/{_RULES}"), list(map(self._key, new))), strict=True
        ):
            likeness = _likeness_of(data)
            if likeness is not None:
                self._likenesses[pair] = likeness

    def _key(self, pair: tuple[int, int]) -> str:
        digests = sorted(self.contents[number].digest for number in pair)
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def _remember(self, number: int, look: ImageSignature | None) -> None:
        if number in self._looks:
            return
        self._looks[number] = look
        self._bytes += look.nbytes if look is not None else 0
        while self._bytes > _REMEMBERED and len(self._looks) > 1:
            _, old = self._looks.popitem(last=False)
            self._bytes -= old.nbytes if old is not None else 0

    def _glance(self, number: int, least: int) -> Glance | None:
        try:
            data = images.read(self.contents[number].files[0].path)
            return glance(
                data, orient=self.orient, rendering=images.Rendering(bare=True), max_pixels=self._limit, least=least
            )
        except ImageError as error:
            self.errors[number] = error.bare()
            return None

    def sketch(self, number: int) -> Facts | None:
        """Read the facts of a picture; None, with an entry in `errors`, when it cannot be read."""
        seen = self._glance(number, _SKETCHED)
        if seen is None:
            return None
        try:
            pictures = [_shrunk(laid_on(picture, self.rendering)) for picture in seen.pictures]
        except ImageError as error:
            self.errors[number] = error.bare()
            return None
        grey = np.asarray(pictures[0].convert("L"), np.uint8)
        coloured = any(map(is_coloured, pictures))
        return Facts(seen.width, seen.height, seen.frames, seen.format, coloured, seen.camera, flat_share(grey),
                     sketch_of(grey))  # fmt: skip

    def signature(self, number: int) -> ImageSignature | None:
        """Read what is compared of a picture; None, with an entry in `errors`, when it cannot be read."""
        seen = self._glance(number, COMPARED)
        if seen is None:
            return None
        try:
            pictures = [laid_on(picture, self.rendering) for picture in seen.pictures]
        except ImageError as error:
            self.errors[number] = error.bare()
            return None
        size = seen.height, seen.width
        signatures = tuple(sign(picture, turns=self.turns, pixels=size) for picture in pictures)
        return ImageSignature(seen.frames, signatures, seen.whole)

    def spectrum(self, number: int) -> Spectrum | None:
        """Read what a picture holds at full size; None for animations, and when it cannot be read."""
        look = self.look(number)
        if look is None or look.frames > 1:
            return None
        try:
            data = images.read(self.contents[number].files[0].path)
            picture = images.decode(data, orient=self.orient, max_pixels=self._limit)
            grey = np.asarray(laid_on(picture, self.rendering).convert("L"), np.uint8)
        except ImageError:
            return None
        return spectrum(grey, look.signatures[0].sheet)

    def digest(self, number: int) -> str:
        """Return the digest of a picture's full pixels; empty when it cannot be read."""
        try:
            data = images.read(self.contents[number].files[0].path)
            return pixel_digest(data, orient=self.orient, max_pixels=self._limit)
        except ImageError:
            return ""


def _each(numbers: Iterable[int]) -> list[tuple[int]]:
    return [(number,) for number in numbers]


def _shrunk(picture: Image.Image) -> Image.Image:
    """At most 320 pixels a side: enough for a sketch."""
    share = 2 * _SKETCHED / max(picture.size)
    if share >= 1:
        return picture
    size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    return picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def _packed(likeness: Likeness) -> bytes:
    verdict = _SURE.index(likeness.verdict)
    return _VERDICT.pack(verdict, likeness.distance, likeness.structure, likeness.turn, likeness.peak)


def _likeness_of(data: bytes | None) -> Likeness | None:
    if data is None or len(data) != _VERDICT.size:
        return None
    verdict, distance, structure, turn, peak = _VERDICT.unpack(data)
    return Likeness(_SURE[verdict], distance, structure, turn, peak) if verdict < len(_SURE) else None


def _spectrum_of(data: bytes | None) -> Spectrum | None:
    if data is None or len(data) != _SPECTRUM.size:
        return None
    values = _SPECTRUM.unpack(data)
    return Spectrum(np.array(values[:20]), int(values[20]), values[21], np.array(values[22:]))
