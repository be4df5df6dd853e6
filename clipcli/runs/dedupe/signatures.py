"""Compute facts of pictures and compare pairs of them. Facts, verdicts and digests are cached between runs."""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from clipcli import images
from clipcli.cache import NoCache
from clipcli.core.devices import single_threaded_blas, usable_cores
from clipcli.errors import ImageError
from clipcli.images.decoder import identify, quantization_steps
from clipcli.images.digests import pixel_digest
from clipcli.images.thumbnails import COMPARED, glance, laid_on, shrunk
from clipcli.runs.dedupe.facts import VERDICTS, Facts, pack_likeness, unpack_likeness
from clipcli.runs.dedupe.workers import ComparisonWorkers
from clipcli.tasks.dedupe.detail import Detail, measure
from clipcli.tasks.dedupe.likeness import Likeness, Signature, compare_all, sign
from clipcli.tasks.dedupe.sheets import flat_share, is_coloured
from clipcli.tasks.dedupe.sketches import sketch_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from clipcli.cache import EmbeddingCache
    from clipcli.images.thumbnails import Glance
    from clipcli.runs.dedupe.image_files import Content

    _Advance = Callable[[int], object]

_MAX_BYTES: Final = 400_000_000
"""Most bytes of signatures in memory, of all workers, about 1,200 photos; others are computed again when needed."""
_BATCH: Final = 1024
_PAIRS_PER_BATCH: Final = 128
_SKETCH_PIXELS: Final = 160
"""Least side in pixels of the picture that a sketch is made from, if the file has them."""
_RULES_VERSION: Final = 8
"""Part of the cache key of verdicts: raise it whenever a verdict may change."""
_DIGEST_BYTES: Final = 32
_SECONDS_PER_CALL: Final = {"sketch": 0.0015, "signature": 0.005, "compare": 0.01, "detail": 0.008, "digest": 0.002}
"""Method → approximate seconds per call; worker processes start only for enough work."""
_NEED_SIGNATURES: Final = {"compare", "detail"}
"""Methods for which a worker keeps the signatures that it computes, so that each picture is opened once."""
_PER_CALL: Final = {"compare": 16}
"""Method → items per call, if it takes less time for several together."""
_MIN_WORK_S: Final = 1.0
_CHUNK_S: Final = 0.05
_Item = tuple[int, ...]


def _ignore(_count: int) -> None:
    pass


@dataclass(frozen=True)
class ImageSignature:
    """The signatures of a picture's frames: 20 to 500 kB, more for an animation."""

    frames: int
    signatures: tuple[Signature, ...]
    whole: bool = True
    """True if every page was read; otherwise two pictures are at most *edited*."""

    @property
    def nbytes(self) -> int:
        """Return the size in memory in bytes."""
        sheets = [signature.sheet for signature in self.signatures]
        return sum(sheet.grey.nbytes + sheet.colour.nbytes + sheet.descriptors.nbytes for sheet in sheets)


@dataclass
class SignatureReader:
    """Reads and compares pictures by the numbers of their contents."""

    contents: Sequence[Content] | dict[int, Content]
    cache: EmbeddingCache | NoCache
    turns: bool
    orient: bool = True
    rendering: images.Rendering = images.ON_WHITE
    max_pixels: int | None = None
    workers: int | None = None
    is_worker: bool = False
    max_bytes: int = _MAX_BYTES
    facts: dict[int, Facts] = field(default_factory=dict)
    errors: dict[int, ImageError] = field(default_factory=dict)
    """Content → the reason why it cannot be decoded, or no longer be read."""
    _signatures: OrderedDict[int, ImageSignature | None] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _pixels: dict[int, str] = field(default_factory=dict)
    _likenesses: dict[tuple[int, int], Likeness] = field(default_factory=dict)
    _looked_up: set[tuple[int, int]] = field(default_factory=set)
    """Pairs already looked up in the cache."""
    _work_s: float = 0.0
    """Approximate seconds of all calls so far."""
    _pool: ComparisonWorkers | None = None
    _may_start: bool = True

    def read(self, advance: _Advance) -> None:
        """Fill `facts` for every content, and `errors` for those that cannot be read."""
        space = self._space("facts/1")
        for start in range(0, len(self.contents), _BATCH):
            batch = range(start, min(start + _BATCH, len(self.contents)))
            known = self.cache.get_blobs(space, [self.contents[number].digest for number in batch])
            cached = {number: Facts.unpack(data) for number, data in zip(batch, known, strict=True) if data is not None}
            self.facts.update((number, facts) for number, facts in cached.items() if facts is not None)
            missing = [number for number in batch if number not in self.facts]
            advance(len(batch) - len(missing))
            for number, facts in zip(missing, self._map("sketch", _as_calls(missing), advance), strict=True):
                if facts is not None:
                    self.facts[number] = facts
            self.cache.put_blobs(
                space, [(self.contents[n].digest, self.facts[n].pack()) for n in missing if n in self.facts]
            )

    def learn(self, contents: dict[int, Content]) -> None:
        """Replace the contents by those that the next calls of a worker need. Signatures are kept."""
        self.contents = contents

    def prepare(self, numbers: Iterable[int]) -> None:
        """Compute the signatures of several contents in parallel, for later calls."""
        new = [number for number in dict.fromkeys(numbers) if number not in self._signatures]
        for number, signature in zip(new, self._map("signature", _as_calls(new)), strict=True):
            self._store(number, signature)

    def signature_of(self, number: int) -> ImageSignature | None:
        """Return the signature of a content, computed on first use; None if it can no longer be read."""
        if number not in self._signatures:
            self._store(number, self.signature(number))
        with suppress(KeyError):
            self._signatures.move_to_end(number)
        return self._signatures.get(number)

    def likeness(self, first: int, second: int) -> Likeness | None:
        """Return the comparison of two contents; None if one cannot be read."""
        key = min(first, second), max(first, second)
        if key not in self._likenesses:
            self.compare_all([key])
        return self._likenesses.get(key)

    def compare_all(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Compare pairs in parallel, or take them from the cache, for later calls of `likeness`."""
        keys = dict.fromkeys((min(pair), max(pair)) for pair in pairs)
        new = [key for key in keys if key not in self._likenesses]
        if new:
            self._read_cache(new)
            new = [key for key in new if key not in self._likenesses]
        for start in range(0, len(new), _PAIRS_PER_BATCH):
            batch = new[start : start + _PAIRS_PER_BATCH]
            compared = zip(batch, self._compare_batch(batch), strict=True)
            fresh = {pair: likeness for pair, likeness in compared if likeness is not None}
            self._likenesses.update(fresh)
            self.cache.put_blobs(
                self._space(f"pairs/{_RULES_VERSION}"),
                [(self._key(pair), pack_likeness(likeness)) for pair, likeness in fresh.items()],
            )

    def _compare_batch(self, pairs: Sequence[tuple[int, int]]) -> list[Likeness | None]:
        if not self._uses_processes("compare", pairs):  # each of them computes the signatures that it needs
            self.prepare(number for pair in pairs for number in pair)
        return self._map("compare", pairs)

    def answer(self, method: str, items: Sequence[_Item]) -> list[Any]:
        """Return the results of a method for some items, computed in this process."""
        return self.compare(items) if method == "compare" else [getattr(self, method)(*item) for item in items]

    def compare(self, pairs: Sequence[_Item]) -> list[Likeness | None]:
        """Compare pairs of contents, frame by frame; the worst frame decides. None if a content cannot be read.

        The lower digest comes first, so that the answer does not depend on the order of inputs.
        """
        ordered = [sorted(pair, key=lambda number: self.contents[number].digest) for pair in pairs]
        known = {number: self._known_signature(number) for number in dict.fromkeys(chain.from_iterable(ordered))}
        both = [[known[number] for number in pair] for pair in ordered]
        frames = [list(zip(a.signatures, b.signatures, strict=False)) if a and b else [] for a, b in both]
        likenesses = iter(compare_all(list(chain.from_iterable(frames))))
        by_pair = [list(islice(likenesses, len(some))) for some in frames]
        return [_worst(a, b, some) if a and b else None for (a, b), some in zip(both, by_pair, strict=True)]

    def _known_signature(self, number: int) -> ImageSignature | None:
        """Return a signature; only a worker, which has one thread, stores it here for later calls."""
        if self.is_worker:
            return self.signature_of(number)
        return self._signatures[number] if number in self._signatures else self.signature(number)

    def details(self, numbers: Sequence[int], advance: _Advance = _ignore) -> list[Detail | None]:
        """Return the detail of pictures at full size.

        None for animations, documents, and pictures that cannot be read.
        """
        space, keys = self._space("detail/1"), [self.contents[number].digest for number in numbers]
        cached = [Detail.unpack(data) for data in self.cache.get_blobs(space, keys)]
        missing = [number for number, detail in zip(numbers, cached, strict=True) if detail is None]
        advance(len(numbers) - len(missing))
        computed = dict(zip(missing, self._map("detail", _as_calls(missing), advance), strict=True))
        packed = {number: detail.pack() for number, detail in computed.items() if detail}
        self.cache.put_blobs(space, [(self.contents[number].digest, data) for number, data in packed.items()])
        return [detail or computed[number] for number, detail in zip(numbers, cached, strict=True)]

    def pixels(self, numbers: Sequence[int], advance: _Advance = _ignore) -> dict[int, str]:
        """Return content → digest of its full pixels; those that cannot be read are left out."""
        new = [number for number in numbers if number not in self._pixels]
        advance(len(numbers) - len(new))
        space = "pixels/1" + ("" if self.orient else "/unrotated")
        cached = self.cache.get_blobs(space, [self.contents[number].digest for number in new])
        known = ((number, data) for number, data in zip(new, cached, strict=True) if data is not None)
        self._pixels.update((number, data.hex()) for number, data in known if len(data) == _DIGEST_BYTES)
        missing = [number for number in new if number not in self._pixels]
        advance(len(new) - len(missing))
        computed = dict(zip(missing, self._map("digest", _as_calls(missing), advance), strict=True))
        self._pixels.update(computed)
        self.cache.put_blobs(
            space, [(self.contents[n].digest, bytes.fromhex(digest)) for n, digest in computed.items() if digest]
        )
        return {number: self._pixels[number] for number in numbers if self._pixels[number]}

    def close(self) -> None:
        """Stop the workers; later calls run in this process."""
        self._may_start = False
        if self._pool is not None:
            self._pool.close()

    @property
    def _limit(self) -> int:
        return self.max_pixels or images.DEFAULT_MAX_PIXELS

    def _space(self, kind: str) -> str:
        settings = ("" if self.orient else "/unrotated") + ("/turns" if self.turns and kind.startswith("pairs") else "")
        return f"{kind}/{self.rendering.name}{settings}"

    def _map(self, method: str, items: Sequence[_Item], advance: _Advance = _ignore) -> list[Any]:
        """Return the results of a method for all items, in order, computed on all cores."""
        count = self.workers or usable_cores()
        uses_workers = self._uses_processes(method, items)
        self._work_s += len(items) * _SECONDS_PER_CALL[method]
        most = _PER_CALL.get(method, int(_CHUNK_S / _SECONDS_PER_CALL[method]))
        size = max(1, min(most, -(-len(items) // (2 * count))))
        chunks = [items[start : start + size] for start in range(0, len(items), size)]
        results: list[Any] = []
        for chunk_results in self._call(method, chunks, count, uses_workers=uses_workers):
            results += chunk_results
            advance(len(chunk_results))
        return results

    def _call(
        self, method: str, chunks: list[Sequence[_Item]], count: int, *, uses_workers: bool
    ) -> Iterator[list[Any]]:
        """Yield the results for chunks of items: from workers, or from this process if a worker is lost."""
        if not chunks:
            return
        if uses_workers and self._pool is not None:
            answers = self._pool.map(method, chunks, self._contents_of, keeps=method in _NEED_SIGNATURES)
            for chunk, answer in zip(chunks, answers, strict=True):
                if answer is None:
                    self._may_start = False
                    yield self.answer(method, chunk)
                else:
                    self.errors.update(answer[1])
                    yield answer[0]
            return
        with single_threaded_blas(), ThreadPoolExecutor(count) as threads:
            yield from threads.map(lambda chunk: self.answer(method, chunk), chunks)

    def _contents_of(self, items: Sequence[_Item]) -> dict[int, Content]:
        return {number: self.contents[number].with_one_file() for item in items for number in item}

    def _uses_processes(self, method: str, items: Sequence[_Item]) -> bool:
        """Return whether workers run these calls: there is enough work, and all pictures are files."""
        if self._work_s + len(items) * _SECONDS_PER_CALL[method] < _MIN_WORK_S:
            return False
        numbers = {number for item in items for number in item}
        if not all(self.contents[number].files[0].state.is_file for number in numbers):
            return False  # archives and URLs are read by this process only
        if self._pool is None and self._may_start:
            self._start_workers(self.workers or usable_cores())
        return self._may_start

    def _start_workers(self, count: int) -> None:
        settings = {
            "contents": {}, "cache": NoCache(), "turns": self.turns, "orient": self.orient, "is_worker": True,
            "rendering": self.rendering, "max_pixels": self.max_pixels, "max_bytes": _MAX_BYTES // count,
        }  # fmt: skip
        self._pool = ComparisonWorkers(count, SignatureReader, settings)
        weakref.finalize(self, self._pool.close)
        try:
            self._may_start = count > 1 and self._pool.start()
        except OSError:
            self._may_start = False

    def _read_cache(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Read the verdicts of pairs that were not looked up before from the cache."""
        new = [pair for pair in pairs if pair not in self._looked_up]
        self._looked_up.update(new)
        for pair, data in zip(
            new, self.cache.get_blobs(self._space(f"pairs/{_RULES_VERSION}"), list(map(self._key, new))), strict=True
        ):
            likeness = unpack_likeness(data)
            if likeness is not None:
                self._likenesses[pair] = likeness

    def _key(self, pair: tuple[int, int]) -> str:
        digests = sorted(self.contents[number].digest for number in pair)
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def _store(self, number: int, signature: ImageSignature | None) -> None:
        if number in self._signatures:
            return
        self._signatures[number] = signature
        self._bytes += signature.nbytes if signature is not None else 0
        while self._bytes > self.max_bytes and len(self._signatures) > 1:
            _, old = self._signatures.popitem(last=False)
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
        """Return the facts of a picture; None, with an entry in `errors`, if it cannot be read."""
        glanced = self._glance(number, _SKETCH_PIXELS)
        if glanced is None:
            return None
        try:
            frames = [shrunk(laid_on(frame, self.rendering), 2 * _SKETCH_PIXELS) for frame in glanced.pictures]
        except ImageError as error:
            self.errors[number] = error.bare()
            return None
        grey = np.asarray(frames[0].convert("L"), np.uint8)
        coloured = any(map(is_coloured, frames))
        return Facts(glanced.width, glanced.height, glanced.frames, glanced.format, coloured, glanced.camera,
                     flat_share(grey), sketch_of(grey))  # fmt: skip

    def signature(self, number: int) -> ImageSignature | None:
        """Return the signature of a picture; None, with an entry in `errors`, if it cannot be read."""
        glanced = self._glance(number, COMPARED)
        if glanced is None:
            return None
        try:
            frames = [laid_on(frame, self.rendering) for frame in glanced.pictures]
        except ImageError as error:
            self.errors[number] = error.bare()
            return None
        size = glanced.height, glanced.width
        signatures = tuple(sign(frame, turns=self.turns, pixels=size) for frame in frames)
        return ImageSignature(glanced.frames, signatures, glanced.whole)

    def detail(self, number: int) -> Detail | None:
        """Return the detail of a picture at full size; None for animations, and if it cannot be read."""
        known = self.signature_of(number)
        if known is None or known.frames > 1:
            return None
        try:
            data = images.read(self.contents[number].files[0].path)
            header = identify(data, self._limit)
            steps = quantization_steps(header)
            picture = images.decode(data, orient=self.orient, max_pixels=self._limit, opened=header)
            return measure(laid_on(picture, self.rendering), known.signatures[0].sheet, steps)
        except ImageError:
            return None

    def digest(self, number: int) -> str:
        """Return the digest of a picture's full pixels; empty if it cannot be read."""
        try:
            data = images.read(self.contents[number].files[0].path)
            return pixel_digest(data, orient=self.orient, max_pixels=self._limit)
        except ImageError:
            return ""


def _as_calls(numbers: Iterable[int]) -> list[tuple[int]]:
    return [(number,) for number in numbers]


def _worst(first: ImageSignature, second: ImageSignature, frames: Sequence[Likeness]) -> Likeness:
    """Return the comparison of two documents or animations from that of their frames."""
    worst = min(frames, key=lambda likeness: (VERDICTS.index(likeness.verdict), likeness.structure))
    if first.frames != second.frames:
        return worst._replace(verdict="other")
    return worst if (first.whole and second.whole) or worst.verdict != "near" else worst._replace(verdict="edited")
