"""What stands beside the vectors of a file: of what they are, and by which model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from clipcli.encoder import ModelInfo, Preprocessing, Scoring
from clipcli.errors import VectorsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from clipcli.vectors import Vectors

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
class Described:
    """A file's place as messages have it, its description, and the length of its vectors."""

    place: str
    info: VectorsInfo
    dim: int

    def require_like(self, first: Described) -> None:
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
    fields = cast("dict[str, Any]", record)
    if fields.get("version") != FORMAT_VERSION:
        raise VectorsError(
            f"{where}: its format version is {fields.get('version')}, this clipcli reads {FORMAT_VERSION}"
        )
    try:
        return _info(fields)
    except (KeyError, TypeError, ValueError) as error:
        raise VectorsError(f"{where}: its description is damaged ({error})") from error


def _info(fields: Mapping[str, Any]) -> VectorsInfo:
    if fields["kind"] not in {"image", "text"}:
        raise ValueError(f"kind {fields['kind']!r}")
    shard, parameters, scoring = (fields.get(name) for name in ("shard", "parameters", "scoring"))
    return VectorsInfo(
        kind=fields["kind"],
        model=str(fields.get("model", "")),
        fingerprint=str(fields["fingerprint"]),
        precision=str(fields.get("precision", "")),
        unit_length=bool(fields.get("unit_length", True)),
        prompts=str(fields.get("prompts", "")),
        decoding=str(fields.get("decoding", "")),
        pixels=str(fields.get("pixels", "")),
        shard=Shard(**shard) if shard else None,
        parameters=_parameters(parameters) if parameters else None,
        scoring=Scoring(**scoring) if scoring else None,
    )


def _parameters(fields: Mapping[str, Any]) -> ModelInfo:
    how = fields["preprocessing"]
    lists = {name: tuple(value) for name, value in how.items() if isinstance(value, list)}
    return ModelInfo(**{**fields, "preprocessing": Preprocessing(**{**how, **lists})})
