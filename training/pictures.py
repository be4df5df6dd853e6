"""Decode every picture once: uint8 arrays on disk, memory-mapped by the training run.

python -m training.pictures OUT ZIP_OR_FOLDER... [--size 80]
"""

from __future__ import annotations

import argparse
import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.sources import Archive, Picture, emoji_pairs, pictures

Pixels = NDArray[np.uint8]


def square(image: Image.Image, size: int) -> Image.Image:
    """Shortest side to `size` (bicubic), middle square: as the model's own preprocessing does."""
    width, height = image.size
    scale = size / min(width, height)
    image = image.resize((max(size, round(width * scale)), max(size, round(height * scale))), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def decode(data: bytes, size: int, mode: str = "RGB") -> Pixels:
    """One picture's bytes as size x size x channels."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(square(image.convert(mode), size))


def decode_photos(archives: list[Archive], out: Path, size: int) -> int:
    """Write photos.npy and photos.jsonl, a row a picture in the same order."""
    found = [(archive, picture) for archive in archives for picture in pictures(archive)]
    array = np.lib.format.open_memmap(out / "photos.npy", mode="w+", dtype=np.uint8, shape=(len(found), size, size, 3))
    for row, (archive, picture) in enumerate(found):
        array[row] = decode(archive.read(picture.path), size)
    array.flush()
    lines = (json.dumps(asdict(picture), ensure_ascii=False) for _, picture in found)
    (out / "photos.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(found)


def decode_emoji(archives: list[Archive], out: Path, size: int) -> int:
    """Write emoji.npy (RGBA) and emoji.jsonl."""
    found = [(archive, emoji) for archive in archives for emoji in emoji_pairs(archive)]
    array = np.stack([decode(archive.read(emoji.file), size, "RGBA") for archive, emoji in found])
    np.save(out / "emoji.npy", array)
    lines = (json.dumps(asdict(emoji), ensure_ascii=False) for _, emoji in found)
    (out / "emoji.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(found)


def read_rows(path: Path) -> list[Picture]:
    """The pictures of photos.jsonl."""
    return [Picture(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Decode what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("archives", type=Path, nargs="+")
    parser.add_argument("--size", type=int, default=80)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    archives = [Archive(path) for path in args.archives]
    photos = decode_photos([a for a in archives if "pairs.json" not in a], args.out, args.size)
    drawn = decode_emoji([a for a in archives if "pairs.json" in a], args.out, args.size)
    print(f"{photos} photos, {drawn} pictograms at {args.size} px in {args.out}")


if __name__ == "__main__":
    main()
