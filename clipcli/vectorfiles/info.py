"""The description in a file of vectors: what they are of, and which model made them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from clipcli.core.decode import DecodeError, decode
from clipcli.core.encoder import ModelInfo, Scoring  # noqa: TC001 - decode reads annotations at run time
from clipcli.errors import VectorsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from clipcli.core.vectors import Vectors

Kind = Literal["image", "text"]
VectorDtype = Literal["float32", "float16"]
Positions: TypeAlias = "npt.NDArray[np.int64]"

FORMAT_VERSION = 1
_ALIKE = ("fingerprint", "kind", "precision", "unit_length", "prompts", "decoding", "pixels")
"""What has to be equal in descriptions whose vectors go into one file."""
_SETTINGS = ("precision", "unit_length", "prompts", "decoding", "pixels")
"""What changes the vectors of a model; every row of a text format says it, so that a part of a file is still a file."""
KEY = "clipcli"
"""Under this key the description stands in Parquet's and safetensors' metadata."""


@dataclass(frozen=True)
class Shard:
    """Which share of the inputs a file holds."""

    index: int
    """1 to `count`."""
    count: int
    inputs: int
    """How many inputs there were before sharding; every shard of a run saw the same ones."""
    listing: str
    """Hash over the names of all inputs, in order."""


@dataclass(frozen=True)
class VectorsInfo:
    """A file's vectors, described."""

    kind: Kind
    model: str
    """The spec that loads the model again; empty when the file does not say."""
    fingerprint: str
    precision: str = ""
    unit_length: bool = True
    prompts: str = ""
    """Which templates the texts were put into, by name; empty for none."""
    decoding: str = ""
    """How images were read, where not as usual: `unrotated`, `fast`, `gpu`, or two of these with a comma."""
    pixels: str = ""
    """How pixels became RGB: `rgb on #ffffff`, on another colour, or `bare`; empty where the file does not say."""
    shard: Shard | None = None
    parameters: ModelInfo | None = None
    scoring: Scoring | None = None

    @property
    def reading(self) -> ImageReading:
        """Return how the images were read."""
        return ImageReading(self.pixels, self.decoding)


@dataclass(frozen=True)
class VectorRows:
    """Some consecutive rows of a file."""

    names: Sequence[str]
    vectors: Vectors
    positions: Positions | None = None
    """Where each row stood among all inputs; kept in shards, so that merging restores the order."""


@dataclass(frozen=True)
class Failure:
    """An input without a vector."""

    name: str
    stage: str
    reason: str
    position: int


@dataclass(frozen=True)
class DescribedVectors:
    """A file's place as messages have it, its description, and the length of its vectors."""

    place: str
    info: VectorsInfo
    dim: int

    def require_like(self, first: DescribedVectors) -> None:
        """Raises VectorsError unless the vectors of both may stand in one file."""
        for name in _ALIKE:
            mine, others = getattr(self.info, name), getattr(first.info, name)
            if mine != others:
                hint = "vectors of different models cannot be compared" if name == "fingerprint" else None
                what = name.replace("_", " ")
                raise VectorsError(f"{self.place}: {what} is {mine!r}, of {first.place} it is {others!r}", hint=hint)
        if self.dim != first.dim:
            raise VectorsError(f"{self.place}: vectors of {self.dim} numbers, {first.place} has {first.dim}")


def settings(info: VectorsInfo) -> dict[str, str | bool]:
    """Return what changes the vectors beside the model, as far as it is known and not as usual."""
    return {name: value for name in _SETTINGS if (value := getattr(info, name)) not in ("", True)}


def with_settings(info: VectorsInfo, record: Mapping[str, object]) -> VectorsInfo:
    """Return a description with the settings that a row of a text format names; values of another kind are not ours."""
    usual = {name: getattr(info, name) for name in _SETTINGS}
    told = {name: record[name] for name in _SETTINGS if type(record.get(name)) is type(usual[name])}
    return replace(info, **told)  # type: ignore[arg-type]


@dataclass(frozen=True)
class ImageReading:
    """How images were read before a model saw them."""

    pixels: str
    decoding: str
    """Both as in `VectorsInfo`."""

    def unlike(self, ours: ImageReading, others: str | None = None) -> str | None:
        """Return how images of this kind were read otherwise than `ours`; None where they were not.

        What a file does not say is not held against it. Decoders that shrink (`fast`, `gpu`) change a vector little.

        Args:
            ours: how the others were read.
            others: which vectors these are; None for images that this run reads, where options change that.
        """
        differences = []
        if self.pixels and ours.pixels and self.pixels != ours.pixels:
            differences.append((self.pixels, ours.pixels, self._options_of_pixels(ours)))
        if self.pixels and self._is_upright != ours._is_upright:
            words = ("upright", "unrotated", "leave out --no-orient")
            differences.append(words if self._is_upright else (words[1], words[0], "add --no-orient"))
        if not differences:
            return None
        made, now, options = (" and ".join(part) for part in zip(*differences, strict=True))
        advice = f"; to read both alike, {options}" if others is None else ""
        return f"its images were read {made}, those of {others or 'this run'} {now}{advice}"

    @property
    def _is_upright(self) -> bool:
        return "unrotated" not in self.decoding.split(", ")

    def _options_of_pixels(self, ours: ImageReading) -> str:
        if self.pixels == "bare":
            return "add --bare-transform"
        colour = self.pixels.rpartition(" ")[2]
        return f"{'leave out --bare-transform and ' * (ours.pixels == 'bare')}add --background-colour '{colour}'"


def to_json(info: VectorsInfo) -> dict[str, object]:
    """Return the description as it is written into every format; empty parts are left out."""
    fields = {name: value for name, value in asdict(info).items() if value not in (None, "")}
    return {"format": "clipcli vectors", "version": FORMAT_VERSION, **fields}


def from_json(record: object, where: str) -> VectorsInfo:
    """Read a description.

    Raises:
        VectorsError: it is not one, or of a newer version.
    """
    if not isinstance(record, dict) or record.get("format") != "clipcli vectors":
        raise VectorsError(f"{where}: nothing says which model made these vectors", hint="make it with clipcli embed")
    fields: dict[str, object] = record
    if fields.get("version") != FORMAT_VERSION:
        raise VectorsError(
            f"{where}: its format version is {fields.get('version')}, this clipcli reads {FORMAT_VERSION}"
        )
    try:
        return decode(VectorsInfo, fields, unknown="ignore")
    except DecodeError as error:
        raise VectorsError(f"{where}: its description is damaged ({error})") from error
