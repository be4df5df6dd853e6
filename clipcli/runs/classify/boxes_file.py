"""Files of boxes: rows of `clipcli detect` as JSON Lines, or a COCO document."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from clipcli.core.decode import DecodeError, decode, parse_json
from clipcli.core.files import is_there, read_bytes
from clipcli.errors import InputsError
from clipcli.inputs.sources import is_elsewhere

_LARGEST: Final = 1 << 30
"""Bytes."""
_HINT: Final = 'one {"image": "a.jpg", "box": [x0, y0, x1, y1]} a line, or COCO\'s images and annotations'


@dataclass(frozen=True)
class ImageBoxes:
    """The boxes of one image, in the order of the file."""

    name: str
    """As the file has it."""
    path: str
    """Where it is: names are relative to the file, or else to the working folder, as `detect` writes them."""
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    """x0, y0, x1, y1 in pixels of the upright image."""


@dataclass(frozen=True)
class _BoxLine:
    image: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class _CocoImage:
    id: int
    file_name: str


@dataclass(frozen=True)
class _CocoAnnotation:
    image_id: int
    bbox: tuple[float, float, float, float]


@dataclass(frozen=True)
class _CocoFile:
    images: list[_CocoImage]
    annotations: list[_CocoAnnotation]


def read_boxes(path: str) -> list[ImageBoxes]:
    """Read the boxes of images, in the order in which the file first names each image.

    Raises:
        InputsError: it cannot be read, or a line is neither a box nor an error row of `detect`; or there is no box.
    """
    try:
        data = read_bytes(Path(path), _LARGEST)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputsError(f"{path}: {reason[:1].lower()}{reason[1:]}") from error
    pairs = _coco(data, path) if path.lower().endswith(".json") else _lines(data, path)
    folder = Path(path).parent
    images: dict[str, ImageBoxes] = {}
    for name, box in pairs:
        beside = folder / name
        where = str(beside) if not is_elsewhere(name) and is_there(beside) else name
        images.setdefault(name, ImageBoxes(name, where)).boxes.append(box)
    if not images:
        raise InputsError(f"{path} holds no boxes", hint=_HINT)
    return list(images.values())


def _lines(data: bytes, path: str) -> list[tuple[str, tuple[float, float, float, float]]]:
    pairs = []
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = parse_json(line)
            if isinstance(value, dict) and "error" in value:
                continue
            found = decode(_BoxLine, value, unknown="ignore")
        except DecodeError as error:
            raise InputsError(f"{path}:{number}: {error}", hint=_HINT) from error
        pairs.append((found.image, _checked(found.box, f"{path}:{number}")))
    return pairs


def _coco(data: bytes, path: str) -> list[tuple[str, tuple[float, float, float, float]]]:
    try:
        value: Any = parse_json(data)
        document = decode(_CocoFile, value, unknown="ignore")
    except DecodeError as error:
        raise InputsError(f"{path}: {error}", hint=_HINT) from error
    names = {image.id: image.file_name for image in document.images}
    pairs = []
    for number, annotation in enumerate(document.annotations, start=1):
        if annotation.image_id not in names:
            raise InputsError(f"{path}: annotation {number} is of no image: {annotation.image_id}", hint=_HINT)
        x, y, width, height = annotation.bbox
        where = f"{path}: annotation {number}"
        pairs.append((names[annotation.image_id], _checked((x, y, x + width, y + height), where)))
    return pairs


def _checked(box: tuple[float, float, float, float], where: str) -> tuple[float, float, float, float]:
    """Return a box that has an inside. Raises InputsError."""
    x0, y0, x1, y1 = box
    if not (x0 < x1 and y0 < y1):
        raise InputsError(f"{where}: a box without an inside: {x0:g}, {y0:g}, {x1:g}, {y1:g}", hint=_HINT)
    return box
