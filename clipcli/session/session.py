"""The session, the only path to vectors: read → cache → decode → preprocess → encode → unit length.

Images, parts of images, texts and labels become vectors here.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from clipcli.cache import MODEL_NOTE, EmbeddingCache, NoCache
from clipcli.core.devices import usable_cores
from clipcli.core.encoder import require_several
from clipcli.core.vectors import ensemble
from clipcli.errors import ImageError
from clipcli.images import read_ref
from clipcli.images.preprocess import to_pixels
from clipcli.models.model import Model
from clipcli.prompts import Label, expand
from clipcli.session.batches import BatchEncoder
from clipcli.session.cache_keys import ensemble_space, image_space, model_space, text_key, text_space
from clipcli.session.features import fault_of, require_vectors, vectors_or_faults
from clipcli.session.pipeline import ImagePipeline
from clipcli.session.prepare import Preparation, SessionOptions, Timings, decode_upright

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy.typing as npt
    from PIL.Image import Image

    from clipcli.core.console import Console
    from clipcli.core.encoder import ModelInfo, Precision, Scoring
    from clipcli.core.vectors import Pixels, Vector, Vectors
    from clipcli.engines.nvjpeg import GpuDecoder
    from clipcli.inputs.collect import ImageRef
    from clipcli.models.spec import Choice
    from clipcli.prompts import PromptSet
    from clipcli.session.pipeline import Embedded

    BoxProposer = Callable[[int, int], npt.NDArray[np.int64]]
    """Width and height of an image → boxes (n, 4) in pixels: x0, y0, x1, y1."""

_TEXTS_AT_ONCE = 8192
"""Texts encoded at a time: 8192 × 512 float32 are 17 MB."""


@dataclass(frozen=True)
class Provenance:
    """Everything besides the input that a vector depends on."""

    info: ModelInfo
    scoring: Scoring
    """The function from cosines to scores."""
    precision: Precision
    """The precision of the computation."""
    decoding: tuple[str, ...]
    """Non-default settings of decoding."""
    rendering: str
    """Name of the conversion to RGB."""


class Parallelism(NamedTuple):
    """The degree of parallelism, over all machines."""

    workers: int
    """Number of threads that read and decode."""
    models: int
    """Number of batches encoded at the same time."""


class ImageEmbedder(Protocol):
    """Turns images into vectors: the interface of `Session`, and of `clipcli.session.ray.cluster.ClusterSession`."""

    @property
    def provenance(self) -> Provenance:
        """Return everything besides the input that the vectors depend on."""
        ...

    @property
    def timings(self) -> Timings:
        """Return the time spent so far, over all machines."""
        ...

    @property
    def parallelism(self) -> Parallelism:
        """Return the degree of parallelism."""
        ...

    def embed_images(self, refs: Iterable[ImageRef]) -> Iterator[Embedded]:
        """Yield a vector or an error for each image, in the order given."""
        ...

    def finish(self) -> None:
        """Do the work that was deferred until after the last row."""
        ...


@contextmanager
def open_session(
    choice: Choice,
    console: Console,
    options: SessionOptions | None = None,
    *,
    expected_images: int | None = None,
    expected_texts: int | None = None,
    needs_model: bool = True,
) -> Iterator[Session]:
    """Open a session; its cache is closed at the end of the block.

    Args:
        choice: the model, its device, precision and engine.
        console: prints messages.
        options: how images are read, and the degree of parallelism.
        expected_images: number of images, if known; for many the engine takes time to prepare for speed.
        expected_texts: the same for texts.
        needs_model: False if only the cache is used; then the model is not resolved.

    Raises:
        UnknownModelError: there is no such model.
        DeviceError: `gpu_decode` is set and there is no GPU.
    """
    options = options or SessionOptions()
    on_gpu = None
    if options.gpu_decode and needs_model:
        from clipcli.engines.nvjpeg import gpu_decoder

        on_gpu = gpu_decoder(choice.device)
    model = Model(choice, console, expected_images, expected_texts)
    if needs_model:
        model.warn_if_tiny()
    cache = EmbeddingCache.open(refresh=options.refresh, say=console.warning) if options.use_cache else NoCache()
    with cache:
        yield Session(model, cache, console, options, on_gpu=on_gpu, needs_model=needs_model)


@dataclass
class Session:
    """A model with its cache: images, texts and labels in, unit vectors out."""

    model: Model
    cache: EmbeddingCache | NoCache
    console: Console
    options: SessionOptions = field(default_factory=SessionOptions)
    timings: Timings = field(default_factory=Timings)
    on_gpu: GpuDecoder | None = None
    """The GPU decoder for JPEG files, if requested."""
    needs_model: bool = True
    """False if only the cache is used."""

    @property
    def info(self) -> ModelInfo:
        """Return the model's description, without loading it if an earlier run or a bundle has it."""
        return self.model.info

    @property
    def scoring(self) -> Scoring:
        """Return the function from cosines to scores."""
        return self.model.scoring

    @property
    def space(self) -> str:
        """Return the cache's space for vectors of this model and precision."""
        return model_space(self._key_of_model, self.model.precision, raw=self.options.raw)

    @cached_property
    def _key_of_model(self) -> str:
        return self.model.vectors_key

    @property
    def image_space(self) -> str:
        """Return the cache's space for vectors of images, which also depend on how images are read."""
        return image_space(self.space, self.options.decoding, self.options.rendering)

    @property
    def provenance(self) -> Provenance:
        """Return everything besides the inputs that vectors of this session depend on."""
        options = self.options
        return Provenance(self.info, self.scoring, self.model.precision, options.decoding, options.rendering.name)

    @property
    def parallelism(self) -> Parallelism:
        """Return the number of threads that decode, and of batches encoded in parallel."""
        return Parallelism(self.workers, self.model.encoder.image_lanes if self.model.is_loaded else 1)

    @property
    def workers(self) -> int:
        """Return the number of threads that read and decode."""
        return self.options.workers or usable_cores()

    @property
    def batch_size(self) -> int:
        """Return the number of images per batch: as requested, by device, or reduced to fit into memory."""
        return self._encoder.images.size

    @cached_property
    def _encoder(self) -> BatchEncoder:
        return BatchEncoder(self.model, self.timings, self.console, self.options.batch_size, self.options.raw)

    def embed_images(self, refs: Iterable[ImageRef]) -> Iterator[Embedded]:
        """Yield a (dim,) unit vector or an error for each image, in the order given.

        Results are streamed while `refs` is read. Memory is bounded by a few batches.
        """
        preparation = Preparation(
            how=self.info.preprocessing,
            space=self.image_space,
            cache=self.cache,
            timings=self.timings,
            options=self.options,
            on_gpu=self.on_gpu,
        )
        return ImagePipeline(preparation, self._encoder, self.workers).run(refs, self.batch_size)

    def encode_pixels(self, pixels: Pixels) -> Vectors:
        """Encode (n, 3, height, width) preprocessed pixels as (n, dim) unit vectors, without the cache.

        Check rows with `fault_of`. Raises DeviceError if not even one image fits into memory.
        """
        self.timings.count(encoded=len(pixels), cached=0)
        with self.timings.measure("model"):
            return self._encoder.encode_images(pixels)

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode n texts as (n, dim) float32 unit vectors; each distinct text is encoded once and cached.

        Raises:
            TypeError: `texts` is one string, not a list.
            NoVectorError: the model gave no valid vector for a text.
        """
        require_several(texts, "embed_texts")
        return require_vectors(texts, self._texts_or_faults(texts), self.info.dim)

    def _texts_or_faults(self, texts: Sequence[str]) -> list[Vector | ImageError]:
        """Return the (dim,) vector or the error of each text."""
        space = text_space(self.space)
        distinct = list(dict.fromkeys(texts))
        vector_by_text = dict(zip(distinct, self._cached(space, list(map(text_key, distinct))), strict=True))
        missing = [text for text in distinct if vector_by_text[text] is None]
        self.timings.count(encoded=len(missing), cached=len(texts) - len(missing))
        for start in range(0, len(missing), _TEXTS_AT_ONCE):
            batch = missing[start : start + _TEXTS_AT_ONCE]
            results = vectors_or_faults(self._encoder.encode_texts(batch))
            self._keep(space, list(map(text_key, batch)), results)
            vector_by_text.update(zip(batch, results, strict=True))
        return [_present(vector_by_text[text]) for text in texts]

    def embed_labels(self, labels: Sequence[Label], prompts: PromptSet) -> Vectors:
        """Return (labels, dim) unit vectors: the mean of the unit vectors of each label's prompts, cached as one.

        Raises:
            NoVectorError: the model gave no valid vector for a label.
        """
        return require_vectors([label.name for label in labels], self._labels_or_faults(labels, prompts), self.info.dim)

    def _labels_or_faults(self, labels: Sequence[Label], prompts: PromptSet) -> list[Vector | ImageError]:
        """Return the (dim,) vector or the error of each label."""
        space = ensemble_space(self.space)
        texts = [expand(label, prompts) for label in labels]
        keys = list(map(text_key, texts))
        vectors = self._cached(space, keys)
        missing = [index for index, vector in enumerate(vectors) if vector is None]
        self.timings.count(encoded=len(missing), cached=len(labels) - len(missing))
        with self.console.progress(len(missing), "label") as advance:
            step = max(1, _TEXTS_AT_ONCE // max(map(len, texts), default=1))
            for start in range(0, len(missing), step):
                batch = missing[start : start + step]
                ensembles = self._ensembles([texts[index] for index in batch])
                self._keep(space, [keys[index] for index in batch], ensembles)
                for index, result in zip(batch, ensembles, strict=True):
                    vectors[index] = result
                advance(len(batch))
        return list(map(_present, vectors))

    def count_kept(self, texts: Sequence[str], prompts: PromptSet | None = None) -> int:
        """Return the number of texts, in prompts or plain, whose vectors are in the cache."""
        if prompts is None:
            space, keys = text_space(self.space), list(map(text_key, texts))
        else:
            space, keys = (
                ensemble_space(self.space),
                [text_key(expand(Label(text, (text,)), prompts)) for text in texts],
            )
        return sum(vector is not None for vector in self._cached(space, keys))

    def finish(self) -> None:
        """Do the work that was deferred until after the last row, so that no row had to wait for it."""
        if not self.needs_model:
            return
        if self.cache.note(self._key_of_model, MODEL_NOTE) is None:
            self.cache.keep_note(self._key_of_model, MODEL_NOTE, self.info.name)
        if self.on_gpu is not None:
            self.console.debug(f"{self.on_gpu.decoded:,} of {self.on_gpu.received:,} JPEGs were decoded on the GPU")
        if self.model.encoder_to_export is not None:
            from clipcli.models.auto_export import export_if_due

            export_if_due(self.model)

    def _cached(self, space: str, keys: Sequence[str]) -> list[Vector | ImageError | None]:
        """Return vectors from the cache, with None for missing ones."""
        cached = self.cache.get(space, keys)
        return [vector if vector is not None and fault_of(vector) is None else None for vector in cached]

    def _keep(self, space: str, keys: Sequence[str], results: Sequence[Vector | ImageError]) -> None:
        rows = zip(keys, results, strict=True)
        self.cache.put(space, [(key, result) for key, result in rows if not isinstance(result, ImageError)])

    def _ensembles(self, texts: Sequence[Sequence[str]]) -> list[Vector | ImageError]:
        distinct = list(dict.fromkeys(text for group in texts for text in group))
        row_of = {text: index for index, text in enumerate(distinct)}
        rows = self._encoder.encode_texts(distinct)
        return [self._mean(rows[[row_of[text] for text in group]]) for group in texts]

    def _mean(self, rows: Vectors) -> Vector | ImageError:
        """Return the mean vector of all phrasings, or the error of the first phrasing that has one."""
        for row in rows:
            if (fault := fault_of(row)) is not None:
                return fault
        mean = rows.mean(axis=0, dtype=np.float32) if self.options.raw else ensemble(rows)
        return fault_of(mean) or mean


def _present(result: Vector | ImageError | None) -> Vector | ImageError:
    if result is None:
        raise RuntimeError("a vector was not computed")
    return result


@dataclass(frozen=True)
class Regions:
    """Parts of one upright image."""

    image: Image
    boxes: npt.NDArray[np.int64]
    """(n, 4): x0, y0, x1, y1 in pixels."""
    vectors: Vectors
    """(n, dim), unit length."""


def embed_regions(session: Session, ref: ImageRef, propose: BoxProposer) -> Regions | ImageError:
    """Read one image upright, crop the boxes of `propose(width, height)`, and embed each; errors are returned."""
    try:
        image = decode_upright(read_ref(ref), session.options)
        boxes = propose(*image.size)
        how = session.info.preprocessing
        pixels = np.stack([to_pixels(image.crop(tuple(box)), how) for box in boxes.tolist()])
    except ImageError as error:
        return error.bare()
    vectors = session.encode_pixels(pixels)
    fault = next(filter(None, map(fault_of, vectors)), None)
    return fault or Regions(image, boxes, vectors)
