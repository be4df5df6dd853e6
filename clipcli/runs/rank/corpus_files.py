"""Sort the arguments into the sources of the corpus: images, vector files, or an index."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.errors import UsageError, VectorsError
from clipcli.inputs.collect import collect, is_stream
from clipcli.inputs.sources.patterns import named_files
from clipcli.runs.rank.index import Index, is_index
from clipcli.vectorfiles import holds_vectors, open_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Literal

    from clipcli.core.encoder import ModelInfo
    from clipcli.inputs.collect import ImageRef
    from clipcli.inputs.row_filter import Condition
    from clipcli.inputs.sources.patterns import Globs
    from clipcli.vectorfiles import ImageReading, VectorFile


@dataclass(frozen=True)
class Sources:
    """The inputs of the corpus."""

    files: tuple[VectorFile, ...]
    images: tuple[str, ...]
    """Files, folders and `-`."""
    lists: tuple[str, ...]
    """Files that list images."""
    null: bool
    column: str | None
    """Of tables of images."""
    globs: Globs
    """The filter of names."""
    keep: tuple[str, ...] = ()
    """Columns of tables that hits keep."""
    where: Condition | None = None
    """The filter of rows in tables."""
    index: Index | None = None
    """The only source if there is one."""
    detail: Callable[[str], object] | None = None
    """Called with a message that names the skipped folders."""

    @property
    def model(self) -> str | None:
        """Return the model that the index or the vector files name, when there are any."""
        if self.index is not None:
            return self.index.info.model or None
        return next((file.model for file in self.files if file.model), None)

    @property
    def kind(self) -> Literal["image", "text"]:
        """Return whether images or texts are searched."""
        if self.index is not None:
            return self.index.info.kind
        return self.files[0].kind if self.files else "image"

    @property
    def made_by_model(self) -> str:
        """Return the path of the index, or of the first vector file, for messages."""
        return self.index.path if self.index is not None else str(self.files[0].path)

    @property
    def has_images(self) -> bool:
        """Return whether images have to be embedded."""
        return bool(self.images or self.lists)

    def refs(self) -> Iterable[ImageRef]:
        """Return the images; a list unless names arrive on stdin."""
        refs: Iterator[ImageRef] = collect(
            self.images,
            files_from=self.lists,
            null=self.null,
            column=self.column,
            keep=self.keep,
            where=self.where,
            globs=self.globs,
            detail=self.detail,
        )
        return refs if is_stream(self.images, self.lists) else list(refs)


def find_sources(
    arguments: Sequence[str], lists: Sequence[str], *, null: bool, globs: Globs, column: str | None = None
) -> Sources:
    """Sort arguments into vector files, images and an index.

    Raises:
        UsageError: nothing to search, or `+` among the arguments.
        VectorsError: a vector file that cannot be used, or files that do not go together.
    """
    if not arguments and not lists:
        raise UsageError("no images to search", hint="name files, folders or vector files after the query")
    if "+" in arguments and not os.path.exists("+"):  # noqa: PTH110 - paths are strings here, any bytes included
        raise UsageError("a query with + or - is one argument", hint="quote it as a whole: 'horse + stripes'")
    arguments = named_files(arguments)
    if any(map(is_index, arguments)):
        if len(arguments) > 1 or lists:
            raise UsageError("an index is searched alone", hint="search other images in a run of their own")
        return Sources((), (), (), null, column, globs, index=Index(arguments[0]))
    vectors = [path for path in arguments if holds_vectors(path, column)]
    files = tuple(map(open_vectors, vectors))
    for file in files[1:]:
        if file.fingerprint != files[0].fingerprint or file.kind != files[0].kind:
            raise VectorsError(
                f"{file.path} and {files[0].path} are not of one kind: {_contents(file)} and {_contents(files[0])}",
                hint="vectors of different models cannot be compared",
            )
    images = tuple(path for path in arguments if path not in vectors)
    if files and files[0].kind == "text" and (images or lists):
        raise UsageError(f"{files[0].path} holds texts; images cannot be searched with them", hint="search them apart")
    return Sources(files, images, tuple(lists), null, column, globs)


def check_model(sources: Sources, info: ModelInfo) -> None:
    """Refuse vectors that this model did not make.

    Raises:
        VectorsError: another model, or another dimension.
    """
    index = sources.index
    if index is not None and index.info.fingerprint != info.fingerprint:
        hint = f"--model {index.info.model}" if index.info.model else None
        raise VectorsError(f"{index.path}: an index of {index.info.model}, not of {info.name}", hint=hint)
    for file in sources.files:
        if file.fingerprint != info.fingerprint:
            hint = f"--model {file.model}" if file.model else "name the model that made it with --model"
            raise VectorsError(f"{file.path}: its vectors are {_contents(file)}, not of {info.name}", hint=hint)
        if file.dim != info.dim:
            raise VectorsError(f"{file.path}: {file.dim} numbers per vector, but {info.name} has {info.dim}")


def reading_warnings(sources: Sources, own_reading: ImageReading | None) -> list[str]:
    """Return a warning for each vector file whose images were read in another way than the others of this run.

    Args:
        sources: sources of the vectors.
        own_reading: how this run reads images; None if it reads none: vector files are then compared with the first.
    """
    readings = [(str(file.path), file.info.reading) for file in sources.files]
    if sources.index is not None:
        readings.append((sources.index.path, sources.index.info.reading))
    if sources.kind == "text" or not readings:
        return []
    reference_name, first = readings[0] if own_reading is None else (None, own_reading)
    return [f"{name}: {text}" for name, reading in readings if (text := reading.difference_from(first, reference_name))]


def _contents(file: VectorFile) -> str:
    return f"{file.kind}s of {file.model or f'model {file.fingerprint}'}"
