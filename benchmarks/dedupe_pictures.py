"""Pictures that are made to be told apart, and edits that leave a picture what it is: both errors of `dedupe`.

`TEMPLATES` draws families of pictures that share a form and differ in one place; no two of a family are copies.
`EDITS` makes copies of a picture, `CHANGES` makes other pictures of it that share nearly all of their surface.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

if TYPE_CHECKING:
    from collections.abc import Callable

    Draw = Callable[[np.random.Generator, int], Image.Image]
    Edit = Callable[[Image.Image], Image.Image]

WORDS = [
    "north", "river", "paper", "silver", "garden", "window", "letter", "market", "bridge", "winter", "engine",
    "copper", "valley", "orange", "castle", "morning", "harbor", "candle", "forest", "mirror", "planet", "rocket",
    "basket", "violin", "saddle", "summer", "pepper", "anchor", "meadow", "tunnel",
]  # fmt: skip
NAMES = ["Anna Berg", "Omar Haddad", "Li Wei", "Maria Costa", "John Smith", "Eva Novak", "Ravi Patel", "Kofi Mensah"]


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, so that the pictures are the same everywhere."""
    return ImageFont.load_default(size)


def write(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int = 16, fill: str = "#202020") -> None:
    """One line of text."""
    draw.text(at, text, fill=fill, font=font(size))


def words(generator: np.random.Generator, count: int) -> str:
    """So many words."""
    return " ".join(generator.choice(WORDS, count))


def form(seed: np.random.Generator, number: int) -> Image.Image:
    """An invoice: number, name and amount are another's."""
    own = np.random.default_rng(1000 + number)
    image = Image.new("RGB", (850, 1100), "white")
    draw = ImageDraw.Draw(image)
    write(draw, (60, 50), "NORTHWIND SUPPLIES", 34, "#1d3c78")
    write(draw, (60, 100), "12 Harbor Road, Springfield", 16)
    write(draw, (560, 60), f"Invoice {own.integers(10000, 99999)}", 20)
    write(draw, (60, 170), f"Bill to: {own.choice(NAMES)}", 18)
    for row in range(12):
        top = 260 + row * 42
        draw.line((60, top, 790, top), "#999999")
        write(draw, (66, top + 10), words(np.random.default_rng(seed.integers(9999)), 3))
        write(draw, (700, top + 10), f"{10 + row * 7}.00")
    write(draw, (560, 800), f"Total  {own.integers(100, 9999)}.{own.integers(10, 99)}", 22)
    for line in range(6):
        write(draw, (60, 900 + 24 * line), words(np.random.default_rng(line), 9), 13, "#666666")
    return image


def wall(seed: np.random.Generator, number: int) -> Image.Image:
    """A plain desktop with another small mark."""
    own = np.random.default_rng(2000 + number)
    image = Image.new("RGB", (1280, 720), tuple(seed.integers(0, 90, 3).tolist()))
    draw = ImageDraw.Draw(image)
    x, y, size = own.integers(80, 1100), own.integers(80, 560), own.integers(30, 90)
    ink = tuple(own.integers(150, 255, 3).tolist())
    box = (int(x), int(y), int(x + size), int(y + size))
    shape = number % 4
    if shape == 0:
        draw.ellipse(box, fill=ink)
    elif shape == 1:
        draw.rectangle(box, outline=ink, width=6)
    elif shape == 2:
        draw.line(box, ink, 8)
    else:
        write(draw, box[:2], words(own, 1), 40, "#eeeeee")
    return image


def icon(_seed: np.random.Generator, number: int) -> Image.Image:
    """White lines on transparency."""
    own = np.random.default_rng(3000 + number)
    image = Image.new("RGBA", (256, 256), (255, 255, 255, 0))
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        x, y, width = (int(v) for v in own.integers(20, 150, 3))
        if own.random() < 0.5:
            draw.ellipse((x, y, x + width, y + width), outline=(255, 255, 255, 255), width=14)
        else:
            draw.line((x, y, 250 - y, x + width), (255, 255, 255, 255), 16)
    return image


def sign_on(image: Image.Image, own: np.random.Generator, at: tuple[int, int]) -> None:
    """A scribble of a pen."""
    steps = np.cumsum(own.normal((9, 0), (5, 16), (16, 2)), axis=0)
    points = [(at[0] + float(x), at[1] + float(np.clip(y, -28, 28))) for x, y in steps]
    ImageDraw.Draw(image).line(points, "#1a2a6a", 3, joint="curve")


def letter(seed: np.random.Generator, number: int) -> Image.Image:
    """A letter that nobody signed (0), and those that somebody did."""
    image = Image.new("RGB", (850, 1100), "white")
    draw = ImageDraw.Draw(image)
    for line in range(22):
        write(draw, (80, 120 + 34 * line), words(np.random.default_rng(seed.integers(9999)), 10), 18)
    write(draw, (80, 960), "Signature: ____________________", 18)
    if number:
        sign_on(image, np.random.default_rng(4000 + number), (210, 955))
    return image


def blank(_seed: np.random.Generator, number: int) -> Image.Image:
    """A nearly empty page: another number in its corner, a tick, a line of a pen."""
    own = np.random.default_rng(5000 + number)
    image = Image.new("RGB", (850, 1100), "white")
    draw = ImageDraw.Draw(image)
    if number % 3 == 0:
        write(draw, (760, 1050), str(number + 1), 20)
    elif number % 3 == 1:
        write(draw, (100, int(own.integers(100, 900))), words(own, 2), 20)
    else:
        sign_on(image, own, (int(own.integers(60, 500)), int(own.integers(60, 900))))
    return image


def slide(seed: np.random.Generator, number: int) -> Image.Image:
    """The same slide with another caption."""
    own = np.random.default_rng(6000 + number)
    image = scene(seed, (960, 540))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 440, 960, 540), "#203040")
    write(draw, (40, 470), words(own, 4), 34, "#ffffff")
    return image


def screenshot(seed: np.random.Generator, number: int) -> Image.Image:
    """A window of lists, with another dialog or another clock."""
    own = np.random.default_rng(7000 + number)
    image = Image.new("RGB", (1280, 800), "#f0f0f0")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 1280, 36), "#2b2b2b")
    write(draw, (1180, 10), f"{own.integers(0, 24):02}:{own.integers(0, 60):02}", 16, "#ffffff")
    draw.rectangle((0, 36, 240, 800), "#dde3ea")
    for row in range(16):
        write(draw, (20, 60 + 44 * row), words(np.random.default_rng(seed.integers(9999)), 2), 16)
        write(draw, (280, 60 + 44 * row), words(np.random.default_rng(seed.integers(9999)), 9), 16)
    if number % 2:
        draw.rectangle((420, 280, 860, 480), "#ffffff", "#888888", 2)
        write(draw, (450, 310), words(own, 4), 20)
        write(draw, (450, 360), words(own, 5), 16)
        draw.rectangle((720, 420, 830, 456), "#2f6fd0")
    return image


def ticket(_seed: np.random.Generator, number: int) -> Image.Image:
    """A ticket with another seat and another code."""
    own = np.random.default_rng(8000 + number)
    image = Image.new("RGB", (700, 300), "#f7e7b0")
    draw = ImageDraw.Draw(image)
    draw.rectangle((10, 10, 690, 290), outline="#7a1f1f", width=4)
    write(draw, (40, 30), "GRAND THEATRE", 40, "#7a1f1f")
    write(draw, (40, 100), "The Winter's Tale   Saturday 20:00", 22)
    write(draw, (40, 200), f"Row {own.integers(1, 40)}   Seat {own.integers(1, 60)}", 28)
    for bar in range(40):
        if own.random() < 0.5:
            draw.rectangle((480 + bar * 5, 180, 484 + bar * 5, 270), "#202020")
    return image


def chart(seed: np.random.Generator, number: int) -> Image.Image:
    """A bar chart: one of its bars has another height."""
    own = np.random.default_rng(9000 + number)
    image = Image.new("RGB", (800, 600), "white")
    draw = ImageDraw.Draw(image)
    write(draw, (300, 20), "Sales by month", 24)
    draw.line((80, 520, 760, 520), "#202020", 2)
    draw.line((80, 60, 80, 520), "#202020", 2)
    heights = seed.integers(80, 420, 12)
    heights[int(own.integers(0, 12))] = int(own.integers(80, 420))
    for month, height in enumerate(heights.tolist()):
        draw.rectangle((100 + 54 * month, 520 - height, 140 + 54 * month, 520), "#3b7dd8")
        write(draw, (106 + 54 * month, 530), str(month + 1), 14)
    return image


def calendar(_seed: np.random.Generator, number: int) -> Image.Image:
    """A month: another name, and the days start elsewhere."""
    image = Image.new("RGB", (840, 720), "white")
    draw = ImageDraw.Draw(image)
    write(draw, (300, 20), f"{WORDS[number % len(WORDS)].title()} {2000 + number}", 36, "#7a1f1f")
    for day in range(31):
        place = day + number % 7
        x, y = 20 + place % 7 * 115, 110 + place // 7 * 100
        draw.rectangle((x, y, x + 110, y + 95), outline="#888888")
        write(draw, (x + 8, y + 8), str(day + 1), 22)
    return image


def diagram(seed: np.random.Generator, number: int) -> Image.Image:
    """Boxes and arrows with another label in one of them."""
    own = np.random.default_rng(11000 + number)
    image = Image.new("RGB", (900, 600), "white")
    draw = ImageDraw.Draw(image)
    other = int(own.integers(0, 9))
    for box in range(9):
        x, y = 60 + box % 3 * 290, 50 + box // 3 * 190
        draw.rectangle((x, y, x + 200, y + 90), "#e8f0fe", "#1d3c78", 3)
        label = words(own if box == other else np.random.default_rng(seed.integers(9999)), 2)
        write(draw, (x + 20, y + 32), label, 20)
        if box % 3 < 2:
            draw.line((x + 200, y + 45, x + 290, y + 45), "#1d3c78", 3)
    return image


def receipt(_seed: np.random.Generator, number: int) -> Image.Image:
    """The same shop, other goods."""
    own = np.random.default_rng(12000 + number)
    image = Image.new("RGB", (400, 900), "#fbfbf7")
    draw = ImageDraw.Draw(image)
    write(draw, (110, 30), "CORNER SHOP", 28)
    write(draw, (90, 70), "Market Street 5, Springfield", 14)
    for row in range(14):
        write(draw, (30, 130 + 40 * row), words(own, 2), 18)
        write(draw, (310, 130 + 40 * row), f"{own.integers(1, 30)}.{own.integers(10, 99)}", 18)
    write(draw, (30, 760), "Thank you for your visit", 20)
    return image


def board(seed: np.random.Generator, number: int) -> Image.Image:
    """A game of pieces on a board after another move."""
    own = np.random.default_rng(13000 + number)
    image = Image.new("RGB", (640, 640), "white")
    draw = ImageDraw.Draw(image)
    for cell in range(64):
        x, y = cell % 8 * 80, cell // 8 * 80
        draw.rectangle((x, y, x + 80, y + 80), "#c9a26b" if (cell + cell // 8) % 2 else "#f2e2c4")
    places = seed.permutation(64)[:20].tolist()
    places[int(own.integers(0, 20))] = int(own.integers(0, 64))
    for number_, cell in enumerate(places):
        x, y = cell % 8 * 80 + 14, cell // 8 * 80 + 14
        draw.ellipse((x, y, x + 52, y + 52), "#222222" if number_ % 2 else "#ffffff", "#555555", 3)
    return image


def scan(seed: np.random.Generator, number: int) -> Image.Image:
    """A form as a scanner sees it: grain, a grey ground, a little turn."""
    own = np.random.default_rng(14000 + number)
    image = form(seed, number).resize((637, 825)).rotate(float(own.normal(0, 0.4)), fillcolor="white")
    values = np.asarray(image, np.float32) * 0.9 + own.normal(12, 4, (825, 637, 1))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def camera(seed: np.random.Generator, number: int) -> Image.Image:
    """A camera that does not move: a small thing in another place, grain, another time in its corner."""
    own = np.random.default_rng(15000 + number)
    image = scene(seed, (640, 480))
    draw = ImageDraw.Draw(image)
    x, y = int(own.integers(40, 560)), int(own.integers(200, 420))
    draw.ellipse((x, y, x + 36, y + 36), "#c02020")
    write(
        draw, (440, 455), f"2024-05-0{own.integers(1, 9)} {own.integers(10, 24)}:{own.integers(10, 59)}", 16, "#ffffff"
    )
    values = np.asarray(image, np.float32) + own.normal(0, 3, (480, 640, 1))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def score_sheet(seed: np.random.Generator, number: int) -> Image.Image:
    """Notes on lines: a few of them others."""
    own = np.random.default_rng(16000 + number)
    image = Image.new("RGB", (800, 600), "white")
    draw = ImageDraw.Draw(image)
    notes = seed.integers(0, 9, (5, 16))
    for _ in range(3):
        notes[own.integers(0, 5), own.integers(0, 16)] = own.integers(0, 9)
    for staff in range(5):
        for line in range(5):
            draw.line((40, 60 + staff * 105 + line * 12, 760, 60 + staff * 105 + line * 12), "#202020")
        for beat, pitch in enumerate(notes[staff].tolist()):
            x, y = 70 + beat * 43, 52 + staff * 105 + pitch * 6
            draw.ellipse((x, y, x + 14, y + 11), "#202020")
    return image


def scene(generator: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Soft blobs with detail on top: as much structure as a photo has."""
    layers = np.zeros((size[1], size[0], 3), np.float32)
    for cells, share in ((5, 0.5), (16, 0.25), (50, 0.15), (150, 0.1)):
        noise = Image.fromarray(generator.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        layers += share * np.asarray(noise.resize(size, Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray(np.clip((layers - 128) * 1.6 + 128, 0, 255).astype(np.uint8))


TEMPLATES: dict[str, Draw] = {
    "forms": form, "walls": wall, "icons": icon, "letters": letter, "blanks": blank, "slides": slide,
    "screenshots": screenshot, "tickets": ticket, "charts": chart, "calendars": calendar, "diagrams": diagram,
    "receipts": receipt, "boards": board, "scans": scan, "cameras": camera, "notes": score_sheet,
}  # fmt: skip


def family(kind: str, seed: int, count: int) -> list[Image.Image]:
    """`count` different pictures of one template; another seed is another template of its kind."""
    return [TEMPLATES[kind](np.random.default_rng(seed), number + 100 * seed) for number in range(count)]


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """As it comes out of a JPEG file."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def scaled(share: float) -> Edit:
    """To so much of its width and height."""
    return lambda i: i.resize((max(1, round(i.width * share)), max(1, round(i.height * share))))


def cropped(left: float, top: float, right: float, bottom: float) -> Edit:
    """Without so much of each side."""
    return lambda i: i.crop((round(i.width * left), round(i.height * top),
                             i.width - round(i.width * right), i.height - round(i.height * bottom)))  # fmt: skip


def bordered(share: float, colour: str) -> Edit:
    """With so much of its longer side around it."""
    return lambda i: ImageOps.expand(i, max(1, round(max(i.size) * share)), colour)


def on_screen(image: Image.Image) -> Image.Image:
    """As a screenshot of a phone that shows it: black above and below."""
    width = 720
    height = round(image.height * width / image.width)
    screen = Image.new("RGB", (width, max(1400, height + 100)), "black")
    screen.paste(image.resize((width, height)), (0, (screen.height - height) // 2))
    return screen


def watermarked(image: Image.Image) -> Image.Image:
    """Pale words across it."""
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    size = max(10, image.width // 9)
    draw = ImageDraw.Draw(layer)
    draw.text((image.width // 6, image.height // 2), "SAMPLE PHOTO", fill=(255, 255, 255, 90), font=font(size))
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def captioned(image: Image.Image) -> Image.Image:
    """A white bar of words below it."""
    bar = max(24, image.height // 8)
    out = Image.new("RGB", (image.width, image.height + bar), "white")
    out.paste(image, (0, 0))
    write(ImageDraw.Draw(out), (10, image.height + bar // 6), "when the weekend is over", bar // 2)
    return out


def grained(image: Image.Image) -> Image.Image:
    """With the grain of a high ISO."""
    grain = np.random.default_rng(1).normal(0, 6, (image.height, image.width, 1))
    return Image.fromarray((np.asarray(image, np.float32) + grain).clip(0, 255).astype(np.uint8))


EDITS: dict[str, Edit] = {
    **{f"resize{p}": scaled(p / 100) for p in (25, 50, 75, 150, 200)},
    **{f"q{q}": (lambda i, q=q: jpeg(i, q)) for q in (10, 20, 30, 50, 75, 95)},
    "crop3": cropped(0.03, 0.03, 0.03, 0.03), "crop6": cropped(0.06, 0.03, 0.02, 0.05),
    "crop10": cropped(0.1, 0.1, 0.1, 0.1), "corner5": cropped(0.05, 0.05, 0, 0), "corner10": cropped(0.1, 0.1, 0, 0),
    "side10": cropped(0, 0, 0.1, 0),
    "border2": bordered(0.02, "white"), "border5": bordered(0.05, "black"), "border12": bordered(0.12, "#c04040"),
    "screen": on_screen,
    "grey": lambda i: i.convert("L").convert("RGB"),
    **{f"bright{p}": (lambda i, p=p: ImageEnhance.Brightness(i).enhance(p / 100)) for p in (60, 80, 130, 180)},
    "contrast": lambda i: ImageEnhance.Contrast(i).enhance(1.4),
    "saturated": lambda i: ImageEnhance.Color(i).enhance(1.6),
    "warm": lambda i: Image.fromarray((np.asarray(i, np.float32) * (1.1, 1.0, 0.85)).clip(0, 255).astype(np.uint8)),
    "sharp": lambda i: i.filter(ImageFilter.UnsharpMask(2, 150, 2)),
    "blur": lambda i: i.filter(ImageFilter.GaussianBlur(max(i.size) / 250)),
    "square": lambda i: i.resize((256, 256)),
    "turn3": lambda i: i.rotate(3, Image.Resampling.BICUBIC, expand=False),
    "turn1": lambda i: i.rotate(1, Image.Resampling.BICUBIC).crop((8, 8, i.width - 8, i.height - 8)),
    "palette": lambda i: i.quantize(64).convert("RGB"),
    "noise": grained,
    "half+q30": lambda i: jpeg(scaled(0.5)(i), 30),
    "crop6+q50+bright": lambda i: jpeg(ImageEnhance.Brightness(cropped(0.06, 0.03, 0.02, 0.05)(i)).enhance(1.2), 50),
}  # fmt: skip
"""Copies: *near* is right. A watermark may be *near* or *edited*."""


def with_patch(image: Image.Image) -> Image.Image:
    """A small thing that was not there: a ball of one colour, a tenth of its width."""
    out = image.copy()
    own = np.random.default_rng(image.width * 7 + int(np.asarray(image.resize((1, 1)).convert("L"))[0, 0]))
    side = max(6, image.width // 10)
    x, y = int(own.integers(0, image.width - side)), int(own.integers(0, image.height - side))
    fill = "#ffffff" if np.asarray(image.convert("L"))[y : y + side, x : x + side].mean() < 128 else "#202020"
    ImageDraw.Draw(out).ellipse((x, y, x + side, y + side), fill)
    return out


def with_words(image: Image.Image) -> Image.Image:
    """A word on it, as of a meme."""
    out = image.copy()
    write(
        ImageDraw.Draw(out),
        (image.width // 5, image.height * 4 // 5),
        "HELLO AGAIN",
        max(10, image.width // 10),
        "#ffffff",
    )
    return out


def with_move(image: Image.Image) -> Image.Image:
    """A part of it moved: what was in the middle stands a little to the side, as between pictures of a burst."""
    out = image.copy()
    w, h = image.size
    part = image.crop((w * 3 // 8, h * 3 // 8, w * 5 // 8, h * 5 // 8))
    out.paste(part, (w * 3 // 8 + w // 16, h * 3 // 8))
    return out


CHANGES: dict[str, Edit] = {
    "caption": captioned, "patch": with_patch, "words": with_words, "moved": with_move,
}  # fmt: skip
"""Other pictures of the same photo: *edited* is right, *near* is wrong."""
EITHER: dict[str, Edit] = {"watermark": watermarked}
"""*near* and *edited* are both right."""
