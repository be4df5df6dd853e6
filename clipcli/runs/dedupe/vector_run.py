"""`dedupe` over stored vectors: look-alikes by cosine, without a picture and without a model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from clipcli.core.console import RunSummary
from clipcli.core.vectors import unit_length
from clipcli.errors import ExitCode, UsageError, VectorsError
from clipcli.inputs.collect import nothing_left
from clipcli.inputs.sources.patterns import named_files
from clipcli.inputs.sources.text_tables import ALL_COLUMNS, kept_columns
from clipcli.options.dedupe import DuplicateOptions
from clipcli.options.shared import CarriedOptions
from clipcli.output import CarriedColumns
from clipcli.runs.dedupe.candidates import index_by_vectors
from clipcli.tasks.dedupe.clusters import group, smallest_cosine
from clipcli.tasks.dedupe.levels import thresholds_of
from clipcli.vectorfiles import is_vector_file, open_vectors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from clipcli.core.console import Console
    from clipcli.core.vectors import Vectors
    from clipcli.options.shared import InputOptions
    from clipcli.output import Row
    from clipcli.runs.base import Advance
    from clipcli.runs.dedupe.candidates import CandidateIndex
    from clipcli.tasks.dedupe.levels import Level
    from clipcli.tasks.dedupe.pairs import Indices
    from clipcli.vectorfiles import VectorFile

_DIGITS: Final = 4
_JSON_DIGITS: Final = 6
REASON: Final = "looks alike (vectors only)"


@dataclass(frozen=True)
class VectorDuplicateRow:
    """A row of a vector file in a group of look-alikes."""

    group: int
    """Number of the group, from 1."""
    image: str
    """Its name in the file."""
    kept_image: str
    """The one that stays for it; itself, where it stays."""
    similarity: float
    """Cosine with the one that stays."""
    min_similarity: float
    """The smallest cosine between any two of the group."""
    keep: bool
    level: ClassVar[Level] = "similar"
    columns: ClassVar[tuple[str, ...]] = ("group", "image", "level", "keep", "similarity", "min_similarity")

    @property
    def copy_of(self) -> str | None:
        """Return the image that is kept for it; None for images that stay."""
        return None if self.keep else self.kept_image

    @property
    def path(self) -> str | None:
        """Return its name if it may go, else None; for lists of paths."""
        return None if self.keep else self.image

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        return {
            "group": self.group, "image": self.image, "level": self.level, "keep": self.keep,
            "similarity": round(self.similarity, _JSON_DIGITS),
            "min_similarity": round(self.min_similarity, _JSON_DIGITS), "reason": REASON, "keeper": self.kept_image,
        }  # fmt: skip

    def cells(self) -> list[tuple[str, ...]]:
        """Return one line of TSV."""
        numbers = (f"{number:.{_DIGITS}f}" for number in (self.similarity, self.min_similarity))
        return [(str(self.group), self.image, self.level, "yes" if self.keep else "no", *numbers)]


_ROWS: Final = 8192
_FLOORS: Final = (0.95, 0.9, 0.8, 0.65, 0.5, 0.25, 0.0)
"""Thresholds to try, until enough images are alike."""
_PRECISION: Final = 0.0005
_ROUNDING: Final = 1e-6
"""By which the product of equal rows may miss 1."""
_MATTER: Final = ("similar", "target_share", "fail_on", "keep_columns")
"""Options that vectors have a use for; the others are about files and pixels."""


class NoSession:
    """In place of a session: no model is opened."""

    def finish(self) -> None:
        """Nothing was put off."""


@dataclass
class VectorDedupeRun:
    """One checked run."""

    files: Sequence[VectorFile]
    inputs: InputOptions
    options: DuplicateOptions
    report: RunSummary
    kept: Sequence[str] = ()
    """Carried columns that rows keep."""
    groups_found: int = 0
    removed: int = 0
    unit: ClassVar[str] = "image"
    total: ClassVar[None] = None

    def rows(self, session: NoSession, advance: Advance) -> Iterator[Row]:  # noqa: ARG002 - as every run
        """Yield the groups, the image that stays first; in the order of the files.

        Raises:
            VectorsError: a row that is damaged.
        """
        names, vectors, numbers = self._read()
        self.report.done = len(names)
        console = self.report.console
        if self.options.target_share is None:
            threshold = self.options.similar
            if threshold is None:
                threshold = thresholds_of(self.files[0].model).similar
            index = index_by_vectors(vectors, threshold, console)
            leader = led_by(vectors, index, threshold)
        else:
            threshold, leader = self._threshold_for(vectors, self.options.target_share)
            console.info(
                f"--min-similarity {threshold:.4f} leaves out {removed_share(leader):.1%} of {len(names):,} "
                f"(asked for: {self.options.target_share:.1%})"
            )
        carried = CarriedColumns(self.kept, VectorDuplicateRow.columns)
        for number, row in self._groups(names, vectors, leader):
            yield carried.row(row, self._fields(number if numbers is None else numbers[number])) if self.kept else row

    def _fields(self, number: int) -> Mapping[str, object]:
        """Return the kept columns of a row, counted over all files."""
        for file in self.files:
            if number < len(file):
                fields = file.fields[number] if file.info.columns else {}
                names = kept_columns(str(file.path), self.kept, file.column_names, except_column="")
                return {name: fields.get(name) for name in names}
            number -= len(file)
        raise IndexError(number)

    def finish(self, session: NoSession) -> ExitCode:  # noqa: ARG002 - as every run
        """Say what was found, and return the exit code."""
        console = self.report.console
        console.info(
            "only vectors were compared, no pixels: these are look-alikes, and copies among them are not told apart"
        )
        if self.groups_found:
            groups = f"{self.groups_found:,} group{'' if self.groups_found == 1 else 's'}"
            console.info(f"{groups}; {self.removed:,} of {self.report.done:,} images could go, {self._left:,} stay")
        else:
            console.info("no look-alikes found")
        return ExitCode.CHECK_FAILED if self.options.fail_on and self.removed else ExitCode.OK

    @property
    def _left(self) -> int:
        return self.report.done - self.removed

    def _read(self) -> tuple[Sequence[str], Vectors, Sequence[int] | None]:
        """Return names, unit vectors, and the number of each row among all if only some are left.

        A single file of float32 stays where it is mapped.
        """
        for file in self.files:
            for _ in file.blocks(_ROWS):  # which refuses what is not finite
                pass
        matrices = [file.matrix() if file.info.unit_length else unit_length(file.matrix()) for file in self.files]
        vectors = matrices[0] if len(matrices) == 1 else np.concatenate(matrices)
        names = self.files[0].names if len(self.files) == 1 else [name for file in self.files for name in file.names]
        keeps = self.inputs.globs.keeps
        if keeps is None:
            return names, vectors, None
        kept = [row for row, name in enumerate(names) if keeps(name)]
        if not kept:
            raise nothing_left(self.inputs.globs)
        return [names[row] for row in kept], vectors[kept], kept

    def _threshold_for(self, vectors: Vectors, share: float) -> tuple[float, Indices]:
        """Return the smallest threshold at which at most this share goes, and who leads whom at it."""
        console, above = self.report.console, 1.0
        for floor in _FLOORS:
            index = index_by_vectors(vectors, floor, console)
            leader = led_by(vectors, index, floor)
            if removed_share(leader) > share:
                return self._between(vectors, index, floor, above, share)
            above = floor
        return above, leader

    @staticmethod
    def _between(
        vectors: Vectors, index: CandidateIndex, low: float, high: float, share: float
    ) -> tuple[float, Indices]:
        """Halve the stretch between a threshold at which too much goes and one at which it does not."""
        leader = led_by(vectors, index, high)
        while high - low > _PRECISION:
            middle = (low + high) / 2
            tried = led_by(vectors, index, middle)
            if removed_share(tried) > share:
                low = middle
            else:
                high, leader = middle, tried
        return high, leader

    def _groups(
        self, names: Sequence[str], vectors: Vectors, leader: Indices
    ) -> Iterator[tuple[int, VectorDuplicateRow]]:
        """Yield the rows of all groups, each with its number among the vectors."""
        order = np.argsort(leader, kind="stable")
        starts = np.flatnonzero(np.diff(leader[order], prepend=-1))
        for members in np.split(order, starts[1:]):
            if len(members) == 1:
                continue
            self.groups_found += 1
            self.removed += len(members) - 1
            head = int(leader[members[0]])
            distinct = np.unique(vectors[members], axis=0)
            smallest = min(1.0, smallest_cosine(distinct))
            cosines = np.minimum(vectors[members] @ vectors[head], 1.0)
            rows = sorted(zip(members.tolist(), cosines.tolist(), strict=True), key=lambda pair: pair[0] != head)
            for row, cosine in rows:
                mine = 1.0 if row == head else cosine
                found = VectorDuplicateRow(self.groups_found, names[row], names[head], mine, smallest, row == head)
                yield row, found


def led_by(vectors: Vectors, index: CandidateIndex, threshold: float) -> Indices:
    """Return for each row the one that stays for it, itself where it stays: the first of the file leads.

    Args:
        vectors: (n, dim), unit length.
        index: partners down to this threshold or a smaller one.
        threshold: cosine from which on two rows are alike.
    """

    def verify(row: int, others: Indices) -> npt.NDArray[np.bool_]:
        return np.asarray(vectors[others] @ vectors[row] >= np.float32(threshold - _ROUNDING), bool)

    order = np.flatnonzero(index.has_partner(threshold))
    return group(order, len(vectors), lambda row: index.partners(row, threshold), verify).leader


def removed_share(leader: Indices) -> float:
    """Return the share of rows that another one stays for."""
    return float(np.mean(leader != np.arange(len(leader)))) if len(leader) else 0.0


def plan_vectors(inputs: InputOptions, options: DuplicateOptions, console: Console) -> VectorDedupeRun | None:
    """Return the run over vectors where the inputs are files of such; None where they are images.

    Raises:
        UsageError: images are named beside them, they are of texts, or an option is about files or pixels.
        VectorsError: a file cannot be used, or files that cannot be compared.
    """
    arguments = named_files(inputs.images or [])
    named = [path for path in arguments if inputs.column is None and is_vector_file(path)]
    if not named:
        if options.target_share is not None:
            raise UsageError("--target-share is for files of vectors", hint="clipcli embed photos/ -o photos.npy first")
        return None
    if len(named) < len(arguments) or inputs.files_from:
        raise UsageError(f"{named[0]} holds vectors, other inputs are images", hint="give them in runs of their own")
    if options.target_share is not None and options.similar is not None:
        raise UsageError("--target-share finds the threshold that --min-similarity sets", hint="choose one")
    _refuse_options_of_files(named[0], options)
    files = [open_vectors(path) for path in named]
    _check_alike(files)
    kept = CarriedOptions(options.keep_columns).names
    for file in files:
        file.require_columns("--keep-columns", [name for name in kept if name != ALL_COLUMNS])
    return VectorDedupeRun(files, inputs, options, RunSummary(console), kept)


def _refuse_options_of_files(path: str, options: DuplicateOptions) -> None:
    for field in fields(DuplicateOptions):
        if field.name not in _MATTER and getattr(options, field.name) != field.default:
            option = "--" + field.name.replace("_", "-")
            raise UsageError(
                f"{option} is about files and pixels, and {path} holds vectors", hint=f"leave out {option}"
            )


def _check_alike(files: Sequence[VectorFile]) -> None:
    if texts := next((file for file in files if file.kind == "text"), None):
        raise UsageError(f"{texts.path} holds vectors of texts", hint="make some of images with clipcli embed")
    for file in files[1:]:
        if (file.fingerprint, file.dim) != (files[0].fingerprint, files[0].dim):
            raise VectorsError(
                f"{file.path} and {files[0].path} are of different models", hint="their vectors cannot be compared"
            )
