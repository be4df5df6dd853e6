"""Photos saved in other modes get the labels that they have as RGB: the half point that is promised."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from clipcli.core.console import Console
from clipcli.images import ON_WHITE, decode
from clipcli.inputs.collect import ImageRef
from clipcli.models.spec import parse_choice
from clipcli.prompts import Label, load_prompts
from clipcli.session.prepare import SessionOptions
from clipcli.session.session import open_session

COUNT = 300
EDGE = 288


def photos(shared):
    """(label, picture) of the 191 photos, and of training pictures of the same shelves up to 300."""
    folder = shared / "data/photos"
    for path in sorted(folder.rglob("*.*")):
        yield path.parent.name, path.read_bytes()
    with zipfile.ZipFile(shared / "data/training/grocery.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg") and "/Fruit/" in name)
        for name in names[:: max(1, len(names) // COUNT)]:
            yield name.split("/Fruit/")[1].split("/")[0], archive.read(name)


def png(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1, **options)
    return buffer.getvalue()


def png48(image):
    """48-bit RGB, which Pillow reads and does not write."""
    rows = np.asarray(image).astype(">u2") * 257
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", image.width, image.height, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(raw, 1)), (b"IEND", b"")]
    parts = (struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def on_nothing(image):
    """The picture with a transparent border around it, whose hidden colour is black."""
    framed = Image.new("RGBA", (image.width + 40, image.height + 40))
    framed.paste(image, (20, 20))
    return png(framed)


def bordered(image):
    framed = Image.new("RGB", (image.width + 40, image.height + 40), "white")
    framed.paste(image, (20, 20))
    return png(framed)


FORMS = {
    "RGB": png,
    "RGBA": lambda image: png(image.convert("RGBA")),
    "PNG-8": lambda image: png(image.quantize(256)),
    "48 bit": png48,
    "grey": lambda image: png(image.convert("L").convert("RGB")),
    "LA": lambda image: png(image.convert("LA")),
    "16 bit grey": lambda image: png(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)),
    "bordered": bordered,
    "RGBA bordered": on_nothing,
}
ORIGINAL = {
    "RGBA": "RGB", "PNG-8": "RGB", "48 bit": "RGB", "LA": "grey", "16 bit grey": "grey", "RGBA bordered": "bordered",
}  # fmt: skip


@pytest.mark.slow
def test_top_1_of_photos_in_other_modes(shared, surrogate, tmp_path):
    truth = []
    for number, (label, data) in zip(range(COUNT), photos(shared), strict=False):
        picture = decode(data, draft=(2 * EDGE, 2 * EDGE), rendering=ON_WHITE)
        picture.thumbnail((EDGE, EDGE))
        truth.append(label)
        for name, save in FORMS.items():
            (tmp_path / f"{name} {number:03}.png").write_bytes(save(picture))
    names = sorted(set(truth))
    right, vectors = {}, {}
    options = SessionOptions(use_cache=False)
    with open_session(
        parse_choice(surrogate, "cpu", "fp32", "openclip", offline=True, weights_dir=None), Console(quiet=True), options
    ) as session:
        labels = session.embed_labels([Label(name, (name.replace("-", " "),)) for name in names], load_prompts([]))
        for form in FORMS:
            paths = [str(tmp_path / f"{form} {number:03}.png") for number in range(len(truth))]
            found = [done.vector for done in session.embed_images(ImageRef(path, path) for path in paths)]
            vectors[form] = np.stack(found)
            best = (vectors[form] @ labels.T).argmax(1)
            right[form] = float(np.mean([names[at] == label for at, label in zip(best, truth, strict=True)]))
    for form, original in ORIGINAL.items():
        cosine = (vectors[form] * vectors[original]).sum(1)
        labels_agree = f"{form}: top-1 {right[form]:.1%}, {original} {right[original]:.1%}"
        print(f"{labels_agree}; cosine {cosine.mean():.4f}, lowest {cosine.min():.4f}")  # noqa: T201 - figures to read
    assert len(truth) == COUNT
    assert all(abs(right[form] - right[original]) <= 0.005 for form, original in ORIGINAL.items()), right
