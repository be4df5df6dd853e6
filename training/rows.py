"""Which pictures are trained on: those of the archives, emoji in several styles, icons as good as pen sketches."""

from __future__ import annotations

import io
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from training import packages
from training.sources import Archive, emoji_pairs, pictures
from training.views import line_drawing
from training.words import clean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ICON_PIXELS = 160
ORDER_SEED = 7
SKETCH = re.compile(r"sketch of (?:an? )?(.+)")
"""How a class of pen sketches is called."""


@dataclass(frozen=True)
class Row:
    """One picture: where it is, what it shows, and whether it is kept out of training."""

    source: str
    """The file name of an archive, or the style of a drawn emoji or icon."""
    path: str
    set: str
    labels: tuple[str, ...]
    """Names from the broadest to the narrowest; most pictures have one."""
    held_out: bool

    @property
    def kind(self) -> str:
        """How it may be changed: "emoji", "lines" (black on white) or "photo"."""
        if self.set.startswith("emoji/"):
            return "emoji"
        return "lines" if any(SKETCH.search(label) for label in self.labels) or "silhouette" in self.set else "photo"


def rows_of(archives: list[Archive], work: Path) -> list[Row]:
    """Every picture in a fixed random order, so that any first part of a run is a fair sample."""
    found: list[Row] = []
    for archive in archives:
        if "pairs.json" in archive:
            found += _emoji_rows(archive, work)
            continue
        for picture in pictures(archive):
            labels = tuple(clean(part) for part in picture.label.split("/"))
            found.append(Row(archive.path.name, picture.path, picture.source, labels, picture.held_out))
    found += _sketch_rows({label for row in found for label in row.labels}, work)
    random.Random(ORDER_SEED).shuffle(found)
    return found


def _emoji_rows(archive: Archive, work: Path) -> Iterator[Row]:
    pairs = emoji_pairs(archive)
    for emoji in pairs:
        yield Row(archive.path.name, emoji.file, f"emoji/{archive.stem}", (clean(emoji.name),), held_out=False)
    for style in packages.EMOJI:
        known = _spellings(work, style)
        for emoji in pairs:
            name = _found(known, (emoji.name, *emoji.keywords[:1]))
            if name is not None:
                kept_out = style == packages.KEPT_OUT_STYLE
                yield Row(style, name, f"emoji/{style}", (clean(emoji.name),), held_out=kept_out)


def _sketch_rows(labels: set[str], work: Path) -> Iterator[Row]:
    """Icons, and the outlines of emoji, of what the classes of pen sketches show."""
    things = {match[1]: label for label in sorted(labels) if (match := SKETCH.fullmatch(label))}
    for style in (*packages.ICONS, *packages.EMOJI):
        if style == packages.KEPT_OUT_STYLE:
            continue
        known = _spellings(work, style)
        for thing, label in things.items():
            name = _found(known, (thing,))
            if name is not None:
                yield Row(style, name, f"icons/{style}", (label,), held_out=False)


def _spellings(work: Path, style: str) -> dict[str, str]:
    """Names of icons with and without hyphens → the name in the set: some sets write none."""
    names = packages.icons(work, style)
    return {name.replace("-", ""): name for name in names} | {name: name for name in names}


def _found(known: dict[str, str], names: tuple[str, ...]) -> str | None:
    spelt = [icon_name(name) for name in names]
    return next((known[name] for name in (*spelt, *(name.replace("-", "") for name in spelt)) if name in known), None)


def icon_name(name: str) -> str:
    """Spell an emoji's name as the icon sets do: `grinning-face`."""
    return clean(name).replace("_", "-").replace(" ", "-").replace("'", "").replace(",", "")


class Reader:
    """Opens the picture of a row."""

    def __init__(self, archives: list[Archive], work: Path) -> None:
        self.archives = {archive.path.name: archive for archive in archives}
        self.icons = {style: packages.icons(work, style) for style in (*packages.EMOJI, *packages.ICONS)}
        packages.make_importable(work)

    def read(self, row: Row) -> Image.Image:
        """The picture: RGB, or RGBA where a drawing has no ground of its own."""
        if row.source not in self.icons:
            image = Image.open(io.BytesIO(self.archives[row.source].read(row.path)))
            return image.convert("RGBA" if image.mode in {"RGBA", "LA", "P", "PA"} else "RGB")
        import resvg_py

        drawn = resvg_py.svg_to_bytes(
            svg_string=self.icons[row.source][row.path], width=ICON_PIXELS, height=ICON_PIXELS
        )
        image = Image.open(io.BytesIO(bytes(drawn))).convert("RGBA")
        return line_drawing(image) if row.set.startswith("icons/") and row.source in packages.EMOJI else image
