"""Read open_clip's lists of architectures and weights without importing torch.

Importing open_clip takes seconds. Its list of weights is a module that does not need torch, and its architectures are
JSON files; both are loaded directly. If open_clip is not installed, the lists come from `openclip_zoo.json`, written by
`python docs/model_figures.py`, so that names can be checked and models described.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from clipcli.core.encoder import Interpolation, Preprocessing, ResizeMode
from clipcli.core.optional_packages import install_command, require_torch
from clipcli.errors import ModelError, UnknownModelError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from clipcli.core.encoder import Activation, ModelSpec

ZOO = Path(__file__).parent / "openclip_zoo.json"
_STAND_IN = "clipcli_open_clip"
"""Name of a package with open_clip's folder as its path; its modules can be imported without `open_clip.__init__`."""
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_PREPROCESSING_KEYS = ("mean", "std", "interpolation", "resize_mode", "fill_color")
_KNOWN = {"interpolation": get_args(Interpolation), "resize_mode": get_args(ResizeMode)}


@cache
def tags() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Return architecture → tag → open_clip's entry for the weights (`hf_hub`, `mean`, `std`, `quick_gelu`, …).

    Raises:
        ModelError: this version of open_clip keeps its list elsewhere.
    """
    if _installed() is None:
        return _zoo()["tags"]
    package = types.ModuleType(_STAND_IN)
    package.__path__ = [str(_folder())]
    sys.modules[_STAND_IN] = package
    with _without("safetensors.torch"):
        module = importlib.import_module(f"{_STAND_IN}.pretrained")
    pretrained = getattr(module, "_PRETRAINED", None)
    if not isinstance(pretrained, dict):
        raise ModelError("this version of open_clip keeps its list of weights elsewhere", hint=install_command("torch"))
    return pretrained


@cache
def configs() -> Mapping[str, Path]:
    """Return architecture → its JSON config. Raises TorchMissingError if open_clip is not installed."""
    return {path.stem: path for path in sorted((_folder() / "model_configs").glob("*.json"))}


def architectures() -> Collection[str]:
    """Return the names of all architectures."""
    return configs() if _installed() else _zoo()["configs"]


def repository(architecture: str, tag: str) -> tuple[str, str]:
    """Return the hub's repository of a tag's weights, and the file name, empty for the usual names.

    Raises:
        ModelError: the weights are not on the hub.
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
    """Return the first `ARCH/TAG` whose weights are in a repository of the hub, ignoring case, or None."""
    return _by_repository().get(repo.casefold())


@cache
def _by_repository() -> Mapping[str, str]:
    tag_by_repository: dict[str, str] = {}
    for architecture, tags_of_architecture in tags().items():
        for tag in tags_of_architecture:
            tag_by_repository.setdefault(
                str(tags_of_architecture[tag].get("hf_hub", "")).rpartition("/")[0].casefold(), f"{architecture}/{tag}"
            )
    return tag_by_repository


class Architecture(NamedTuple):
    """The properties of an architecture, from open_clip's config."""

    dim: int
    """Length of an embedding."""
    context_length: int
    """Tokens that the text tower reads."""
    head: Activation
    """The activation of scores: sigmoid for a config with a bias."""
    config: Mapping[str, Any]
    """open_clip's `model_cfg`."""


@cache
def architecture(name: str) -> Architecture | None:
    """Return an architecture by name, or None if open_clip does not have it."""
    if name not in architectures():
        return None
    if _installed() is None:
        return architecture_of(_zoo()["configs"][name])
    return architecture_of(json.loads(configs()[name].read_text(encoding="utf-8")))


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """Return the properties in a config. Raises KeyError, TypeError or ValueError for an invalid config."""
    head: Activation = "softmax" if config.get("init_logit_bias") is None else "sigmoid"
    return Architecture(
        int(config["embed_dim"]), int(config["text_cfg"].get("context_length", 77)), head, config
    )  # fmt: skip


def image_size(name: str) -> int | None:
    """Return the height in pixels of an architecture's input images, or None."""
    details = architecture(name)
    return preprocessing_of(details.config, {}).image_size[0] if details else None


def preprocessing_of(config: Mapping[str, Any], overlay: Mapping[str, Any]) -> Preprocessing:
    """Return the preprocessing: the image size of the config, and the values published with the weights.

    Args:
        config: open_clip's `model_cfg`.
        overlay: optional mean, std, interpolation, resize_mode and fill_color.

    Raises:
        ValueError, TypeError: a value that open_clip does not know.
    """
    values = {key: overlay[key] for key in _PREPROCESSING_KEYS if overlay.get(key) is not None}
    size = config.get("vision_cfg", {}).get("image_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    (red, green, blue), (r, g, b) = values.pop("mean", _CLIP_MEAN), values.pop("std", _CLIP_STD)
    for key, allowed in _KNOWN.items():
        if values.get(key, allowed[0]) not in allowed:
            raise ValueError(f"{key} {values[key]!r} is not one of {', '.join(allowed)}")
    return Preprocessing((int(height), int(width)), (red, green, blue), (r, g, b), **values)


def check_name(spec: ModelSpec, aliases: Sequence[str] = ()) -> None:
    """Check the names of architecture and tag before anything is loaded or downloaded.

    Args:
        spec: the model.
        aliases: further names to suggest.

    Raises:
        UnknownModelError: open_clip does not have it; the hint names the nearest ones.
    """
    if spec.kind not in {"tag", "checkpoint"}:
        return
    if spec.where not in architectures():
        near = did_you_mean(spec.where, [*architectures(), *aliases])
        if spec.kind == "tag" and spec.version and not near:
            hint = f"for a repository of the hub with open_clip_config.json write hf-hub:{spec.name};"
            raise UnknownModelError(f"no published weights are called {spec.name!r}", hint=_all(hint))
        raise UnknownModelError(f"no model {spec.where!r}", hint=_all(near))
    known_tags = tags().get(spec.where, {})
    if spec.kind == "tag" and not known_tags:
        hint = f"{spec.where}@path/to/checkpoint.safetensors"
        raise UnknownModelError(f"{spec.where} has no published weights", hint=hint)
    if spec.kind == "tag" and spec.version not in known_tags:
        near = did_you_mean(spec.version, known_tags)
        raise UnknownModelError(f"{spec.where} has no weights tagged {spec.version!r}", hint=_all(near))


def first_tag(architecture: str) -> str:
    """Return the first tag that open_clip lists for an architecture, the default without published figures."""
    return next(iter(tags().get(architecture, {})), "")


def _all(near: str) -> str:
    return f"{near} clipcli models list shows all".strip()


def _folder() -> Path:
    require_torch("open_clip")
    folder = _installed()
    assert folder is not None  # noqa: S101 - require_torch has checked it
    return folder


def _installed() -> Path | None:
    """Return the folder of open_clip's package, or None if it is not installed."""
    package = find_spec("open_clip")
    return None if package is None or package.origin is None else Path(package.origin).parent


@cache
def _zoo() -> Mapping[str, Mapping[str, Any]]:
    """Return the lists stored with this version of clipcli: `version`, `configs` and `tags`."""
    zoo: Mapping[str, Mapping[str, Any]] = json.loads(ZOO.read_text(encoding="utf-8"))
    return zoo


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Make an import fail inside the block; the list of weights tries safetensors.torch, which imports torch."""
    before = sys.modules.get(name)
    if before is None:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]
