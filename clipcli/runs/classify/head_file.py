"""The file of `clipcli fit`: a few-shot head in safetensors, with the model and labels that it is valid for."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from clipcli.core.decode import DecodeError, decode, parse_json, shown
from clipcli.core.files import own_error, read_bytes, reason_of
from clipcli.errors import LabelsError, ModelError
from clipcli.output.json import dumps
from clipcli.tasks.fit import FewShotHead, HeadClassifier, Novelty

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from clipcli.core.encoder import ModelInfo
    from clipcli.output.targets import Target

    Tensors = Mapping[str, npt.NDArray[Any]]

FORMAT: Final = 1
KEY: Final = "clipcli"
"""Metadata key of the description, which is JSON."""
LARGEST: Final = 2 << 30
"""Bytes. 100,000 examples of 1,024 numbers, with votes for 1,000 labels, are 0.8 GB."""
_LARGEST_HEADER: Final = 64 << 20
_AGAIN: Final = "run clipcli fit again with the model of this run, or name the head's model with -m"
_TENSORS: Final = ("weights", "bias", "examples", "votes", "middle", "centres")


@dataclass(frozen=True)
class HeadDescription:
    """The description of a few-shot head."""

    format: int
    kind: str
    """`few-shot`."""
    model: str
    fingerprint: str
    method: str
    labels: tuple[str, ...]
    images: tuple[int, ...]
    """Number of training pictures of each label."""
    sharpness: float
    neighbours: int
    limit: float | None
    """Similarity below which a picture is none of the labels; None if it could not be measured."""
    held_out: tuple[float, float, float] | None
    """Accuracy on held-out pictures: value, low and high of a 95 % interval; None if none were held out."""
    zero_shot: tuple[float, float, float] | None
    """Accuracy of the labels' texts alone, on the same pictures."""
    seed: int


@dataclass(frozen=True)
class HeadFile:
    """A head and its description."""

    description: HeadDescription
    head: FewShotHead
    novelty: Novelty

    def require_model(self, info: ModelInfo) -> None:
        """Refuse a head of another model. Raises ModelError."""
        description = self.description
        if description.fingerprint != info.fingerprint:
            raise ModelError(
                f"this head was made for {description.model} ({description.fingerprint}), "
                f"not for {info.name} ({info.fingerprint})",
                hint=_AGAIN,
            )

    def classifier(self, none_name: str | None, threshold: float | None) -> HeadClassifier:
        """Return a classifier with this head."""
        return HeadClassifier(self.description.labels, self.head, self.novelty, none_name, threshold)


def write_head(head_file: HeadFile, target: Target) -> None:
    """Write the file. Raises OutputError."""
    from safetensors.numpy import save

    head, novelty = head_file.head, head_file.novelty
    tensors = {
        "weights": head.weights, "bias": head.bias, "examples": head.examples, "votes": head.votes,
        "middle": novelty.middle, "centres": novelty.centres,
    }  # fmt: skip
    numbers = {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()}
    target.write(save(numbers, metadata={KEY: dumps(asdict(head_file.description))}))


def read_tensors(path: str) -> tuple[dict[str, str], Tensors]:
    """Read a safetensors file: its metadata, and its tensors by name.

    Raises:
        LabelsError: it cannot be read, or is not such a file.
    """
    from safetensors.numpy import load

    try:
        data = read_bytes(path, LARGEST)
    except (OSError, ValueError) as error:
        raise LabelsError(f"{path}: cannot be read: {reason_of(error)}") from error
    with own_error(LabelsError, path, what="not a safetensors file", hint="clipcli fit makes one; see docs/heads.md"):
        length = int.from_bytes(data[:8], "little")
        if length > min(_LARGEST_HEADER, len(data)):
            raise DecodeError("its header is longer than the file, or than what is read")
        header = parse_json(data[8 : 8 + length])
        metadata = header.get("__metadata__", {}) if isinstance(header, dict) else None
        if not isinstance(metadata, dict):
            raise DecodeError("its header is no object")
        return {str(key): str(value) for key, value in metadata.items()}, load(data)


def parse_head(path: str, text: str, tensors: Tensors) -> HeadFile:
    """Make a head from the metadata and tensors that `write_head` wrote.

    Raises:
        LabelsError: it is of a newer clipcli, or has invalid values.
    """
    try:
        record = parse_json(text, repeated="refuse")
        if isinstance(record, dict) and isinstance(record.get("format"), int) and record["format"] > FORMAT:
            raise LabelsError(f"{path}: made by a newer clipcli (format {record['format']})", hint="upgrade clipcli")
        description = decode(HeadDescription, record)
        _check_description(description)
        _check_tensors(description, tensors)
    except ValueError as error:
        raise LabelsError(f"{path}: not a head of clipcli fit ({error})") from error
    weights, bias, examples, votes, middle, centres = (np.asarray(tensors[name], np.float32) for name in _TENSORS)
    head = FewShotHead(weights, bias, examples, votes, description.sharpness, description.neighbours)
    return HeadFile(description, head, Novelty(middle, centres, description.limit))


def _check_description(description: HeadDescription) -> None:
    """Refuse values of the right type that are out of range. Raises DecodeError."""
    if description.kind != "few-shot":
        raise DecodeError(f"its kind is {shown(description.kind)}")
    if not description.labels or len(set(description.labels)) < len(description.labels) or not all(description.labels):
        raise DecodeError("its labels are missing, empty or repeated")
    if len(description.images) != len(description.labels):
        raise DecodeError("its images are not a number for each label")
    numbers = {"sharpness": (description.sharpness, 0.0, 1e6), "neighbours": (description.neighbours, 0, math.inf)}
    if description.limit is not None:
        numbers["limit"] = (description.limit, -1.0, 1.0)
    for value in (*(description.held_out or ()), *(description.zero_shot or ())):
        numbers["accuracy"] = (value, 0.0, 1.0)
        if not 0.0 <= value <= 1.0:
            break
    for name, (value, low, high) in numbers.items():
        if not low <= value <= high:  # neither is a NaN
            raise DecodeError(f"{name} is {value:g}, not from {low:g} to {high:g}")


def _check_tensors(description: HeadDescription, tensors: Tensors) -> None:
    """Refuse tensors of other shapes, or with numbers that are not finite. Raises DecodeError."""
    if missing := [name for name in _TENSORS if name not in tensors]:
        raise DecodeError(f"no tensor {', '.join(missing)}")
    labels, (rows, dim) = len(description.labels), (*tensors["examples"].shape, 0, 0)[:2]
    shapes = {
        "weights": (labels, dim), "bias": (labels,), "examples": (rows, dim), "votes": (rows, labels),
        "middle": (dim,), "centres": (labels, dim),
    }  # fmt: skip
    for name, shape in shapes.items():
        tensor = tensors[name]
        if tensor.shape != shape:
            raise DecodeError(f"{name} has the shape {tensor.shape}, not {shape}")
        if tensor.dtype.kind != "f" or not np.isfinite(tensor).all():
            raise DecodeError(f"{name} holds what is no finite number")
