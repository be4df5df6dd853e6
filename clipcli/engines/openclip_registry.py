"""open_clip's own lists of architectures and weights, read without importing torch.

Importing open_clip takes seconds. Its list of weights is one module without need of torch, and its architectures are
JSON files; both are loaded alone. Where it is not installed, the lists are those of `openclip_zoo.json`, which
`python docs/model_figures.py` writes, so that names can be checked and models described.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from clipcli.core.encoder import Interpolation, Preprocessing, ResizeMode
from clipcli.core.optional_packages import install_command, require_torch
from clipcli.core.suggest import did_you_mean
from clipcli.errors import ModelError, UnknownModelError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from clipcli.core.encoder import Activation, ModelSpec

ZOO = Path(__file__).parent / "openclip_zoo.json"
_STAND_IN = "clipcli_open_clip"
"""A package of this name, with open_clip's folder as its path, gives its modules without running its `__init__`."""
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_PREPROCESSING_KEYS = ("mean", "std", "interpolation", "resize_mode", "fill_color")
_KNOWN = {"interpolation": get_args(Interpolation), "resize_mode": get_args(ResizeMode)}


@cache
def tags() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Architecture → tag → what open_clip knows of those weights (`hf_hub`, `mean`, `std`, `quick_gelu`, …).

    Raises:
        ModelError: this open_clip keeps its list elsewhere.
    """
    if _installed() is None:
        return _kept()["tags"]
    package = types.ModuleType(_STAND_IN)
    package.__path__ = [str(_folder())]
    sys.modules[_STAND_IN] = package
    with _without("safetensors.torch"):
        module = importlib.import_module(f"{_STAND_IN}.pretrained")
    found = getattr(module, "_PRETRAINED", None)
    if not isinstance(found, dict):
        raise ModelError("this version of open_clip keeps its list of weights elsewhere", hint=install_command("torch"))
    return found


@cache
def configs() -> Mapping[str, Path]:
    """Architecture → its JSON config. Raises TorchMissingError where open_clip is not installed."""
    return {path.stem: path for path in sorted((_folder() / "model_configs").glob("*.json"))}


def architectures() -> Collection[str]:
    """Return the names of all architectures."""
    return configs() if _installed() else _kept()["configs"]


def repository(architecture: str, tag: str) -> tuple[str, str]:
    """Return where on the hub a tag's weights are: the repository, and the file's name or nothing for the usual ones.

    Raises:
        ModelError: they are not on the hub.
    """
    repo, _, filename = str(tags()[architecture][tag].get("hf_hub", "")).rpartition("/")
    if not repo:
        hint = f"download them yourself, then {architecture}@path/to/checkpoint"
        raise ModelError(f"the weights of {architecture}/{tag} are not on the hub", hint=hint)
    return repo, filename


def definition(architecture: str) -> tuple[Path, ...]:
    """Return the files in which open_clip describes an architecture and its weights."""
    return configs()[architecture], _folder() / "pretrained.py"


def tag_of_repository(repo: str) -> str | None:
    """Return `ARCH/TAG` of the published weights in a repository of the hub, in any case; the first that fits."""
    return _by_repository().get(repo.casefold())


@cache
def _by_repository() -> Mapping[str, str]:
    found: dict[str, str] = {}
    for architecture, known in tags().items():
        for tag in known:
            found.setdefault(str(known[tag].get("hf_hub", "")).rpartition("/")[0].casefold(), f"{architecture}/{tag}")
    return found


@dataclass(frozen=True)
class Architecture:
    """What open_clip's config says of an architecture."""

    dim: int
    """Length of an embedding."""
    context_length: int
    """Tokens the text tower takes."""
    head: Activation
    """How cosines become scores: a config with a bias is a sigmoid's."""
    config: Mapping[str, Any]
    """open_clip's `model_cfg`."""


@cache
def architecture(name: str) -> Architecture | None:
    """Return an architecture by its name; None where open_clip has none of that name."""
    if name not in architectures():
        return None
    if _installed() is None:
        return architecture_of(_kept()["configs"][name])
    return architecture_of(json.loads(configs()[name].read_text(encoding="utf-8")))


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """Return the same of a config. Raises KeyError, TypeError or ValueError where it is none."""
    head: Activation = "softmax" if config.get("init_logit_bias") is None else "sigmoid"
    return Architecture(
        int(config["embed_dim"]), int(config["text_cfg"].get("context_length", 77)), head, config
    )  # fmt: skip


def image_size(name: str) -> int | None:
    """Height of the images an architecture takes, in pixels."""
    found = architecture(name)
    return preprocessing_of(found.config, {}).image_size[0] if found else None


def preprocessing_of(config: Mapping[str, Any], overlay: Mapping[str, Any]) -> Preprocessing:
    """Return how images are prepared: the size of the config, and the preprocessing published with the weights.

    Args:
        config: open_clip's `model_cfg`.
        overlay: mean, std, interpolation, resize_mode and fill_color, as far as they are given.

    Raises:
        ValueError, TypeError: a value that open_clip does not know.
    """
    given = {key: overlay[key] for key in _PREPROCESSING_KEYS if overlay.get(key) is not None}
    size = config.get("vision_cfg", {}).get("image_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    (red, green, blue), (r, g, b) = given.pop("mean", _CLIP_MEAN), given.pop("std", _CLIP_STD)
    for key, known in _KNOWN.items():
        if given.get(key, known[0]) not in known:
            raise ValueError(f"{key} {given[key]!r} is none of {', '.join(known)}")
    return Preprocessing((int(height), int(width)), (red, green, blue), (r, g, b), **given)


def check_name(spec: ModelSpec, aliases: Sequence[str] = ()) -> None:
    """Know a misspelt architecture or tag before anything is loaded or fetched.

    Args:
        spec: the model.
        aliases: other names that may have been meant.

    Raises:
        UnknownModelError: open_clip does not know it; the nearest names are in the hint.
    """
    if spec.kind not in {"tag", "checkpoint"}:
        return
    if spec.where not in architectures():
        near = did_you_mean(spec.where, [*architectures(), *aliases])
        if spec.kind == "tag" and spec.version and not near:
            hint = f"a repository of the hub that holds open_clip_config.json is written hf-hub:{spec.name};"
            raise UnknownModelError(f"no published weights are called {spec.name!r}", hint=_all(hint))
        raise UnknownModelError(f"no model {spec.where!r}", hint=_all(near))
    known = tags().get(spec.where, {})
    if spec.kind == "tag" and not known:
        hint = f"{spec.where}@path/to/checkpoint.safetensors"
        raise UnknownModelError(f"{spec.where} has no published weights", hint=hint)
    if spec.kind == "tag" and spec.version not in known:
        near = did_you_mean(spec.version, known)
        raise UnknownModelError(f"{spec.where} has no weights tagged {spec.version!r}", hint=_all(near))


def first_tag(architecture: str) -> str:
    """Return the tag that a bare architecture means where no figures were published: the first that open_clip lists."""
    return next(iter(tags().get(architecture, {})), "")


def _all(near: str) -> str:
    return f"{near} clipcli models list shows all".strip()


def _folder() -> Path:
    require_torch("open_clip")
    folder = _installed()
    assert folder is not None  # noqa: S101 - it was just required
    return folder


def _installed() -> Path | None:
    """Return the folder of open_clip's package; None where it is not installed."""
    package = find_spec("open_clip")
    return None if package is None or package.origin is None else Path(package.origin).parent


@cache
def _kept() -> Mapping[str, Mapping[str, Any]]:
    """Return what open_clip said when this version of clipcli was made: `version`, `configs` and `tags`."""
    kept: Mapping[str, Mapping[str, Any]] = json.loads(ZOO.read_text(encoding="utf-8"))
    return kept


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Make an optional import fail: the list of weights asks for safetensors' torch half, which would import torch."""
    before = sys.modules.get(name)
    if before is None:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]
