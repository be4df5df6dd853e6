"""Decoding and preprocessing, one thread, against open_clip's transform (torchvision) on the same decoded images.

    python benchmarks/bench_images.py [FOLDER]

Photos of FOLDER (default: ../shared/data/photos; drawn noise where that is missing) are brought to four sizes and saved
as JPEG. Each figure is the best of several rounds, in milliseconds of processor time an image; the two preprocessings
take turns.
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from open_clip.transform import image_transform
from PIL import Image

from clipcli.core.encoder import Preprocessing
from clipcli.images import decode
from clipcli.images.preprocess import to_pixels

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = ((533, 400), (1024, 768), (2048, 1536), (4000, 3000))
PICTURES, ROUNDS = 8, 5
HOW = Preprocessing((224, 224), (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def photos(folder: Path) -> list[Image.Image]:
    """A few photos of the folder, or smooth noise."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    chosen = paths[:: max(1, len(paths) // PICTURES)][:PICTURES]
    return [decode(path.read_bytes()).convert("RGB") for path in chosen] or [
        Image.effect_noise((400, 300), 80).convert("RGB") for _ in range(PICTURES)
    ]


def jpeg(image: Image.Image, size: tuple[int, int]) -> bytes:
    """The photo at this size, as a camera would store it."""
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def milliseconds(work: Callable[[], object], items: int) -> float:
    """Processor time of one call, an item."""
    began = time.thread_time()
    work()
    return (time.thread_time() - began) / items * 1000


def main() -> None:
    """Print one row a size."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "../shared/data/photos"
    originals = photos(folder)
    transform = image_transform(224, is_train=False, mean=HOW.mean, std=HOW.std)
    batch = np.empty((len(originals), 3, 224, 224), np.float32)
    print("size         decode   draft  open_clip    ours   ratio  with decoding")
    for size in SIZES:
        files = [jpeg(image, size) for image in originals]
        images = [decode(data) for data in files]
        jobs: tuple[Callable[[], object], ...] = (
            lambda files=files: [decode(data) for data in files],
            lambda files=files: [decode(data, draft=(448, 448)) for data in files],
            lambda images=images: [transform(image) for image in images],
            lambda images=images: [to_pixels(image, HOW, out=row) for image, row in zip(images, batch, strict=True)],
        )
        rounds = [[milliseconds(job, len(files)) for job in jobs] for _ in range(ROUNDS)]
        decoding, draft, theirs, ours = (min(figures) for figures in zip(*rounds, strict=True))
        whole = (decoding + theirs) / (decoding + ours)
        print(
            f"{size[0]:4d} x {size[1]:<4d} {decoding:7.2f} {draft:7.2f} {theirs:10.2f} {ours:7.2f} "
            f"{theirs / ours:7.2f} {whole:14.2f}"
        )


if __name__ == "__main__":
    main()
