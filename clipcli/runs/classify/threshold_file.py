"""The file of `clipcli calibrate`: thresholds and a temperature, and what they hold for and for nothing else."""

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
"""Bytes. A million labels have about 200 MB."""
_AGAIN = "run clipcli calibrate again with the same model, labels and prompts as classify"
_NAMED = 3
_TEMPERATURES = (1e-4, 1e4)
"""Far wider than calibration finds: beyond them all scores would be 0 and 1, or all alike."""


@dataclass(frozen=True)
class LabelThreshold:
    """One label, with what is known of it on held-out images: value, low, high of a 95 % interval."""

    label: str
    phrases: tuple[str, ...]
    """The text for it in the prompts."""
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
    """sha256 over all labels and the texts that stand for them."""
    temperature: float
    labels: tuple[LabelThreshold, ...]
    images: int
    calibration_error: tuple[float, float]
    """Before, on all images, and after, on held-out ones."""
    accuracy: float
    """Share of held-out images that were decided right."""
    objective: str
    """`f1` or `decisions`, where there is no precision target."""
    target_precision: float | None
    seed: int

    @property
    def by_label(self) -> Mapping[str, float]:
        """Return the lowest score with which each label is given."""
        return {entry.label: entry.threshold for entry in self.labels}

    @property
    def known_labels(self) -> tuple[Label, ...]:
        """Return the labels that it was made for."""
        return tuple(Label(entry.label, entry.phrases) for entry in self.labels)

    def cooled(self, scoring: Scoring) -> Scoring:
        """Return the model's head with the temperature in it."""
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
            made, add = ("with", "add") if self.multi_label else ("without", "leave out")
            raise UsageError(f"these thresholds were made {made} --multi-label", hint=f"{add} --multi-label")
        mine, theirs = {label.name for label in labels}, set(self.by_label)
        if mine != theirs:
            extra = ", ".join(sorted(mine - theirs)[:_NAMED])
            missing = ", ".join(sorted(theirs - mine)[:_NAMED])
            what = "; ".join(filter(None, (extra and f"no threshold for {extra}", missing and f"without {missing}")))
            raise LabelsError(f"these thresholds were made for other labels: {what}", hint=_AGAIN)
        if self.texts != digest_of_texts(labels, prompts, background):
            raise LabelsError(self._what_differs(labels, prompts), hint=_AGAIN)

    def _what_differs(self, labels: Sequence[Label], prompts: PromptSet) -> str:
        """Say which texts are others than those that the thresholds were made with."""
        made = {entry.label: entry.phrases for entry in self.labels}
        for label in labels:
            if made[label.name] != label.phrases:
                there, here = "; ".join(made[label.name]), "; ".join(label.phrases)
                return (
                    f"these thresholds were made with other texts for {quoted(label.name)}: "
                    f"{quoted(there)} there, {quoted(here)} here"
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
    """Of everything that becomes a label's vector; the order of labels does not matter."""
    texts = {label.name: expand(label, prompts) for label in labels}
    return hashlib.sha256(json.dumps([texts, list(background)], sort_keys=True).encode()).hexdigest()


def write_thresholds(found: ThresholdFile, target: Target) -> None:
    """Write the file. Raises OutputError."""
    target.write(dumps({"format": FORMAT, **asdict(found)}, indent=2).encode("utf-8") + b"\n")


def read_thresholds(path: str) -> ThresholdFile:
    """Read what `write_thresholds` wrote.

    Raises:
        LabelsError: it cannot be read, is something else, is of a newer clipcli, or holds a number that means nothing.
    """
    try:
        data = parse_json(read_bytes(path, _LARGEST), repeated="refuse")
        if isinstance(data, dict) and isinstance(data.get("format"), int) and data["format"] > FORMAT:
            raise LabelsError(f"{path}: made by a newer clipcli (format {data['format']})", hint="upgrade clipcli")
        found = decode(_File, data)
        _check_numbers(found)
    except OSError as error:
        raise LabelsError(f"{path}: cannot be read: {reason_of(error)}") from error
    except ValueError as error:
        raise LabelsError(f"{path}: not a thresholds file of clipcli calibrate ({error})") from error
    return ThresholdFile(*(getattr(found, one.name) for one in fields(ThresholdFile)))


@dataclass(frozen=True)
class _File(ThresholdFile):
    """With what stands before it in the file."""

    format: int = -1


def _check_numbers(found: ThresholdFile) -> None:
    """Refuse what is of the right kind and means nothing. Raises DecodeError, which says where it stands."""
    if not found.labels:
        raise DecodeError("it has no labels")
    name, count = Counter(entry.label for entry in found.labels).most_common(1)[0]
    if count > 1:
        raise DecodeError(f"label {shown(name)} stands {count} times")
    _require(found.temperature, "temperature", *_TEMPERATURES)
    for value in (*found.calibration_error, found.accuracy, found.target_precision or 0.0):
        _require(value, "calibration_error, accuracy or target_precision")
    _require(found.images, "images", 0, math.inf)
    for entry in found.labels:
        of = f"of label {shown(entry.label)}"
        _require(entry.threshold, f"threshold {of}")
        _require(entry.images, f"images {of}", 0, math.inf)
        for value in (*(entry.precision or ()), *(entry.recall or ())):
            _require(value, f"precision or recall {of}")


def _require(value: float, what: str, low: float = 0.0, high: float = 1.0) -> None:
    if not low <= value <= high:  # neither is a NaN
        raise DecodeError(f"{what} is {value:g}, not from {low:g} to {high:g}")
