"""Bundles made by hand: real graphs and manifests of a few hundred bytes, no model behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx

from clipcli import bundle
from clipcli.core.encoder import ModelInfo, Preprocessing, Scoring

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = bundle.Manifest(
    info=ModelInfo(
        name="ViT-Nano/test",
        fingerprint="0123456789ab",
        dim=4,
        preprocessing=Preprocessing((8, 6), (0.5, 0.4, 0.3), (0.1, 0.2, 0.3), "bilinear", "squash", 127),
        context_length=5,
        causal_text=True,
    ),
    scoring=Scoring(100.0, -10.0, "sigmoid"),
    precision="fp16",
    source="ViT-Nano/test",
    revision="abc",
    tokenizer=bundle.TokenizerSpec("lower", 9, (8,), 0, None, (7, 8), "a dog", (7, 1, 2, 8)),
    vocab_size=9,
)


def tower(path: Path, location: str = "", length: int = 64, *, depth: int = 0) -> None:
    """A graph with one external weight; `depth` hides it inside that many nested subgraphs."""
    weight = onnx.TensorProto(name="w", dims=[16], data_type=onnx.TensorProto.FLOAT)
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location or f"{path.name}.data", "offset": "0", "length": str(length)}.items():
        weight.external_data.add(key=key, value=value)
    output = onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, [16])
    graph = onnx.helper.make_graph([], "tower", [], [output], initializer=[weight])
    for level in range(depth):
        inside = onnx.helper.make_node("If", ["c"], [f"y{level}"], then_branch=graph, else_branch=graph)
        graph = onnx.helper.make_graph([inside], f"outer{level}", [], [output])
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    (path.parent / f"{path.name}.data").write_bytes(np.arange(16, dtype=np.float32).tobytes())


def fill(stage: Path) -> None:
    tower(stage / "image.onnx")
    tower(stage / "text.onnx")
    (stage / "tokenizer.json").write_text("{}")
