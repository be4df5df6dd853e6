"""Arguments become what is searched: images, vector files, or an index."""

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
    from clipcli.inputs.sources.globs import Globs
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
    """In place of all others."""
    detail: Callable[[str], object] | None = None
    """Gets a message with the skipped folders."""

    @property
    def model(self) -> str | None:
        """Return the model that the index or the vector files name, when there are any."""
        if self.index is not None:
            return self.index.info.model or None
        return next((file.model for file in self.files if file.model), None)

    @property
    def kind(self) -> Literal["image", "text"]:
        """Return what is searched."""
        if self.index is not None:
            return self.index.info.kind
        return self.files[0].kind if self.files else "image"

    @property
    def made_by_model(self) -> str:
        """Return how messages call what a model made: the first vector file, or the index."""
        return self.index.path if self.index is not None else str(self.files[0].path)

    @property
    def has_images(self) -> bool:
        """Return whether images have to be embedded."""
        return bool(self.images or self.lists)

    def refs(self) -> Iterable[ImageRef]:
        """Return the images; a list wherever their number can be known."""
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


def sort_out(
    arguments: Sequence[str], lists: Sequence[str], *, null: bool, globs: Globs, column: str | None = None
) -> Sources:
    """Tell vector files from images.

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
    for other in files[1:]:
        if other.fingerprint != files[0].fingerprint or other.kind != files[0].kind:
            raise VectorsError(
                f"{other.path} and {files[0].path} are not of one kind: {_what(other)} and {_what(files[0])}",
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
            raise VectorsError(f"{file.path}: its vectors are {_what(file)}, not of {info.name}", hint=hint)
        if file.dim != info.dim:
            raise VectorsError(f"{file.path}: {file.dim} numbers per vector, but {info.name} has {info.dim}")


def warnings_of_reading(sources: Sources, ours: ImageReading | None) -> list[str]:
    """Return what to say of vectors whose images were read otherwise than the others of this run.

    Args:
        sources: where vectors come from.
        ours: how this run reads images; None where it reads none, then vector files are compared with the first.
    """
    made = [(str(file.path), file.info.reading) for file in sources.files]
    if sources.index is not None:
        made.append((sources.index.path, sources.index.info.reading))
    if sources.kind == "text" or not made:
        return []
    others, first = made[0] if ours is None else (None, ours)
    return [f"{place}: {text}" for place, theirs in made if (text := theirs.difference_from(first, others))]


def _what(file: VectorFile) -> str:
    return f"{file.kind}s of {file.model or f'model {file.fingerprint}'}"
