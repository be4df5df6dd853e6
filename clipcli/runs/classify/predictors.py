"""`classify` with predictors on CLIP vectors: scores instead of labels, and limits on the scores.

A predictor is a file of linear layers in safetensors, as its authors published it. Published predictors are recognised
by their layers' names and shapes. Other files must give the activation between layers, and may give the model of the
vectors, in their metadata. docs/heads.md shows the layouts.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import numpy as np

from clipcli.core.console import printable
from clipcli.core.decode import DecodeError, shown
from clipcli.core.files import split_name
from clipcli.errors import ExitCode, LabelsError, ModelError, UsageError, did_you_mean
from clipcli.output import ErrorRow
from clipcli.output.reports import CheckReport, Finding, Reporting
from clipcli.runs.classify.learned_files import HEAD_KEY, HeadFile, parse_head, read_tensors
from clipcli.runs.classify.rows import PredictedRow
from clipcli.tasks.fit.heads import ACTIVATIONS, OUTPUT_KINDS, Predictor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from clipcli.core.console import RunSummary
    from clipcli.core.encoder import ModelInfo
    from clipcli.inputs.collect import ImageRef
    from clipcli.runs.base import Advance
    from clipcli.runs.classify.stored_vectors import StoredVectors
    from clipcli.session.session import Session
    from clipcli.tasks.fit.heads import Activation, OutputKind

    Tensors = Mapping[str, npt.NDArray[Any]]

_EPSILON: Final = np.float32(1e-10)


@dataclass(frozen=True)
class PublishedLayout:
    """A published predictor, recognised by the names and sizes of its layers."""

    about: str
    layers: tuple[str, ...]
    """Names of the layers; empty matches any names."""
    sizes: tuple[int, ...]
    """Input size, then the output size of each layer."""
    activation: Activation
    output: OutputKind
    model: str


LAYOUTS: Final = (
    PublishedLayout(
        "improved-aesthetic-predictor, linear (sac+logos+ava1-l14-linearMSE)",
        ("layers.0", "layers.2", "layers.4", "layers.6", "layers.7"), (768, 1024, 128, 64, 16, 1),
        "none", "none", "ViT-L-14/openai",
    ),
    PublishedLayout(
        "CLIP-based-NSFW-Detector for ViT-L/14", ("linear_1", "linear_2", "linear_3", "linear_4"),
        (768, 64, 512, 256, 1), "relu", "sigmoid", "ViT-L-14/openai",
    ),
    PublishedLayout(
        "CLIP-based-NSFW-Detector for ViT-B/32", ("linear_1", "linear_2", "linear_3"), (512, 32, 32, 1),
        "relu", "sigmoid", "ViT-B-32/openai",
    ),
    PublishedLayout(
        "H14_NSFW_Detector", (), (1024, 1024, 2048, 1024, 256, 128, 16, 1), "relu", "none",
        "ViT-H-14/laion2b_s32b_b79k",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class PredictorFile:
    """A predictor and the name of its scores."""

    name: str
    source: str
    predictor: Predictor
    names: tuple[str, ...]
    """Names of its outputs; just `name` if there is one."""
    model: str | None
    """The model whose vectors it was trained on; None if unknown."""

    def require_model(self, info: ModelInfo) -> str | None:
        """Refuse vectors of another length or model; return a warning if the file names no model.

        Raises:
            ModelError: they are not what the predictor was trained on.
        """
        if self.predictor.dim != info.dim:
            raise ModelError(
                f"{self.source} takes vectors of {self.predictor.dim} numbers, and {info.name} gives {info.dim}",
                hint=f"-m {self.model}" if self.model else "name the model that it was trained on with -m",
            )
        if self.model is None:
            return f"{self.source} does not say which model it was trained on; scores of another one mean nothing"
        if _plain(self.model) not in {_plain(info.name), info.fingerprint}:
            raise ModelError(
                f"{self.source} was trained on vectors of {self.model}, not of {info.name}", hint=f"-m {self.model}"
            )
        return None


def _plain(model: str) -> str:
    """Return a model's name without `-quickgelu`: OpenAI's weights are published under both names."""
    return model.replace("-quickgelu/", "/").casefold()


def parse_predictor(name: str, path: str, metadata: Mapping[str, str], tensors: Tensors) -> PredictorFile:
    """Make a predictor from the metadata and tensors of its file.

    Raises:
        LabelsError: it is not a predictor, or its metadata lack something.
    """
    try:
        layers = _layers(tensors)
        sizes = (int(tensors[f"{layers[0]}weight"].shape[1]), *(len(tensors[f"{layer}weight"]) for layer in layers))
        plain = tuple(layer.rstrip(".") for layer in layers)
        known = next((layout for layout in LAYOUTS if layout.sizes == sizes and layout.layers in {(), plain}), None)
        activation = _choice(metadata, "activation", ACTIVATIONS, known.activation if known else None, len(layers) == 1)
        output = _choice(metadata, "output", OUTPUT_KINDS, known.output if known else None, optional=True)
        weights = tuple(_numbers(tensors, f"{layer}weight") for layer in layers)
        biases = tuple(_bias(tensors, layer, len(weight)) for layer, weight in zip(layers, weights, strict=True))
        mean, deviation = _normalization(tensors, sizes[0])
        predictor = Predictor(
            weights, biases, cast("Activation", activation), cast("OutputKind", output), mean, deviation
        )
        names = _output_names(name, metadata, predictor.outputs)
    except DecodeError as error:
        raise LabelsError(
            f"{path}: {error}", hint="docs/heads.md shows which layers and metadata it may have"
        ) from error
    return PredictorFile(name, path, predictor, names, metadata.get("model") or (known.model if known else None))


def _layers(tensors: Tensors) -> list[str]:
    """Return the prefixes of the layers' names, in order. Raises DecodeError if their sizes do not match."""
    ends = ("weight", "bias", "norm.mean", "norm.variance")
    if unknown := [key for key in tensors if not key.endswith(ends)]:
        raise DecodeError(f"not a predictor: it has a tensor {shown(unknown[0])}")
    layers = sorted((key.removesuffix("weight") for key in tensors if key.endswith("weight")), key=_natural)
    if not layers:
        raise DecodeError("not a predictor: it has no layer")
    if stray := [key for key in tensors if key.endswith("bias") and key.removesuffix("bias") not in layers]:
        raise DecodeError(f"not a predictor: {shown(stray[0])} has no weight")
    previous = None
    for layer in layers:
        shape = tensors[f"{layer}weight"].shape
        if len(shape) != 2 or 0 in shape:  # noqa: PLR2004 - a matrix
            raise DecodeError(f"not a predictor: {layer}weight has the shape {shape}")
        if previous not in {None, shape[1]}:
            raise DecodeError(f"{layer}weight takes {shape[1]} numbers, and the layer before it gives {previous}")
        previous = shape[0]
    return layers


def _natural(key: str) -> list[tuple[int, str]]:
    """Return a sort key that puts `layers.10.` after `layers.2.`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", key)]


def _choice(
    metadata: Mapping[str, str], key: str, known: tuple[str, ...], published: str | None, optional: bool
) -> str:
    value = metadata.get(key, published)
    if value is None and optional:
        return "none"
    if value is None:
        raise DecodeError(f"its layers are of no published predictor, and its metadata lacks {key!r}")
    if value not in known:
        raise DecodeError(f"{key} is {shown(value)}: {did_you_mean(value, known) or 'one of ' + ', '.join(known)}")
    return value


def _numbers(tensors: Tensors, key: str) -> npt.NDArray[np.float32]:
    tensor = tensors[key]
    if tensor.dtype.kind != "f" or not np.isfinite(tensor).all():
        raise DecodeError(f"{key} holds what is no finite number")
    return np.asarray(tensor, np.float32)


def _bias(tensors: Tensors, layer: str, size: int) -> npt.NDArray[np.float32]:
    if f"{layer}bias" not in tensors:
        return np.zeros(size, np.float32)
    return _vector(tensors, f"{layer}bias", size)


def _vector(tensors: Tensors, key: str, size: int) -> npt.NDArray[np.float32]:
    vector = _numbers(tensors, key)
    if vector.shape != (size,):
        raise DecodeError(f"{key} has the shape {vector.shape}, not {(size,)}")
    return vector


def _normalization(
    tensors: Tensors, dim: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | tuple[None, None]:
    """Return mean and standard deviation of the predictor's input normalization, or (None, None)."""
    if not {"norm.mean", "norm.variance"} & set(tensors):
        return None, None
    if not {"norm.mean", "norm.variance"} <= set(tensors):
        raise DecodeError("one of norm.mean and norm.variance is missing")
    variance = _vector(tensors, "norm.variance", dim)
    if (variance < 0).any():
        raise DecodeError("norm.variance holds a negative number")
    return _vector(tensors, "norm.mean", dim), np.asarray(np.sqrt(variance) + _EPSILON, np.float32)


def _output_names(name: str, metadata: Mapping[str, str], count: int) -> tuple[str, ...]:
    if count == 1:
        return (name,)
    labels = [label.strip() for label in metadata.get("labels", "").split(",") if label.strip()]
    if len(set(labels)) != count:
        raise DecodeError(f"it gives {count} numbers, and its metadata has no 'labels' that name each of them")
    return tuple(f"{name}.{label}" for label in labels)


@dataclass(frozen=True)
class ScoreLimit:
    """A lower or upper limit of a score."""

    name: str
    bound: float
    is_minimum: bool

    def holds(self, scores: Mapping[str, float]) -> bool:
        """Return whether an image's scores keep the limit; NaN does not."""
        value = scores[self.name]
        return value >= self.bound if self.is_minimum else value <= self.bound

    @property
    def text(self) -> str:
        """Return the limit in words."""
        return f"{self.name} at {'least' if self.is_minimum else 'most'} {self.bound:g}"


def read_heads(arguments: Sequence[str]) -> tuple[list[HeadFile], list[PredictorFile]]:
    """Read the files of `--head`, as `FILE` or `NAME=FILE`: few-shot heads, and predictors.

    Raises:
        LabelsError: a file that cannot be used.
        UsageError: two predictors of one name.
    """
    heads: list[HeadFile] = []
    predictors: list[PredictorFile] = []
    for argument in arguments:
        name, path = split_name(argument)
        name = name or Path(path).stem
        metadata, tensors = read_tensors(path)
        if HEAD_KEY in metadata:
            heads.append(parse_head(path, metadata[HEAD_KEY], tensors))
        elif name in {predictor.name for predictor in predictors}:
            raise UsageError(f"two heads are called {name}", hint=f"--head OTHER={path}")
        else:
            predictors.append(parse_predictor(name, path, metadata, tensors))
    return heads, predictors


def parse_limits(
    lowest: Sequence[str], highest: Sequence[str], predictors: Sequence[PredictorFile]
) -> tuple[ScoreLimit, ...]:
    """Read `NAME=NUMBER`. Raises UsageError."""
    limits = []
    for option, texts in (("--min", lowest), ("--max", highest)):
        for text in texts:
            name, _, number = text.rpartition("=")
            try:
                bound = float(number)
            except ValueError:
                bound = math.nan
            if not name or not math.isfinite(bound):
                raise UsageError(f"{option} {text!r} is not NAME=NUMBER", hint=f"{option} aesthetic=5")
            require_score(name, f"{option} {text}", predictors)
            limits.append(ScoreLimit(name, bound, option == "--min"))
    return tuple(limits)


def require_score(name: str, source: str, predictors: Sequence[PredictorFile]) -> None:
    """Raise UsageError, which names the source of the limit, if no predictor gives a score of this name."""
    names = [name for predictor in predictors for name in predictor.names]
    if name not in names:
        hint = did_you_mean(name, names) or (f"one of {', '.join(names)}" if names else "give --head FILE")
        raise UsageError(f"{source}: no head is called {name}", hint=hint)


@dataclass
class PredictorRun:
    """One run, ready to go."""

    refs: Iterable[ImageRef]
    predictors: Sequence[PredictorFile]
    limits: tuple[ScoreLimit, ...]
    report: RunSummary
    reporting: Reporting = field(default_factory=Reporting)
    findings: list[Finding] = field(default_factory=list)
    total_of_check: int = 0
    passed: int = 0
    """Images that keep all limits."""
    stored: StoredVectors | None = None
    """Vectors in place of images."""
    name: str = "classify"
    """The name of the check in reports."""
    unit: ClassVar[str] = "image"

    @property
    def total(self) -> int | None:
        """Return the number of images; None for a list that is still arriving on stdin."""
        if self.stored is not None:
            return len(self.stored)
        return len(self.refs) if isinstance(self.refs, list) else None

    def rows(self, session: Session, advance: Advance) -> Iterator[PredictedRow | ErrorRow]:
        """Yield one row per image, in input order. Raises ModelError for vectors of another model."""
        for file in self.predictors:
            if warning := file.require_model(session.info):
                self.report.console.warning(warning)
        results = session.embed_images(self.refs) if self.stored is None else self.stored.embedded(session.info)
        for embedded in results:
            advance(1)
            name, path = embedded.ref.name, embedded.ref.path
            self.total_of_check += 1
            if embedded.vector is None or embedded.error is not None:
                assert embedded.error is not None  # noqa: S101 - one of the two is there
                self.report.fail(name, embedded.error)
                reason = f"{embedded.error.reason} ({embedded.error.stage})"
                self._add_finding(Finding(name, path, ok=False, expected=self._expected, error=reason))
                yield ErrorRow.of(name, embedded.error)
                continue
            self.report.ok()
            scores: dict[str, float] = {}
            for file in self.predictors:
                values = file.predictor.predict(embedded.vector[None])[0].tolist()
                scores |= dict(zip(file.names, values, strict=True))
            yield self._row(embedded.ref, scores)

    def finish(self, session: Session) -> ExitCode:
        """Print the summary, write the reports, and return the exit code."""
        self.report.summarise()
        report = self.check_report(session.info.name)
        if self.limits:
            self.report.console.line(f"check {'holds' if report.holds else 'fails'}: {report.outcome}")
        self.reporting.write([report])
        return self.exit_code

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code; a limit that is not kept comes first."""
        return ExitCode.CHECK_FAILED if self.limits and not self._holds else self.report.exit_code

    def check_report(self, model: str) -> CheckReport:
        """Return the findings of all images."""
        limits = self._expected or "every limit: none was given"
        outcome = f"{self.passed} of {self.total_of_check} images keep {limits}"
        return CheckReport(self.name, tuple(self.findings), self._holds, outcome, model)

    @property
    def _holds(self) -> bool:
        return self.total_of_check > 0 and self.passed == self.total_of_check

    @property
    def _expected(self) -> str | None:
        return " and ".join(limit.text for limit in self.limits) or None

    def _row(self, ref: ImageRef, scores: Mapping[str, float]) -> PredictedRow:
        broken = [limit for limit in self.limits if not limit.holds(scores)]
        self.passed += not broken
        shown = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self._add_finding(Finding(ref.name, ref.path, ok=not broken, expected=self._expected, found=shown))
        for limit in broken:
            self.report.console.line(
                f"{printable(ref.name)}: {limit.name} is {scores[limit.name]:.4g}, not {limit.text}"
            )
        return PredictedRow(ref.name, scores, not broken if self.limits else None)

    def _add_finding(self, finding: Finding) -> None:
        if self.reporting.needs(ok=finding.ok):
            self.findings.append(finding)
