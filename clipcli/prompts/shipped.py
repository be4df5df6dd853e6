"""The sets of templates that come with clipcli."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import clipcli
from clipcli.errors import PromptsError
from clipcli.prompts import imagenet
from clipcli.prompts.templates import parse_lines, purpose
from clipcli.textfiles import Fault, read_text, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_SET = "photo"
_IMAGENET = "imagenet"
_IMAGENET_PURPOSE = "the 80 templates that open_clip ships for ImageNet; made for photos of one object"


@dataclass(frozen=True)
class ShippedSet:
    """A set that needs no file of the user's."""

    name: str
    purpose: str
    read: Callable[[], tuple[str, ...]]
    """Gives the templates; may raise PromptsError."""
    path: str | None = None
    """Its file; none for what open_clip ships."""


def folder() -> Path:
    """Where the template files are: inside an installed package, beside the package in a checkout.

    Raises:
        PromptsError: in neither place; the installation is damaged.
    """
    package = Path(clipcli.__file__).resolve().parent
    for place in (package / "_prompts", package.parent / "prompts"):
        if (place / f"{DEFAULT_SET}.txt").is_file():
            return place
    raise PromptsError("the template files of clipcli are missing", hint="install clipcli again")


@cache
def shipped_sets() -> dict[str, ShippedSet]:
    """All sets by name, sorted."""
    sets = {path.stem: _from_file(path) for path in folder().glob("*.txt")}
    sets[_IMAGENET] = ShippedSet(_IMAGENET, _IMAGENET_PURPOSE, imagenet.templates)
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
