from __future__ import annotations

import numpy as np
import torch

from training import tune
from training.features import CHUNK
from training.tune import Maps, mixed, whole


def test_maps_are_read_by_view_and_row(tmp_path):
    (tmp_path / "maps").mkdir()
    for view in range(2):
        for chunk, size in enumerate((CHUNK, 3)):
            numbers = np.arange(size, dtype=np.float16) + 2000 * chunk
            values = np.broadcast_to((numbers * (1 - 2 * view))[:, None, None, None], (size, 2, 1, 1))
            np.save(tmp_path / "maps" / f"{view}-{chunk:03d}.npy", values)
    maps = Maps(tmp_path)
    found = maps.read(torch.tensor([5, CHUNK + 2, 5]), torch.tensor([0, 1, 1]))
    assert found[:, 0, 0, 0].tolist() == [5, -2002, -5]
    pooled = whole(maps, lambda part: part.mean((2, 3)), torch.tensor([1, CHUNK, 7]))
    assert pooled[:, 0].tolist() == [1, 2000, 7]


def test_mixed_weights_lie_between_and_counters_stay_whole():
    old = {"weight": torch.zeros(2), "count": torch.tensor(4)}
    new = {"weight": torch.ones(2), "count": torch.tensor(4)}
    between = mixed(old, new, 0.25)
    assert between["weight"].tolist() == [0.25, 0.25]
    assert between["count"].dtype == old["count"].dtype
    assert between["count"] == 4
    assert tune.mixed(old, new, 1.0)["weight"].tolist() == [1, 1]
