"""Of several copies of one picture the original is found, and no edit of it stays in its place."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from dedupe_pictures import EDITS, EITHER, jpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from clipcli.tasks.dedupe.detail import Detail, measure
from clipcli.tasks.dedupe.keep import FileFacts, parse_rules, rank
from clipcli.tasks.dedupe.likeness import sign
from clipcli.tasks.dedupe.originals import detail_losses, distances_from_typical
from clipcli.tasks.dedupe.recompression import compression_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GRAIN = {"noise", "palette"}
"""What nothing tells beside the original alone: a picture with less grain may as well be the edit."""
RESAVED = {"q10"}
"""Nearly all that is left of it is zero, so that its steps are not always seen among others."""
KINDS = {**EDITS, **EITHER}
MORE = {
    "larger by 130 %, soft": lambda i: i.resize((i.width * 13 // 10, i.height * 13 // 10), Image.Resampling.BILINEAR),
    "larger by 170 %, sharp": lambda i: i.resize((i.width * 17 // 10, i.height * 17 // 10), Image.Resampling.LANCZOS),
    "larger by 300 %": lambda i: i.resize((i.width * 3, i.height * 3), Image.Resampling.BICUBIC),
    "sharper, narrow": lambda i: i.filter(ImageFilter.UnsharpMask(1.2, 120, 0)),
    "brighter by 150 %": lambda i: ImageEnhance.Brightness(i).enhance(1.5),
    "a frame of grey": lambda i: ImageOps.expand(i, i.width // 15, "#808080"),
    "a turn of 5°": lambda i: i.rotate(5, Image.Resampling.BICUBIC),
    "quality 60": lambda i: jpeg(i, 60),
}
"""Edits on which no limit was chosen."""


def saved(image: Image.Image, quality: int | None = 92) -> bytes:
    """A JPEG file, or a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG" if quality else "PNG", **({"quality": quality} if quality else {}))
    return buffer.getvalue()


def detail_of(data: bytes) -> Detail:
    """As `dedupe` reads it from a file."""
    image = Image.open(io.BytesIO(data))
    steps = getattr(image, "quantization", {}).get(0)
    picture = image.convert("RGB")
    return measure(picture, sign(picture).sheet, steps)


@pytest.fixture(scope="module")
def photos(shared: Path) -> list[dict[str, Copy]]:
    """Six real photos and their edits, saved again at another quality."""
    found = []
    for path in sorted((shared / "data/photos").glob("*/*/*"))[::36]:
        image = Image.open(path).convert("RGB")
        files = {name: saved(edit(image)) for name, edit in {**KINDS, **MORE}.items()}
        files["original"] = path.read_bytes()
        found.append({name: Copy(name, data, detail_of(data)) for name, data in files.items()})
    return found


class Copy(NamedTuple):
    """A file, and its detail."""

    name: str
    data: bytes
    detail: Detail


def kept(copies: Sequence[Copy]) -> str:
    """Return the name of the one that stays by the default rules."""
    details = [copy.detail for copy in copies]
    losses = detail_losses(details)
    typical = distances_from_typical(details, losses)
    files = [
        FileFacts(f"/{copy.name}.jpg", copy.detail.total, len(copy.data), 0, "jpeg", False, copy.name != "grey", False,
                  loss, steps)
        for copy, loss, steps in zip(copies, losses, typical, strict=True)
    ]  # fmt: skip
    return copies[rank(files, parse_rules(None))[0]].name


@pytest.mark.thorough
@pytest.mark.parametrize("edit", [name for name in (*KINDS, *MORE) if name not in GRAIN])
def test_beside_one_edit_the_original_stays(photos, edit):
    for copies in photos:
        assert kept([copies["original"], copies[edit]]) == "original"
        assert kept([copies[edit], copies["original"]]) == "original"


@pytest.mark.thorough
@given(st.data())
def test_no_edit_stays_before_the_original(photos, data):
    copies = data.draw(st.sampled_from(photos))
    names = st.sampled_from([name for name in copies if name not in {"original", *GRAIN, *RESAVED}])
    some = data.draw(st.lists(names, min_size=2, max_size=12, unique=True))
    assert kept([copies[name] for name in ("original", *some)]) == "original"


def test_how_copies_stand_does_not_depend_on_their_order():
    generator = np.random.default_rng(4)
    details = [detail_of(saved(picture(generator), quality)) for quality in (60, 92, None, 75)]
    losses = detail_losses(details)
    assert detail_losses(details[::-1]) == losses[::-1]
    assert distances_from_typical(details[::-1], losses[::-1]) == distances_from_typical(details, losses)[::-1]


def picture(generator: np.random.Generator, size: tuple[int, int] = (400, 304)) -> Image.Image:
    """Edges and grain, blurred as by a lens: the finest structure is weaker than the coarse one."""
    values = np.zeros(size[::-1], np.float32)
    for cells in (5, 9, 17, 33, 65, 129, 257):
        noise = Image.fromarray(generator.normal(0, 1, (cells, cells)).astype(np.float32))
        values += np.asarray(noise.resize(size, Image.Resampling.BICUBIC)) / cells**0.6
    grey = np.clip(128 + values * 220, 0, 255).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(np.clip(grey * f, 0, 255).astype(np.uint8)) for f in (1.0, 0.9, 0.8)])


@pytest.mark.parametrize("quality", [40, 75, 90, 98, None])
def test_a_file_that_was_compressed_once_was_not_before(quality):
    for seed in range(3):
        found = detail_of(saved(picture(np.random.default_rng(seed)), quality)).compression
        assert not found.former.any()


@pytest.mark.parametrize(("former", "quality"), [(30, 90), (60, 95), (75, 92), (75, None), (85, None)])
def test_steps_of_a_coarser_compression_are_seen(former, quality):
    once = Image.open(io.BytesIO(saved(picture(np.random.default_rng(1)), former)))
    twice = detail_of(saved(once.convert("RGB"), quality)).compression
    seen = twice.former > 0
    assert seen.sum() >= 4
    steps = detail_of(saved(picture(np.random.default_rng(1)), former)).compression.own
    assert np.median(np.abs(twice.former[seen] / steps[seen] - 1)) < 0.1
    assert not detail_of(saved(once.convert("RGB").crop((3, 5, 400, 304)), quality)).compression.former.any()


def test_small_and_plain_pictures_say_nothing():
    for image in (Image.new("RGB", (1, 1)), Image.new("RGB", (300, 300), "white"), Image.new("RGB", (9, 700), "red")):
        details = [detail_of(saved(image)), detail_of(saved(image, None)), detail_of(saved(image, 30))]
        assert detail_losses(details) == [0, 0, 0]
        assert distances_from_typical(details, [0, 0, 0])[0] == 0
    assert not compression_of(np.zeros((500, 500), np.uint8), [1, 2, 3]).former.any()


def test_a_detail_comes_back_from_the_cache():
    detail = detail_of(saved(picture(np.random.default_rng(2)), 80))
    other = Detail.unpack(detail.pack())
    assert other is not None
    assert other.pack() == detail.pack()
    assert (other.content, other.total, other.pixels) == ((304, 400), 121_600, 121_600)
    assert detail_losses([other, detail]) == [0, 0]
    assert Detail.unpack(None) is Detail.unpack(detail.pack()[:-1]) is None


def test_a_frame_of_its_own_is_no_border_and_an_added_one_is():
    inner = picture(np.random.default_rng(3))
    framed = ImageOps.expand(inner, 20, "white")
    twice = ImageOps.expand(framed, 30, "black")
    sharp = framed.filter(ImageFilter.UnsharpMask(2, 150, 2))
    losses = detail_losses([detail_of(saved(image)) for image in (framed, twice, sharp)])
    assert losses[0] < losses[2] < losses[1]
