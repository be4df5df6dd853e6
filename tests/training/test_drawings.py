from __future__ import annotations

import torch
from PIL import Image

from training.drawings import correction, shown_as


def test_the_drawings_move_and_the_others_stay():
    torch.manual_seed(0)
    others = torch.randn(500, 40) * torch.linspace(2, 0.01, 40)
    values = torch.randn(3, 40)
    wanted = torch.randn(3, 8)
    added = correction(torch.randn(8, 40), values, wanted, others)
    assert (values @ added.T - wanted).norm() < 0.3 * wanted.norm()
    assert (others @ added.T).norm(dim=1).mean() < 0.15 * wanted.norm(dim=1).mean()


def test_views_are_four_pictures_of_the_same_drawing():
    seen = shown_as(Image.new("RGB", (100, 100), "red"))
    assert [view.size for view in seen] == [(100, 100), (88, 88), (130, 130), (100, 100)]
    assert seen[2].getpixel((0, 0)) == (255, 255, 255)
