"""The file of `clipcli calibrate`: thresholds and a temperature, with the model and labels that they are valid for."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from clipcli.core.decode import DecodeError, decode, parse_json, shown
from clipcli.core.encoder import Scoring
from clipcli.core.files import read_bytes, reason_of
from clipcli.errors import LabelsError, ModelError, UsageError
from clipcli.inputs.text_files import quoted
from clipcli.output.json import dumps
from clipcli.prompts import Label, expand

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from clipcli.core.encoder import ModelInfo
    from clipcli.output.targets import Target
    from clipcli.prompts import PromptSet

FORMAT = 1
_LARGEST = 256 << 20
"""Bytes. A million labels are about 200 MB."""
_AGAIN = "run clipcli calibrate again with the same model, labels and prompts as classify"
_NAMED = 3
_TEMPERATURES = (1e-4, 1e4)
"""Far wider than any calibration: outside this range all scores would be 0 and 1, or all equal."""


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
            raise LabelsError(f"these thresholds were made for other labels: {differences}", hint=_AGAIN)
        if self.texts != digest_of_texts(labels, prompts, background):
            raise LabelsError(self._difference(labels, prompts), hint=_AGAIN)

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
        if self.fingerprint != info.fingerprint:
            raise ModelError(
                f"these thresholds were made for {self.model} ({self.fingerprint}), "
                f"not for {info.name} ({info.fingerprint})",
                hint=_AGAIN,
            )


def digest_of_texts(labels: Sequence[Label], prompts: PromptSet, background: Iterable[str]) -> str:
    """Return a sha256 of all texts behind the labels' vectors; the order of labels does not matter."""
    texts = {label.name: expand(label, prompts) for label in labels}
    return hashlib.sha256(json.dumps([texts, list(background)], sort_keys=True).encode()).hexdigest()


def write_thresholds(thresholds: ThresholdFile, target: Target) -> None:
    """Write the file. Raises OutputError."""
    target.write(dumps({"format": FORMAT, **asdict(thresholds)}, indent=2).encode("utf-8") + b"\n")


def read_thresholds(path: str) -> ThresholdFile:
    """Read a file that `write_thresholds` wrote.

    Raises:
        LabelsError: it cannot be read, is of another kind or of a newer clipcli, or has a number out of range.
    """
    try:
        data = parse_json(read_bytes(path, _LARGEST), repeated="refuse")
        if isinstance(data, dict) and isinstance(data.get("format"), int) and data["format"] > FORMAT:
            raise LabelsError(f"{path}: made by a newer clipcli (format {data['format']})", hint="upgrade clipcli")
        thresholds = decode(_File, data)
        _check_numbers(thresholds)
    except OSError as error:
        raise LabelsError(f"{path}: cannot be read: {reason_of(error)}") from error
    except ValueError as error:
        raise LabelsError(f"{path}: not a thresholds file of clipcli calibrate ({error})") from error
    return ThresholdFile(*(getattr(thresholds, field.name) for field in fields(ThresholdFile)))


@dataclass(frozen=True)
class _File(ThresholdFile):
    """A threshold file with its format number."""

    format: int = -1


def _check_numbers(thresholds: ThresholdFile) -> None:
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
