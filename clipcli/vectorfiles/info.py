"""What stands beside the vectors of a file: of what they are, and by which model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from clipcli.core.decode import DecodeError, decode
from clipcli.core.encoder import ModelInfo, Scoring  # noqa: TC001 - decode reads annotations at run time
from clipcli.errors import VectorsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from clipcli.core.vectors import Vectors

Kind = Literal["image", "text"]
VectorDtype = Literal["float32", "float16"]
Positions: TypeAlias = "npt.NDArray[np.int64]"

FORMAT_VERSION = 1
_ALIKE = ("fingerprint", "kind", "precision", "unit_length", "prompts", "decoding", "pixels")
"""What has to be equal in descriptions whose vectors go into one file."""
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


def to_json(info: VectorsInfo) -> dict[str, object]:
    """The description as it is written into every format; empty parts are left out."""
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
