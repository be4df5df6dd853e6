"""The description in a file of vectors: the kind of inputs, the model and its settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from clipcli.core.decode import decode
from clipcli.core.encoder import ModelInfo, Scoring  # noqa: TC001 - decode reads annotations at run time
from clipcli.errors import VectorsError
from clipcli.vectorfiles.columns import CarriedColumn, column_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from clipcli.core.vectors import Vectors

Kind = Literal["image", "text"]
VectorDtype = Literal["float32", "float16"]
Positions: TypeAlias = "npt.NDArray[np.int64]"

FORMAT_VERSION = 1
_ALIKE = ("fingerprint", "kind", "precision", "unit_length", "prompts", "decoding", "pixels")
"""Fields that must be equal for vectors in the same file."""
_SETTINGS = ("precision", "unit_length", "prompts", "decoding", "pixels")
"""Settings that change a model's vectors; text formats repeat them in every row, so any part of a file can be used."""
KEY = "clipcli"
"""Key of the description in the metadata of Parquet and safetensors."""


@dataclass(frozen=True)
class Shard:
    """The share of the inputs in a file."""

    index: int
    """Number of the shard, from 1 to `count`."""
    count: int
    inputs: int
    """Number of inputs before sharding, equal in all shards of a run."""
    listing: str
    """Hash over the names of all inputs, in order."""


@dataclass(frozen=True)
class VectorsInfo:
    """The description of a file's vectors."""

    kind: Kind
    model: str
    """The spec that loads the model again; empty if the file lacks it."""
    fingerprint: str
    precision: str = ""
    unit_length: bool = True
    prompts: str = ""
    """Names of the templates that the texts were put into; empty for none."""
    decoding: str = ""
    """Non-default decoding of images: `unrotated`, `fast`, `gpu`, or two of these separated by a comma."""
    pixels: str = ""
    """Conversion of pixels to RGB: `rgb on #ffffff`, on another colour, or `bare`; empty if the file lacks it."""
    shard: Shard | None = None
    columns: tuple[CarriedColumn, ...] = ()
    """Columns of the input table, carried with every row."""
    parameters: ModelInfo | None = None
    scoring: Scoring | None = None

    @property
    def reading(self) -> ImageReading:
        """Return the decoding of the images."""
        return ImageReading(self.pixels, self.decoding)


@dataclass(frozen=True)
class VectorRows:
    """Some consecutive rows of a file."""

    names: Sequence[str]
    vectors: Vectors
    positions: Positions | None = None
    """The position of each row among all inputs, kept in shards so that merging restores the order."""
    fields: Sequence[Mapping[str, object]] | None = None
    """The carried columns of each row."""

    def part(self, start: int, stop: int) -> VectorRows:
        """Return the rows from `start` up to `stop`."""
        positions = None if self.positions is None else self.positions[start:stop]
        fields = None if self.fields is None else self.fields[start:stop]
        return VectorRows(self.names[start:stop], self.vectors[start:stop], positions, fields)


def join_rows(parts: Sequence[VectorRows]) -> VectorRows:
    """Return the rows of all parts, one after the other; at least one part is needed."""
    positions: list[Positions] = [part.positions for part in parts if part.positions is not None]
    fields = [part.fields if part.fields is not None else [{}] * len(part.names) for part in parts]
    return VectorRows(
        [name for part in parts for name in part.names],
        np.concatenate([part.vectors for part in parts]),
        np.concatenate(positions) if positions else None,
        [row for rows in fields for row in rows] if any(part.fields is not None for part in parts) else None,
    )


@dataclass(frozen=True)
class Failure:
    """An input without a vector."""

    name: str
    stage: str
    reason: str
    position: int
    fields: Mapping[str, object] = field(default_factory=dict, hash=False)
    """Its carried columns, as JSON has them."""


@dataclass(frozen=True)
class DescribedVectors:
    """A file's name for messages, its description, and the length of its vectors."""

    source: str
    info: VectorsInfo
    dim: int

    def require_like(self, first: DescribedVectors) -> None:
        """Check that the vectors of both can be in one file. Raises VectorsError."""
        for name in _ALIKE:
            value, first_value = getattr(self.info, name), getattr(first.info, name)
            if value != first_value:
                hint = "vectors of different models cannot be compared" if name == "fingerprint" else None
                label = name.replace("_", " ")
                message = f"{self.source}: {label} is {value!r}, but in {first.source} it is {first_value!r}"
                raise VectorsError(message, hint=hint)
        if self.dim != first.dim:
            raise VectorsError(f"{self.source}: vectors of {self.dim} numbers, but {first.source} has {first.dim}")


def settings(info: VectorsInfo) -> dict[str, str | bool]:
    """Return the known settings that change the vectors and differ from the default."""
    return {name: value for name in _SETTINGS if (value := getattr(info, name)) not in ("", True)}


def with_settings(info: VectorsInfo, record: Mapping[str, object]) -> VectorsInfo:
    """Return a description with the settings in a row of a text format; values of another type are ignored."""
    defaults = {name: getattr(info, name) for name in _SETTINGS}
    known_settings = {name: record[name] for name in _SETTINGS if type(record.get(name)) is type(defaults[name])}
    return replace(info, **known_settings)  # type: ignore[arg-type]


@dataclass(frozen=True)
class ImageReading:
    """The decoding of images before they were encoded; both fields are as in `VectorsInfo`."""

    pixels: str
    decoding: str

    def difference_from(self, reference: ImageReading, reference_name: str | None = None) -> str | None:
        """Return how the decoding of these images differs from `reference`, as text; None if it does not.

        Unknown settings count as equal, and so do decoders that shrink (`fast`, `gpu`), which change vectors little.

        Args:
            reference: the decoding to compare with.
            reference_name: the vectors decoded that way; None for the images of this run, whose options can be changed.
        """
        differences = []
        if self.pixels and reference.pixels and self.pixels != reference.pixels:
            differences.append((self.pixels, reference.pixels, self._options_of_pixels(reference)))
        if self.pixels and self._is_upright != reference._is_upright:
            words = ("upright", "unrotated", "leave out --no-orient")
            differences.append(words if self._is_upright else (words[1], words[0], "add --no-orient"))
        if not differences:
            return None
        own_values, other_values, options = (" and ".join(part) for part in zip(*differences, strict=True))
        advice = f"; to read both in the same way, {options}" if reference_name is None else ""
        return f"its images were read {own_values}, those of {reference_name or 'this run'} {other_values}{advice}"

    @property
    def _is_upright(self) -> bool:
        return "unrotated" not in self.decoding.split(", ")

    def _options_of_pixels(self, reference: ImageReading) -> str:
        if self.pixels == "bare":
            return "add --bare-transform"
        colour = self.pixels.rpartition(" ")[2]
        return f"{'leave out --bare-transform and ' * (reference.pixels == 'bare')}add --background-colour '{colour}'"


def to_json(info: VectorsInfo) -> dict[str, object]:
    """Return the description as written into every format; empty fields are left out."""
    fields = {name: value for name, value in asdict(info).items() if value not in (None, "", ())}
    return {"format": "clipcli vectors", "version": FORMAT_VERSION, **fields}


def from_json(record: object, source: str) -> VectorsInfo:
    """Decode a description; `source` names the file in errors.

    Raises:
        VectorsError: it is not a description, or it has another format version.
    """
    if not isinstance(record, dict) or record.get("format") != "clipcli vectors":
        raise VectorsError(f"{source}: does not name the model of its vectors", hint="make it with clipcli embed")
    fields: dict[str, object] = record
    if fields.get("version") != FORMAT_VERSION:
        raise VectorsError(
            f"{source}: its format version is {fields.get('version')}, this clipcli reads {FORMAT_VERSION}"
        )
    try:
        info = decode(VectorsInfo, fields, unknown="ignore")
        for column in info.columns:
            column_type(column)
    except (ValueError, RecursionError) as error:
        raise VectorsError(f"{source}: its description is damaged ({error})") from error
    return info
