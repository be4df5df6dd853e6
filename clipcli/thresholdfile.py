"""The file of `clipcli calibrate`: thresholds and a temperature, and what they hold for and for nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipcli.encoder import Scoring
from clipcli.errors import LabelsError, ModelError, UsageError
from clipcli.output.json_lines import dumps
from clipcli.prompts import Label, expand

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from clipcli.encoder import ModelInfo
    from clipcli.output.targets import Target
    from clipcli.prompts import PromptSet

FORMAT = 1
_AGAIN = "run clipcli calibrate again with the same model, labels and prompts as classify"
_NAMED = 3


@dataclass(frozen=True)
class LabelThreshold:
    """One label, with what is known of it on held-out images: value, low, high of a 95 % interval."""

    label: str
    phrases: tuple[str, ...]
    """What stands for it in the prompts."""
    threshold: float
    images: int
    own: bool
    """Whether its own images gave the threshold, or all labels' together."""
    precision: tuple[float, float, float] | None
    recall: tuple[float, float, float] | None


@dataclass(frozen=True)
class Thresholds:
    """What calibration found, and for which model, labels and prompts."""

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
    precision_target: float | None
    seed: int

    @property
    def by_label(self) -> Mapping[str, float]:
        """The lowest score with which each label is given."""
        return {entry.label: entry.threshold for entry in self.labels}

    @property
    def known_labels(self) -> tuple[Label, ...]:
        """The labels that it was made for."""
        return tuple(Label(entry.label, entry.phrases) for entry in self.labels)

    def cooled(self, scoring: Scoring) -> Scoring:
        """The model's head with the temperature in it."""
        return Scoring(scoring.scale / self.temperature, scoring.bias / self.temperature, scoring.activation)

    def require_texts(
        self, labels: Sequence[Label], prompts: PromptSet, background: Iterable[str], *, multi_label: bool
    ) -> None:
        """Refuse thresholds for other labels, prompts or another kind of answer.

        Raises:
            LabelsError: other labels, or other texts for them.
            UsageError: made for `--multi-label`, or for one label an image.
        """
        if self.multi_label != multi_label:
            made, add = ("with", "add") if self.multi_label else ("without", "leave away")
            raise UsageError(f"these thresholds were made {made} --multi-label", hint=f"{add} --multi-label")
        mine, theirs = {label.name for label in labels}, set(self.by_label)
        if mine != theirs:
            extra = ", ".join(sorted(mine - theirs)[:_NAMED])
            missing = ", ".join(sorted(theirs - mine)[:_NAMED])
            what = "; ".join(filter(None, (extra and f"no threshold for {extra}", missing and f"without {missing}")))
            raise LabelsError(f"these thresholds were made for other labels: {what}", hint=_AGAIN)
        if self.texts != digest_of_texts(labels, prompts, background):
            raise LabelsError(
                f"these thresholds were made for other prompts ({self.prompts}) than these ({prompts.name})",
                hint=f"--prompts {self.prompts}, if its texts are still the same; else {_AGAIN}",
            )

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


def write_thresholds(found: Thresholds, target: Target) -> None:
    """Write the file. Raises OutputError."""
    target.write(dumps({"format": FORMAT, **asdict(found)}, indent=2).encode("utf-8") + b"\n")


def read_thresholds(path: str) -> Thresholds:
    """Read what `write_thresholds` wrote.

    Raises:
        LabelsError: it cannot be read, is something else, or is of a newer clipcli.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if data["format"] > FORMAT:
            raise LabelsError(f"{path}: made by a newer clipcli (format {data['format']})", hint="upgrade clipcli")
        return _thresholds({key: value for key, value in data.items() if key != "format"})
    except OSError as error:
        raise LabelsError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabelsError(f"{path}: not a thresholds file of clipcli calibrate ({error})") from error


def _thresholds(data: dict[str, Any]) -> Thresholds:
    labels = tuple(
        LabelThreshold(
            str(entry["label"]), tuple(map(str, entry["phrases"])),
            float(entry["threshold"]), int(entry["images"]), bool(entry["own"]),
            _triple(entry["precision"]), _triple(entry["recall"]),
        )
        for entry in data["labels"]
    )  # fmt: skip
    if not float(data["temperature"]) > 0:
        raise ValueError(f"temperature {data['temperature']}")
    before, after = data["calibration_error"]
    return Thresholds(**{**data, "labels": labels, "calibration_error": (float(before), float(after))})


def _triple(values: Any) -> tuple[float, float, float] | None:
    if values is None:
        return None
    value, low, high = map(float, values)
    return value, low, high
