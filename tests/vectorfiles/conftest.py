"""Small vector files to read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from clipcli.core.encoder import ModelInfo, Preprocessing, Scoring
from clipcli.vectorfiles import Failure, Shard, VectorRows, VectorsInfo, WritePlan, create_vectors

if TYPE_CHECKING:
    from pathlib import Path

HOW = Preprocessing((224, 224), (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
MODEL = ModelInfo("ViT-B-32/demo", "0123456789ab", 6, HOW, 77, causal_text=True)
INFO = VectorsInfo("image", MODEL.name, MODEL.fingerprint, "fp32", parameters=MODEL, scoring=Scoring(100.0))
AWKWARD = ["a.png", "ü/ß.jpg", 'quote",comma.png', "line\nbreak.png", "表.webp", " ", "bytes\udcff.png"]


@dataclass
class Sample:
    """Seven rows and two failures, and how to write them."""

    folder: Path
    names: list[str] = field(default_factory=lambda: list(AWKWARD))
    info: VectorsInfo = INFO
    dim: int = 6
    failures: tuple[Failure, ...] = (
        Failure("bad.png", "decode", "no image", 2),
        Failure("gone.png", "read", "no such file", 7),
    )
    positions: tuple[int, ...] = (0, 1, 3, 4, 5, 6, 8)

    def use_plain_names(self) -> None:
        """Names that are UTF-8: the last one is not, which some readers do not take."""
        self.names[-1] = "plain.png"

    def use_shard(self) -> None:
        self.info = VectorsInfo("text", "m", "f" * 12, shard=Shard(2, 3, 30, "aa"))

    def vectors(self, dtype: str = "float32") -> np.ndarray:
        rows = np.random.default_rng(7).normal(size=(len(self.names), self.dim)).astype(np.float32)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(dtype)

    def write(self, name: str, dtype: str = "float32", block: int = 2) -> Path:
        path = self.folder / name
        vectors = self.vectors(dtype).astype(np.float32)
        with create_vectors(path.suffix[1:], WritePlan(path, self.info, len(self.names), self.dim, dtype)) as writer:
            for start in range(0, len(self.names), block):
                part = slice(start, start + block)
                places = np.array(self.positions[part]) if self.info.shard else None
                writer.write(VectorRows(self.names[part], vectors[part], places))
                for lost in self.failures[start // block : start // block + 1]:
                    writer.fail(lost)
        return path


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return Sample(tmp_path)
