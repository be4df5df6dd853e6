"""An index opens as few cells as its recall allows: what it promises holds for queries it was not tuned with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from clipcli.core.vectors import unit_length
from clipcli.runs.rank.index import Index
from clipcli.runs.rank.index_builder import build
from clipcli.vectorfiles import VectorRows, VectorsInfo, WritePlan, create_vectors, open_vectors

if TYPE_CHECKING:
    from pathlib import Path

ROWS, DIM = 20_000, 64


def draw(chance: np.random.Generator, topics: np.ndarray, count: int) -> np.ndarray:
    """Return vectors around topics, wide for some and narrow for others."""
    topic = chance.integers(0, len(topics), count)
    width = 0.05 + 0.1 * (topic % 3)
    return unit_length(topics[topic] + width[:, None] * chance.standard_normal((count, topics.shape[1])))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    """Vectors on disk, the same in memory, and 100 queries of the same kind that are not among them."""
    chance = np.random.default_rng(0)
    topics = unit_length(chance.standard_normal((200, DIM)))
    vectors = draw(chance, topics, ROWS)
    path = tmp_path_factory.mktemp("index") / "v.npy"
    with create_vectors("npy", WritePlan(path, VectorsInfo("image", "m", "0" * 12), rows=ROWS, dim=DIM)) as writer:
        writer.write(VectorRows([f"{n}.jpg" for n in range(ROWS)], vectors))
    return path, vectors, draw(chance, topics, 100)


def recall(index: Index, vectors: np.ndarray, queries: np.ndarray) -> float:
    exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    hits = [index.search(query, 10, -2.0, lambda _: True).rows for query in queries]
    return float(np.mean([np.isin(*pair).mean() for pair in zip(exact, hits, strict=True)]))


def test_more_recall_opens_more_and_is_kept_for_other_queries(world):
    path, vectors, queries = world
    made = {}
    for enough in (0.8, 0.95, 1.0):
        folder = str(path.with_name(f"{enough}.index"))
        info = build(open_vectors(path), folder, enough, lambda _: None)
        assert info.recall >= enough
        assert recall(Index(folder), vectors, queries) >= enough - 0.03
        made[enough] = info
    assert made[0.8].probes < made[0.95].probes < made[1.0].probes <= made[1.0].cells
    assert made[0.95].probes < made[0.95].cells / 2
    assert all(0 <= info.spread <= 1 for info in made.values())


def test_radii_are_the_distances_of_the_rows_of_a_cell(world):
    path, vectors, _ = world
    folder = path.with_name("radii.index")
    build(open_vectors(path), str(folder), 0.5, lambda _: None)
    centres, starts, rows, radii = (np.load(folder / f"{name}.npy") for name in ("centres", "starts", "rows", "radii"))
    for cell in (0, 7, len(centres) - 1):
        members = vectors[rows[starts[cell] : starts[cell + 1]]]
        squares = ((members - centres[cell]) ** 2).sum(axis=1)
        assert radii[cell] == pytest.approx(np.sqrt(squares.mean()) if len(squares) else 0, abs=1e-4)
