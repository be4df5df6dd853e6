"""open_clip's own lists of architectures and weights, read where it is installed without importing torch.

Importing open_clip takes seconds. Its list of weights is one module without need of torch, and its architectures are
JSON files; both are loaded alone.
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
from typing import TYPE_CHECKING, Any

from clipcli.errors import ModelError, UnknownModelError
from clipcli.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clipcli.modelspec import ModelSpec

_STAND_IN = "clipcli_open_clip"
"""A package of this name, with open_clip's folder as its path, gives its modules without running its `__init__`."""


@cache
def tags() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Architecture → tag → what open_clip knows of those weights (`hf_hub`, `mean`, `std`, `quick_gelu`, …).

    Raises:
        ModelError: open_clip is missing, or keeps its list elsewhere.
    """
    package = types.ModuleType(_STAND_IN)
    package.__path__ = [str(_folder())]
    sys.modules[_STAND_IN] = package
    with _without("safetensors.torch"):
        module = importlib.import_module(f"{_STAND_IN}.pretrained")
    found = getattr(module, "_PRETRAINED", None)
    if not isinstance(found, dict):
        raise ModelError(
            "this version of open_clip keeps its list of weights elsewhere", hint="pip install 'open_clip_torch>=3'"
        )
    return found


@cache
def configs() -> Mapping[str, Path]:
    """Architecture → its JSON config."""
    return {path.stem: path for path in sorted((_folder() / "model_configs").glob("*.json"))}


def repository(architecture: str, tag: str) -> tuple[str, str]:
    """Where on the hub a tag's weights are: the repository, and the file's name or nothing for the usual ones.

    Raises:
        ModelError: they are not on the hub.
    """
    repo, _, filename = str(tags()[architecture][tag].get("hf_hub", "")).rpartition("/")
    if not repo:
        hint = f"download them yourself, then {architecture}@path/to/checkpoint"
        raise ModelError(f"the weights of {architecture}/{tag} are not on the hub", hint=hint)
    return repo, filename


def definition(architecture: str) -> tuple[Path, ...]:
    """The files in which open_clip describes an architecture and its weights."""
    return configs()[architecture], _folder() / "pretrained.py"


def image_size(architecture: str) -> int | None:
    """Height of the images an architecture takes, in pixels."""
    if architecture not in configs():
        return None
    size = json.loads(configs()[architecture].read_text(encoding="utf-8")).get("vision_cfg", {}).get("image_size", 224)
    return int(size if isinstance(size, int) else size[0])


def check_name(spec: ModelSpec) -> None:
    """Know a misspelt architecture or tag before anything is loaded or fetched.

    Raises:
        UnknownModelError: open_clip does not know it; the nearest names are in the hint.
    """
    if spec.kind not in {"tag", "checkpoint"}:
        return
    if spec.where not in configs():
        near = did_you_mean(spec.where, [*configs(), "tiny", "fast", "balanced", "best"])
        if spec.kind == "tag" and spec.version and not near:
            hint = _all(f"a repository of the hub is written hf-hub:{spec.name};")
            raise UnknownModelError(f"no model {spec.name!r}", hint=hint)
        raise UnknownModelError(f"no model {spec.where!r}", hint=_all(near))
    known = tags().get(spec.where, {})
    if spec.kind == "tag" and not known:
        hint = f"{spec.where}@path/to/checkpoint.safetensors"
        raise UnknownModelError(f"{spec.where} has no published weights", hint=hint)
    if spec.kind == "tag" and spec.version not in known:
        near = did_you_mean(spec.version, known)
        raise UnknownModelError(f"{spec.where} has no weights tagged {spec.version!r}", hint=_all(near))


def first_tag(architecture: str) -> str:
    """The tag that a bare architecture means where no figures were published: the first that open_clip lists."""
    return next(iter(tags().get(architecture, {})), "")


def _all(near: str) -> str:
    return f"{near} clipcli models list shows all".strip()


def _folder() -> Path:
    package = find_spec("open_clip")
    if package is None or package.origin is None:
        raise ModelError("open_clip is not installed", hint="pip install open_clip_torch")
    return Path(package.origin).parent


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
