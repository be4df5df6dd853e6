"""The class names and templates for ImageNet that open_clip ships, read where it is installed.

Importing open_clip would import torch (seconds). Its metadata module imports nothing, so that one file is loaded alone.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipcli.errors import LabelsError, PromptsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clipcli.errors import InputsError

_INSTALL = "pip install 'open_clip_torch>=3'"
_LABEL = "\0"
"""Stands for the label while a template function is turned into text: no template holds it."""


@cache
def class_names() -> tuple[str, ...]:
    """The 1,000 class names, in the order of the classes; two names occur twice.

    Raises:
        LabelsError: open_clip is missing, or of a version that keeps them elsewhere.
    """
    return tuple(_constant("IMAGENET_CLASSNAMES", LabelsError))


def labels() -> Mapping[str, str]:
    """Return 1,000 different labels, in the order of the classes, each with its class name.

    A name that open_clip's list has twice gets the class index, from 0: `missile (657)` and `missile (744)`.

    Raises:
        LabelsError: as `class_names`.
    """
    names = class_names()
    times = Counter(names)
    return {name if times[name] == 1 else f"{name} ({index})": name for index, name in enumerate(names)}


@cache
def wordnet_labels() -> Mapping[str, str]:
    """Return WordNet id → label, such as `n01440764` → `tench`; empty where timm, which has the ids, is missing."""
    package = find_spec("timm")
    if package is None or package.origin is None:
        return {}
    path = Path(package.origin).parent / "data" / "_info" / "imagenet_synsets.txt"
    ids = path.read_text(encoding="utf-8").split() if path.is_file() else []
    return dict(zip(ids, labels(), strict=True)) if len(ids) == len(labels()) else {}


@cache
def templates() -> tuple[str, ...]:
    """The 80 templates as text with `{}`, in order.

    Raises:
        PromptsError: open_clip is missing, or of a version that keeps them elsewhere.
    """
    texts = (function(_LABEL) for function in _constant("OPENAI_IMAGENET_TEMPLATES", PromptsError))
    return tuple(text.replace("{", "{{").replace("}", "}}").replace(_LABEL, "{}") for text in texts)


def _constant(name: str, error: type[InputsError]) -> Any:
    package = find_spec("open_clip")
    if package is None or package.origin is None:
        raise error("open_clip is missing, and the ImageNet names and templates with it", hint=_INSTALL)
    path = Path(package.origin).with_name("zero_shot_metadata.py")
    spec = spec_from_file_location("clipcli_open_clip_metadata", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise error(f"this version of open_clip has no {path.name}", hint=_INSTALL)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        raise error(f"this version of open_clip has no {name}", hint=_INSTALL)
    return getattr(module, name)
