"""A model that knows four colours: a real bundle of a few kilobytes whose answers anyone can foretell.

An image's vector is how much of each channel it lacks, a text's the same for the colours that it names. So a red disc
on white is `red`, through the same engine, cache and scoring as any other model, in milliseconds and without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pictures
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, pre_tokenizers

from clipcli import bundle
from clipcli.bundle import stage as staging
from clipcli.core.encoder import ModelInfo, Preprocessing, Scoring

if TYPE_CHECKING:
    from pathlib import Path

_SIZE = 32
_OTHER = "<other>"
_WORDS = [_OTHER, *pictures.COLOURS]
_FAINT = 1e-3
"""What a word that is no colour weighs: enough for a direction, too little to count."""


def save(folder: Path, *, blind: bool = False, unspeakable: str | None = None) -> str:
    """Write the bundle; its spec. A blind one gives NaN for every image, and infinities for a word it cannot speak."""
    with staging.staged(folder) as stage:
        _save(stage / "image.onnx", _image_tower("Log" if blind else "Identity"))  # of what is below zero
        _save(stage / "text.onnx", _text_tower(unspeakable))
        tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(_WORDS)}, unk_token=_OTHER))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.save(str(stage / "tokenizer.json"))
        staging.seal(stage, _manifest())
    return str(folder)


def _manifest() -> bundle.Manifest:
    return bundle.Manifest(
        info=ModelInfo(
            name="colours", fingerprint="c01001250000", dim=3, context_length=16, causal_text=False,
            preprocessing=Preprocessing((_SIZE, _SIZE), (1.0,) * 3, (1.0,) * 3, "bilinear", "squash", 255),
        ),
        scoring=Scoring(100.0, 0.0, "softmax"), precision="fp32", source="colours", revision=None,
        tokenizer=bundle.TokenizerSpec("lower", len(_WORDS), (), 0, None, (), "a red disc", (0, 1, 0)),
        vocab_size=len(_WORDS),
    )  # fmt: skip


def _image_tower(last: str) -> onnx.ModelProto:
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["all"], keepdims=0),
        helper.make_node(last, ["all"], ["mean"]),
        helper.make_node("Neg", ["mean"], ["features"]),
    ]
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, _SIZE, _SIZE])
    return _model(nodes, pixels, [axes])


def _text_tower(unspeakable: str | None) -> onnx.ModelProto:
    lacking = 1 - np.array(list(pictures.COLOURS.values()), np.float32) / 255
    rows = np.vstack([np.full(3, _FAINT, np.float32), lacking])
    if unspeakable is not None:
        rows[_WORDS.index(unspeakable)] = np.inf
    nodes = [
        helper.make_node("Gather", ["words", "ids"], ["rows"]),
        helper.make_node("ReduceSum", ["rows", "axes"], ["features"], keepdims=0),
    ]
    words = helper.make_tensor("words", TensorProto.FLOAT, rows.shape, rows.ravel().tolist())
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    return _model(nodes, helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", "length"]), [words, axes])


def _model(nodes: list[onnx.NodeProto], given: onnx.ValueInfoProto, weights: list[onnx.TensorProto]) -> onnx.ModelProto:
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "tower", [given], [features], initializer=weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _save(path: Path, model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
