"""Files of predictors on CLIP vectors: linear layers as their authors published them, as safetensors.

What a file does not say (the activation between layers, the model that the vectors come from) is known of the published
ones by their shapes, and must else stand in the file's metadata. docs/heads.md shows the layouts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from clipcli.core.decode import DecodeError, shown
from clipcli.core.suggest import did_you_mean
from clipcli.errors import LabelsError, ModelError
from clipcli.tasks.predictor import ACTIVATIONS, OUTPUT_KINDS, Predictor

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from clipcli.core.encoder import ModelInfo
    from clipcli.tasks.predictor import Activation, OutputKind

    Tensors = Mapping[str, npt.NDArray[Any]]

_EPSILON: Final = np.float32(1e-10)


@dataclass(frozen=True)
class PublishedLayout:
    """A predictor whose layers are known by their names and sizes."""

    about: str
    layers: tuple[str, ...]
    """Names of the layers; empty is any."""
    sizes: tuple[int, ...]
    """Input, then the output of each layer."""
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
    """A predictor under the name that its scores get."""

    name: str
    source: str
    predictor: Predictor
    names: tuple[str, ...]
    """Of its outputs: the name itself where it has one."""
    model: str | None
    """The model whose vectors it was trained on; None where nothing says it."""

    def require_model(self, info: ModelInfo) -> str | None:
        """Refuse vectors of another length or model; return a warning where the file names no model.

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
    """OpenAI's weights have two names: the architecture with QuickGELU spelt out, and without."""
    return model.replace("-quickgelu/", "/").casefold()


def parse_predictor(name: str, path: str, metadata: Mapping[str, str], tensors: Tensors) -> PredictorFile:
    """Read a predictor from the parts of its file.

    Raises:
        LabelsError: it is none, or the file does not say enough.
    """
    try:
        layers = _layers(tensors)
        sizes = (int(tensors[f"{layers[0]}weight"].shape[1]), *(len(tensors[f"{each}weight"]) for each in layers))
        plain = tuple(each.rstrip(".") for each in layers)
        known = next((each for each in LAYOUTS if each.sizes == sizes and each.layers in {(), plain}), None)
        activation = _choice(metadata, "activation", ACTIVATIONS, known.activation if known else None, len(layers) == 1)
        output = _choice(metadata, "output", OUTPUT_KINDS, known.output if known else None, optional=True)
        weights = tuple(_numbers(tensors, f"{each}weight") for each in layers)
        biases = tuple(_bias(tensors, each, len(weight)) for each, weight in zip(layers, weights, strict=True))
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
    """Prefixes of the layers' names, in order. Raises DecodeError where they are not layers that follow each other."""
    ends = ("weight", "bias", "norm.mean", "norm.variance")
    if other := [key for key in tensors if not key.endswith(ends)]:
        raise DecodeError(f"not a predictor: it has a tensor {shown(other[0])}")
    layers = sorted((key.removesuffix("weight") for key in tensors if key.endswith("weight")), key=_natural)
    if not layers:
        raise DecodeError("not a predictor: it has no layer")
    if stray := [key for key in tensors if key.endswith("bias") and key.removesuffix("bias") not in layers]:
        raise DecodeError(f"not a predictor: {shown(stray[0])} has no weight")
    before = None
    for layer in layers:
        shape = tensors[f"{layer}weight"].shape
        if len(shape) != 2 or 0 in shape:  # noqa: PLR2004 - a matrix
            raise DecodeError(f"not a predictor: {layer}weight has the shape {shape}")
        if before not in {None, shape[1]}:
            raise DecodeError(f"{layer}weight takes {shape[1]} numbers, and the layer before it gives {before}")
        before = shape[0]
    return layers


def _natural(key: str) -> list[tuple[int, str]]:
    """`layers.10.` comes after `layers.2.`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", key)]


def _choice(
    metadata: Mapping[str, str], key: str, known: tuple[str, ...], published: str | None, optional: bool
) -> str:
    given = metadata.get(key, published)
    if given is None and optional:
        return "none"
    if given is None:
        raise DecodeError(f"its layers are of no published predictor, and its metadata lacks {key!r}")
    if given not in known:
        raise DecodeError(f"{key} is {shown(given)}: {did_you_mean(given, known) or 'one of ' + ', '.join(known)}")
    return given


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
    found = _numbers(tensors, key)
    if found.shape != (size,):
        raise DecodeError(f"{key} has the shape {found.shape}, not {(size,)}")
    return found


def _normalization(
    tensors: Tensors, dim: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | tuple[None, None]:
    """Mean and deviation of the predictor's own input layer, where it has one."""
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
    given = [each.strip() for each in metadata.get("labels", "").split(",") if each.strip()]
    if len(set(given)) != count:
        raise DecodeError(f"it gives {count} numbers, and its metadata has no 'labels' that name each of them")
    return tuple(f"{name}.{each}" for each in given)
