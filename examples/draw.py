"""Draw the pictures beside this file: `python examples/draw.py [FOLDER]`. Pillow only; the same pixels every time.

Flat colours and dark outlines on white, in the manner of emoji, so that even a very small model can name them.
A drawing is a function that fills a `Sheet`; its name is the label, and the name of its file.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sheet import INK, LINE, Sheet, mirrored

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image


def apple(sheet: Sheet) -> None:
    """Red, with a leaf."""
    half = [(128, 88), (98, 74), (62, 82), (40, 120), (46, 172), (74, 216), (104, 228), (128, 220)]
    sheet.blob([*half, *mirrored(half[1:-1])], "#e0362c")
    sheet.curve([(66, 152), (66, 126), (80, 106)], 9, "#f7a39b")
    sheet.blob([(136, 66), (152, 38), (190, 28), (180, 58), (158, 72)], "#6cb33f", 5)
    sheet.curve([(128, 92), (127, 66), (116, 40)], 10, "#7a4a21")


def banana(sheet: Sheet) -> None:
    """Bent and yellow."""
    outer = [(196, 34), (208, 72), (204, 124), (176, 176), (126, 210), (72, 218), (38, 206)]
    inner = [(34, 190), (72, 182), (118, 158), (150, 120), (166, 76), (172, 40)]
    sheet.blob([*outer, *inner], "#fcd835")
    sheet.curve([(189, 60), (184, 110), (158, 154), (112, 186), (62, 200)], 4, "#d9a514")
    sheet.shape([(172, 42), (170, 22), (190, 18), (198, 38)], "#8a6a2a", 5)
    sheet.shape([(34, 190), (26, 196), (28, 206), (39, 207)], "#5a4520", 5)


def car(sheet: Sheet) -> None:
    """Red, from the side."""
    roof = [(66, 122), (88, 78), (104, 70), (158, 70), (174, 78), (202, 122)]
    sheet.shape(roof, "#d93a32")
    sheet.shape([(82, 120), (98, 88), (126, 86), (126, 120)], "#bfe6f7", 5)
    sheet.shape([(138, 120), (138, 86), (162, 88), (184, 120)], "#bfe6f7", 5)
    body = [(20, 136), (34, 122), (214, 122), (234, 136), (238, 172), (226, 180), (30, 180), (18, 170)]
    sheet.shape(body, "#e8463c")
    sheet.stroke([(132, 124), (132, 176)], 3)
    sheet.stroke([(142, 138), (156, 138)], 4)
    sheet.oval((228, 146), (8, 8), "#ffe680", 4)
    sheet.oval((28, 146), (7, 8), "#a51f1f", 4)
    for x in (74, 186):
        sheet.oval((x, 180), (29, 29), "#3d3d42")
        sheet.oval((x, 180), (13, 13), "#d4d7da", 4)


def cat(sheet: Sheet) -> None:
    """A ginger face with whiskers."""
    for ear, colour, line in (
        ([(46, 116), (44, 26), (114, 66)], "#f6a03a", LINE),
        ([(60, 92), (58, 50), (92, 72)], "#f9bcb0", 0),
    ):
        sheet.shape(ear, colour, line)
        sheet.shape(mirrored(ear), colour, line)
    half = [(128, 58), (84, 66), (46, 102), (34, 150), (58, 200), (100, 226), (128, 230)]
    sheet.blob([*half, *mirrored(half[1:-1])], "#f6a03a")
    for stripe in ([(128, 66), (128, 96)], [(106, 72), (110, 94)], [(150, 72), (146, 94)]):
        sheet.stroke(stripe, 8, "#cf7418")
    sheet.blob([(128, 168), (92, 172), (84, 200), (128, 220), (172, 200), (164, 172)], "#fff4e3", 0)
    for x in (88, 168):
        sheet.oval((x, 140), (14, 19), "#b9d957", 5)
        sheet.oval((x, 140), (5, 14), INK, 0)
    sheet.shape([(116, 170), (140, 170), (128, 183)], "#e8756a", 4)
    sheet.curve([(128, 184), (124, 200), (106, 200)], 5)
    sheet.curve([(128, 184), (132, 200), (150, 200)], 5)
    for y, end in ((176, 166), (188, 192)):
        sheet.stroke([(80, y), (14, end)], 4)
        sheet.stroke([(176, y), (242, end)], 4)


def dog(sheet: Sheet) -> None:
    """A brown face, tongue out."""
    half = [(128, 42), (88, 48), (62, 84), (60, 140), (78, 196), (106, 224), (128, 228)]
    sheet.blob([*half, *mirrored(half[1:-1])], "#c98a4b")
    ear = [(84, 50), (52, 46), (28, 78), (22, 134), (38, 168), (62, 152), (72, 104)]
    sheet.blob(ear, "#7d4a22")
    sheet.blob(mirrored(ear), "#7d4a22")
    sheet.blob(
        [(128, 134), (92, 152), (84, 188), (106, 218), (128, 222), (150, 218), (172, 188), (164, 152)], "#fbe8cf", 0
    )
    for x in (98, 158):
        sheet.dot(x, 116, 12)
        sheet.dot(x + 4, 111, 4, "white")
    sheet.blob([(118, 190), (118, 216), (128, 238), (138, 216), (138, 190)], "#f0788a", 5)
    sheet.curve([(88, 176), (104, 194), (128, 186), (152, 194), (168, 176)], 6)
    sheet.stroke([(128, 164), (128, 188)], 6)
    sheet.blob([(104, 144), (128, 138), (152, 144), (146, 162), (128, 172), (110, 162)], INK)


def fish(sheet: Sheet) -> None:
    """Orange, swimming to the right."""
    sheet.blob([(84, 128), (44, 86), (16, 76), (28, 128), (16, 180), (44, 170)], "#f28a1e")
    sheet.blob([(112, 82), (126, 48), (164, 44), (172, 84)], "#f28a1e")
    sheet.blob([(130, 172), (132, 206), (160, 204), (166, 170)], "#f28a1e")
    sheet.blob([(62, 128), (104, 84), (160, 74), (212, 96), (242, 130), (212, 164), (160, 184), (104, 172)], "#fba93b")
    sheet.curve([(182, 88), (168, 128), (182, 170)], 5)
    for x, y in ((142, 110), (142, 148), (112, 128)):
        sheet.curve([(x, y - 12), (x - 10, y), (x, y + 12)], 4, "#cf6f12")
    sheet.oval((208, 118), (11, 11), "white", 4)
    sheet.dot(211, 118, 6)
    sheet.curve([(238, 138), (226, 144), (216, 142)], 4)


def flower(sheet: Sheet) -> None:
    """Six pink petals."""
    sheet.curve([(128, 130), (132, 180), (126, 240)], 12, "#3f8f3a")
    leaf = [(126, 214), (104, 184), (66, 176), (80, 206)]
    sheet.blob(leaf, "#57b04a", 5)
    sheet.blob([(258 - x, y + 4) for x, y in leaf], "#57b04a", 5)
    for petal in range(6):
        turn = petal * math.tau / 6 + math.tau / 12
        sheet.oval((128 + 50 * math.cos(turn), 94 + 50 * math.sin(turn)), (31, 31), "#f06ba8")
    sheet.oval((128, 94), (29, 29), "#ffd23e")


def house(sheet: Sheet) -> None:
    """With a red roof and a chimney."""
    sheet.shape([(168, 84), (168, 40), (194, 40), (194, 104)], "#a8553a")
    sheet.shape([(54, 116), (202, 116), (202, 226), (54, 226)], "#f7e3b5")
    sheet.shape([(24, 124), (128, 34), (232, 124)], "#cf4a3c")
    sheet.shape([(110, 226), (110, 160), (146, 160), (146, 226)], "#8a5a33", 5)
    sheet.dot(138, 194, 4, "#ffd23e")
    for x in (68, 160):
        sheet.shape([(x, 148), (x + 28, 148), (x + 28, 180), (x, 180)], "#a9dcf5", 5)
        sheet.stroke([(x + 14, 148), (x + 14, 180)], 4)
        sheet.stroke([(x, 164), (x + 28, 164)], 4)
    sheet.stroke([(20, 226), (236, 226)], 7, "#5ea34a")


def red_circle(sheet: Sheet) -> None:
    """What its name says."""
    sheet.oval((128, 128), (98, 98), "#e02222")


def sun(sheet: Sheet) -> None:
    """Yellow, twelve rays."""
    for ray in range(12):
        turn = ray * math.tau / 12
        edges = ((74, -0.17), (116, 0.0), (74, 0.17))
        sheet.shape([(128 + r * math.cos(turn + a), 128 + r * math.sin(turn + a)) for r, a in edges], "#fba81c", 4)
    sheet.oval((128, 128), (66, 66), "#ffd93b")


def tree(sheet: Sheet) -> None:
    """A round green crown."""
    sheet.shape([(112, 150), (144, 150), (150, 234), (106, 234)], "#8a5a33")
    crown = [(70, 170), (34, 150), (36, 112), (62, 92), (68, 54), (106, 38), (128, 24), (160, 36), (190, 58), (196, 92)]
    sheet.blob([*crown, (222, 114), (218, 152), (184, 172), (152, 166), (128, 178), (102, 166)], "#4fa845")
    for x, y in ((92, 84), (146, 66), (170, 120), (84, 134), (128, 112)):
        sheet.curve([(x - 12, y), (x, y + 8), (x + 12, y)], 5, "#2f7d31")


def umbrella(sheet: Sheet) -> None:
    """Open, violet."""
    sheet.curve([(128, 120), (128, 206), (118, 226), (98, 226), (90, 208)], 9, "#7a4a21")
    sheet.stroke([(128, 30), (128, 44)], 8)
    arc = [(128 + 104 * math.cos(a), 140 + 98 * math.sin(a)) for a in (math.pi + k * math.pi / 40 for k in range(41))]
    steps = [1 - k / 6 for k in range(13)]
    hem = [(x + 26 * step, 126 + 14 * step**2) for x in (206, 154, 102, 50) for step in steps]
    sheet.shape([*arc, *hem], "#7b4fc4")
    for x in (76, 180):
        sheet.curve([(128, 42), ((x + 128) / 2 + (x - 128) * 0.3, 76), (x, 140)], 5)


PICTURES: dict[str, Callable[[Sheet], None]] = {
    "apple": apple,
    "banana": banana,
    "car": car,
    "cat": cat,
    "dog": dog,
    "fish": fish,
    "flower": flower,
    "house": house,
    "red-circle": red_circle,
    "sun": sun,
    "tree": tree,
    "umbrella": umbrella,
}


def picture(name: str) -> Image.Image:
    """One picture: RGB, 256 by 256."""
    sheet = Sheet()
    PICTURES[name](sheet)
    return sheet.finished()


def main() -> None:
    """Write every picture as a PNG into a folder, this one by default."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name in PICTURES:
        picture(name).save(folder / f"{name}.png", optimize=True)
        print(folder / f"{name}.png")


if __name__ == "__main__":
    main()
