"""The template sets that come with clipcli, the classes of ImageNet, and its templates in open_clip."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import clipcli
from clipcli.core.optional_packages import install_command
from clipcli.errors import PromptsError
from clipcli.inputs.text_files import Fault, read_text, refuse
from clipcli.prompts.templates import parse_lines, purpose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LABEL = "\0"
"""Replaces the label while a template function is turned into text; no template contains it."""


@cache
def _classes() -> tuple[tuple[str, str], ...]:
    """Return WordNet id and name of each class of ImageNet, in the order of the classes."""
    text = resources.files("clipcli.prompts").joinpath("imagenet_classes.tsv").read_text("utf-8")
    pairs = (line.partition("\t") for line in text.splitlines() if not line.startswith("#"))
    return tuple((wordnet_id, name) for wordnet_id, _, name in pairs)


def class_names() -> tuple[str, ...]:
    """Return the 1,000 class names of ImageNet, in the order of the classes; two names occur twice."""
    return tuple(name for _, name in _classes())


def labels() -> Mapping[str, str]:
    """Return 1,000 distinct labels of ImageNet, in the order of the classes, each with its class name.

    A name that occurs twice gets the class index, from 0: `missile (657)` and `missile (744)`.
    """
    names = class_names()
    times = Counter(names)
    return {name if times[name] == 1 else f"{name} ({index})": name for index, name in enumerate(names)}


@cache
def wordnet_labels() -> Mapping[str, str]:
    """Return WordNet id → label, such as `n01440764` → `tench`."""
    return dict(zip((wordnet_id for wordnet_id, _ in _classes()), labels(), strict=True))


@cache
def templates() -> tuple[str, ...]:
    """Return the 80 ImageNet templates as text with `{}`, in order.

    Raises:
        PromptsError: open_clip is missing, or this version keeps them elsewhere.
    """
    texts = (function(_LABEL) for function in _constant("OPENAI_IMAGENET_TEMPLATES"))
    return tuple(text.replace("{", "{{").replace("}", "}}").replace(_LABEL, "{}") for text in texts)


def _install() -> str:
    return install_command("torch")


def _constant(name: str) -> Any:
    package = find_spec("open_clip")
    if package is None or package.origin is None:
        raise PromptsError("the templates for ImageNet come with open_clip, which is not installed", hint=_install())
    path = Path(package.origin).with_name("zero_shot_metadata.py")
    spec = spec_from_file_location("clipcli_open_clip_metadata", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise PromptsError(f"this version of open_clip has no {path.name}", hint=_install())
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        raise PromptsError(f"this version of open_clip has no {name}", hint=_install())
    return getattr(module, name)


DEFAULT_SET = "photo"
_IMAGENET = "imagenet"
_IMAGENET_PURPOSE = "the 80 templates of OpenAI for ImageNet, also called openai; made for photos of one object"
OTHER_NAMES = {"openai": _IMAGENET}
"""The names of sets in other programs."""


@dataclass(frozen=True)
class ShippedSet:
    """A set that needs no file from the user."""

    name: str
    purpose: str
    read: Callable[[], tuple[str, ...]]
    """Return the templates; may raise PromptsError."""
    path: str | None = None
    """Its file; None for the set from open_clip."""


def folder() -> Path:
    """Return the folder of template files: inside an installed package, beside the package in a checkout.

    Raises:
        PromptsError: neither folder exists; the installation is damaged.
    """
    package = Path(clipcli.__file__).resolve().parent
    for directory in (package / "_prompts", package.parent / "prompts"):
        if (directory / f"{DEFAULT_SET}.txt").is_file():
            return directory
    raise PromptsError("the template files of clipcli are missing", hint="install clipcli again")


@cache
def shipped_sets() -> dict[str, ShippedSet]:
    """Return all sets by name, sorted."""
    sets = {path.stem: _from_file(path) for path in folder().glob("*.txt")}
    sets[_IMAGENET] = ShippedSet(_IMAGENET, _IMAGENET_PURPOSE, templates)
    return dict(sorted(sets.items()))


def _from_file(path: Path) -> ShippedSet:
    text = read_text(str(path))
    if isinstance(text, Fault):
        refuse([text], PromptsError)

    def read() -> tuple[str, ...]:
        templates, faults = parse_lines(text, str(path))
        if faults:
            refuse(faults, PromptsError)
        return templates

    return ShippedSet(path.stem, purpose(text), read, str(path))
