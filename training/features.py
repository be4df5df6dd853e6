"""What the starting tower sees in every picture: its 1,280 pooled numbers, computed once.

    python -m training.features WORK ZIP_OR_FOLDER...

Writes WORK/rows.json (which picture is which) and WORK/features/NNN.npy, one file per 1,024 pictures; a run that was
stopped goes on with the first file that is missing. The tower never changes, so nothing is computed twice.
"""

from __future__ import annotations

import argparse
import io
import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from training import packages
from training.sources import Archive, emoji_pairs, pictures
from training.words import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

IMAGE_SIZE = 240
"""The whole short side at 240 px shows things as large as the starting weights saw them in training."""
MEAN, STD = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]
CHUNK, BATCH = 1024, 32
ICON_PIXELS = 160
ORDER_SEED = 7


@dataclass(frozen=True)
class Row:
    """One picture: where it is, what it shows, and whether it is kept out of training."""

    source: str
    """The file name of an archive, or the style of a drawn emoji."""
    path: str
    set: str
    labels: tuple[str, ...]
    """Names from the broadest to the narrowest; most pictures have one."""
    held_out: bool


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
    random.Random(ORDER_SEED).shuffle(found)
    return found


def _emoji_rows(archive: Archive, work: Path) -> Iterator[Row]:
    pairs = emoji_pairs(archive)
    for emoji in pairs:
        yield Row(archive.path.name, emoji.file, f"emoji/{archive.stem}", (clean(emoji.name),), held_out=False)
    for style in packages.STYLES:
        known = packages.icons(work, style)
        for emoji in pairs:
            spellings = (icon_name(name) for name in (emoji.name, *emoji.keywords[:1]))
            name = next((spelling for spelling in spellings if spelling in known), None)
            if name is not None:
                kept_out = style == packages.KEPT_OUT_STYLE
                yield Row(style, name, f"emoji/{style}", (clean(emoji.name),), held_out=kept_out)


def icon_name(name: str) -> str:
    """Spell an emoji's name as the icon sets do: `grinning-face`."""
    return clean(name).replace("_", "-").replace(" ", "-").replace("'", "").replace(",", "")


class Reader:
    """Opens the picture of a row."""

    def __init__(self, archives: list[Archive], work: Path) -> None:
        self.archives = {archive.path.name: archive for archive in archives}
        self.icons = {style: packages.icons(work, style) for style in packages.STYLES}
        packages.make_importable(work)

    def read(self, row: Row) -> Image.Image:
        """The picture in RGB, drawings on white."""
        if row.source in self.icons:
            import resvg_py

            drawn = resvg_py.svg_to_bytes(
                svg_string=self.icons[row.source][row.path], width=ICON_PIXELS, height=ICON_PIXELS
            )
            return on_white(Image.open(io.BytesIO(bytes(drawn))))
        return on_white(Image.open(io.BytesIO(self.archives[row.source].read(row.path))))


def on_white(image: Image.Image) -> Image.Image:
    """An image in RGB, what is transparent in white."""
    if image.mode not in {"RGBA", "LA", "P"}:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    ground = Image.new("RGB", layered.size, "white")
    ground.paste(layered, (0, 0), layered)
    return ground


def prepare(image: Image.Image) -> NDArray[np.float32]:
    """As the model's own preprocessing: short side to 240, middle square; float32 (3, 240, 240) in -1..1."""
    scale = IMAGE_SIZE / min(image.size)
    size = (max(IMAGE_SIZE, int(image.width * scale)), max(IMAGE_SIZE, int(image.height * scale)))
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (image.width - IMAGE_SIZE) // 2, (image.height - IMAGE_SIZE) // 2
    cut = np.asarray(image.crop((left, top, left + IMAGE_SIZE, top + IMAGE_SIZE)), np.float32)
    return (cut.transpose(2, 0, 1) / 255 - 0.5) / 0.5


def tower(weights: dict[str, Any]) -> torch.nn.Module:
    """The starting tower without its classifier: (n, 3, 240, 240) → (n, 1280)."""
    import timm

    model = timm.create_model(packages.TOWER, pretrained=False)
    model.load_state_dict(weights)
    model.reset_classifier(0)
    return model.eval()


def load(work: Path) -> tuple[list[Row], torch.Tensor]:
    """Return the rows that have features so far, and the features: float32 (rows, 1280)."""
    rows = [Row(**{**row, "labels": tuple(row["labels"])}) for row in json.loads((work / "rows.json").read_text())]
    files = sorted((work / "features").glob("*.npy"))
    numbers = np.concatenate([np.arange(int(file.stem) * CHUNK, (int(file.stem) + 1) * CHUNK) for file in files])
    features = np.concatenate([np.load(file) for file in files]).astype(np.float32)
    return [rows[number] for number in numbers[: len(features)]], torch.from_numpy(features)


def compute(rows: list[Row], reader: Reader, model: torch.nn.Module, into: Path) -> None:
    """Write the missing files of features."""
    into.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(rows), CHUNK):
        file = into / f"{first // CHUNK:03d}.npy"
        if file.exists():
            continue
        parts = []
        chunk = rows[first : first + CHUNK]
        for start in range(0, len(chunk), BATCH):
            pixels = np.stack([prepare(reader.read(row)) for row in chunk[start : start + BATCH]])
            with torch.inference_mode():
                parts.append(model(torch.from_numpy(pixels)).numpy().astype(np.float16))
        with file.with_suffix(".part").open("wb") as stream:
            np.save(stream, np.concatenate(parts))
        file.with_suffix(".part").replace(file)
        print(f"{first + len(chunk)} of {len(rows)} pictures", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("archives", type=Path, nargs="+")
    args = parser.parse_args()
    archives = [Archive(path) for path in args.archives]
    rows = rows_of(archives, args.work)
    (args.work / "rows.json").write_text(json.dumps([asdict(row) for row in rows]), encoding="utf-8")
    compute(rows, Reader(archives, args.work), tower(packages.start_weights(args.work)), args.work / "features")


if __name__ == "__main__":
    main()
