"""Files that `classify` takes from `clipcli fit` and `clipcli calibrate`: few-shot heads and thresholds.

A head is a safetensors file with a description in its metadata; thresholds are a JSON file. Each names the model that
it is valid for, and thresholds also the labels and prompts.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from clipcli.core.decode import DecodeError, decode, parse_json, shown
from clipcli.core.encoder import Scoring
from clipcli.core.files import own_error, read_bytes, reason_of
from clipcli.errors import LabelsError, ModelError, UsageError
from clipcli.inputs.text_files import quoted
from clipcli.output.rows import dumps
from clipcli.prompts import Label, expand
from clipcli.tasks.fit import FewShotHead, HeadClassifier, Novelty

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from clipcli.core.encoder import ModelInfo
    from clipcli.output.targets import Target
    from clipcli.prompts import PromptSet

    Tensors = Mapping[str, npt.NDArray[Any]]

HEAD_FORMAT: Final = 1
HEAD_KEY: Final = "clipcli"
"""Metadata key of a head's description, which is JSON."""
_LARGEST_HEAD: Final = 2 << 30
"""Bytes. 100,000 examples of 1,024 numbers, with votes for 1,000 labels, are 0.8 GB."""
_LARGEST_HEADER: Final = 64 << 20
_FIT_AGAIN: Final = "run clipcli fit again with the model of this run, or name the head's model with -m"
_TENSORS: Final = ("weights", "bias", "examples", "votes", "middle", "centres")
_THRESHOLDS_FORMAT: Final = 1
_LARGEST_THRESHOLDS: Final = 256 << 20
"""Bytes. A million labels are about 200 MB."""
_CALIBRATE_AGAIN: Final = "run clipcli calibrate again with the same model, labels and prompts as classify"
_NAMED: Final = 3
_TEMPERATURES: Final = (1e-4, 1e4)
"""Far wider than any calibration: outside this range all scores would be 0 and 1, or all equal."""


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
        _require_model("this head was made", self.description, info, _FIT_AGAIN)

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
    target.write(save(numbers, metadata={HEAD_KEY: dumps(asdict(head_file.description))}))


def read_tensors(path: str) -> tuple[dict[str, str], Tensors]:
    """Read a safetensors file: its metadata, and its tensors by name.

    Raises:
        LabelsError: it cannot be read, or is not such a file.
    """
    from safetensors.numpy import load

    try:
        data = read_bytes(path, _LARGEST_HEAD)
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
        _refuse_newer(path, record, HEAD_FORMAT)
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
    _require(description.sharpness, "sharpness", 0.0, 1e6)
    _require(description.neighbours, "neighbours", 0, math.inf)
    if description.limit is not None:
        _require(description.limit, "limit", -1.0, 1.0)
    for value in (*(description.held_out or ()), *(description.zero_shot or ())):
        _require(value, "accuracy")


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


@dataclass(frozen=True)
class LabelThreshold:
    """The threshold of one label, with its figures on held-out images: value, low and high of a 95 % interval."""

    label: str
    phrases: tuple[str, ...]
    """The phrases for the label in the prompts."""
    threshold: float
    images: int
    own: bool
    """True if the threshold is from its own images, False if from those of all labels."""
    precision: tuple[float, float, float] | None
    recall: tuple[float, float, float] | None


@dataclass(frozen=True)
class ThresholdFile:
    """The result of a calibration, with its model, labels and prompts."""

    model: str
    fingerprint: str
    multi_label: bool
    prompts: str
    """The prompt set's name, for messages."""
    texts: str
    """sha256 of all labels and their texts."""
    temperature: float
    labels: tuple[LabelThreshold, ...]
    images: int
    calibration_error: tuple[float, float]
    """Before calibration, on all images; after it, on held-out images."""
    accuracy: float
    """Share of held-out images that were decided right."""
    objective: str
    """`f1` or `decisions`, where there is no precision target."""
    target_precision: float | None
    seed: int

    @property
    def by_label(self) -> Mapping[str, float]:
        """Return the threshold of each label."""
        return {entry.label: entry.threshold for entry in self.labels}

    @property
    def known_labels(self) -> tuple[Label, ...]:
        """Return the labels that the thresholds were made for."""
        return tuple(Label(entry.label, entry.phrases) for entry in self.labels)

    def cooled(self, scoring: Scoring) -> Scoring:
        """Return the scoring with scale and bias divided by the temperature."""
        return Scoring(scoring.scale / self.temperature, scoring.bias / self.temperature, scoring.activation)

    def require_texts(
        self, labels: Sequence[Label], prompts: PromptSet, background: Iterable[str], *, multi_label: bool
    ) -> None:
        """Refuse thresholds for other labels, prompts or another kind of answer.

        Raises:
            LabelsError: other labels, or other texts for them.
            UsageError: made for `--multi-label`, or for one label per image.
        """
        if self.multi_label != multi_label:
            with_or_without, add = ("with", "add") if self.multi_label else ("without", "leave out")
            raise UsageError(f"these thresholds were made {with_or_without} --multi-label", hint=f"{add} --multi-label")
        names, calibrated = {label.name for label in labels}, set(self.by_label)
        if names != calibrated:
            extra = ", ".join(sorted(names - calibrated)[:_NAMED])
            missing = ", ".join(sorted(calibrated - names)[:_NAMED])
            differences = "; ".join(
                filter(None, (extra and f"no threshold for {extra}", missing and f"without {missing}"))
            )
            raise LabelsError(f"these thresholds were made for other labels: {differences}", hint=_CALIBRATE_AGAIN)
        if self.texts != digest_of_texts(labels, prompts, background):
            raise LabelsError(self._difference(labels, prompts), hint=_CALIBRATE_AGAIN)

    def _difference(self, labels: Sequence[Label], prompts: PromptSet) -> str:
        """Return a sentence that names the texts that differ from those of the calibration."""
        phrases_of = {entry.label: entry.phrases for entry in self.labels}
        for label in labels:
            if phrases_of[label.name] != label.phrases:
                calibrated, current = "; ".join(phrases_of[label.name]), "; ".join(label.phrases)
                return (
                    f"these thresholds were made with other texts for {quoted(label.name)}: "
                    f"{quoted(calibrated)} there, {quoted(current)} here"
                )
        if self.prompts != prompts.name:
            return f"these thresholds were made with the prompts {self.prompts}, not with {prompts.name}"
        return f"the templates of {self.prompts}, or --background, have changed since these thresholds were made"

    def require_model(self, info: ModelInfo) -> None:
        """Refuse thresholds of another model. Raises ModelError."""
        _require_model("these thresholds were made", self, info, _CALIBRATE_AGAIN)


def digest_of_texts(labels: Sequence[Label], prompts: PromptSet, background: Iterable[str]) -> str:
    """Return a sha256 of all texts behind the labels' vectors; the order of labels does not matter."""
    texts = {label.name: expand(label, prompts) for label in labels}
    return hashlib.sha256(json.dumps([texts, list(background)], sort_keys=True).encode()).hexdigest()


def write_thresholds(thresholds: ThresholdFile, target: Target) -> None:
    """Write the file. Raises OutputError."""
    target.write(dumps({"format": _THRESHOLDS_FORMAT, **asdict(thresholds)}, indent=2).encode("utf-8") + b"\n")


def read_thresholds(path: str) -> ThresholdFile:
    """Read a file that `write_thresholds` wrote.

    Raises:
        LabelsError: it cannot be read, is of another kind or of a newer clipcli, or has a number out of range.
    """
    try:
        record = parse_json(read_bytes(path, _LARGEST_THRESHOLDS), repeated="refuse")
        _refuse_newer(path, record, _THRESHOLDS_FORMAT)
        thresholds = decode(_FormattedThresholds, record)
        _check_thresholds(thresholds)
    except OSError as error:
        raise LabelsError(f"{path}: cannot be read: {reason_of(error)}") from error
    except ValueError as error:
        raise LabelsError(f"{path}: not a thresholds file of clipcli calibrate ({error})") from error
    return ThresholdFile(*(getattr(thresholds, field.name) for field in fields(ThresholdFile)))


@dataclass(frozen=True)
class _FormattedThresholds(ThresholdFile):
    """A threshold file with its format number."""

    format: int = -1


def _check_thresholds(thresholds: ThresholdFile) -> None:
    """Refuse values of the right type that are out of range. Raises DecodeError, which names the value."""
    if not thresholds.labels:
        raise DecodeError("it has no labels")
    name, count = Counter(entry.label for entry in thresholds.labels).most_common(1)[0]
    if count > 1:
        raise DecodeError(f"label {shown(name)} stands {count} times")
    _require(thresholds.temperature, "temperature", *_TEMPERATURES)
    for value in (*thresholds.calibration_error, thresholds.accuracy, thresholds.target_precision or 0.0):
        _require(value, "calibration_error, accuracy or target_precision")
    _require(thresholds.images, "images", 0, math.inf)
    for entry in thresholds.labels:
        of = f"of label {shown(entry.label)}"
        _require(entry.threshold, f"threshold {of}")
        _require(entry.images, f"images {of}", 0, math.inf)
        for value in (*(entry.precision or ()), *(entry.recall or ())):
            _require(value, f"precision or recall {of}")


def _require(value: float, name: str, low: float = 0.0, high: float = 1.0) -> None:
    if not low <= value <= high:  # neither is a NaN
        raise DecodeError(f"{name} is {value:g}, not from {low:g} to {high:g}")


def _require_model(made: str, file: HeadDescription | ThresholdFile, info: ModelInfo, hint: str) -> None:
    if file.fingerprint != info.fingerprint:
        models = f"for {file.model} ({file.fingerprint}), not for {info.name} ({info.fingerprint})"
        raise ModelError(f"{made} {models}", hint=hint)


def _refuse_newer(path: str, record: object, known_format: int) -> None:
    if isinstance(record, dict) and isinstance(record.get("format"), int) and record["format"] > known_format:
        raise LabelsError(f"{path}: made by a newer clipcli (format {record['format']})", hint="upgrade clipcli")
