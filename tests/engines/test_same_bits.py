"""A picture has the same bits at every place of a batch, on any number of threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP
from torch.nn import functional

from clipcli.core.batch_invariance import ROWS, image_rows
from clipcli.core.encoder import ModelInfo, Preprocessing, Scoring
from clipcli.engines import onnx_export
from clipcli.engines.onnx import OnnxTower
from clipcli.engines.openclip import OpenClipEncoder
from clipcli.engines.openclip_towers import ExplicitFewQueries, few_queries_on
from clipcli.engines.torch_devices import Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clipcli.core.encoder import Precision

DIM = 64
TEXT = {"context_length": 77, "vocab_size": 512, "width": 32, "heads": 2, "layers": 1}
SIDES = {65: 64, 197: 112, 257: 128}
"""Tokens of a tower with patches of 8 pixels, the class token included → pixels of a side."""
POOLS = ("CoCa", "SigLIP")
QUERIES = [1, 2, 3, 5, 15, 16]
KEYS = [16, 65, 77, 100, 145, 197, 257]


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _vit(tokens: int, width: int = 128, **changes: Any) -> Any:
    vision = {"image_size": SIDES[tokens], "patch_size": 8, "width": width, "head_width": 64, "layers": 2, **changes}
    return CLIP(DIM, vision, TEXT)


def _coca() -> Any:
    vision = {"image_size": 64, "patch_size": 8, "width": 128, "head_width": 64, "layers": 2}
    pooled = {"attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 8, "output_tokens": True}
    decoder = {"context_length": 76, "vocab_size": 512, "width": 32, "heads": 2, "layers": 1}
    text = {**TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True}
    return CoCa(DIM, decoder, text, {**vision, **pooled})


def _siglip() -> Any:
    vision = {"timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": "none", "image_size": 160}
    return CustomTextCLIP(DIM, vision, {**TEXT, "no_causal_mask": True, "pool_type": "last"})


def _resnet() -> Any:
    return CLIP(DIM, {"image_size": 256, "layers": (1, 1, 1, 1), "width": 16, "head_width": 64}, TEXT)


KINDS: dict[str, Callable[[], Any]] = {
    "class token": lambda: _vit(65),
    "mean of tokens": lambda: _vit(65, pool_type="avg"),
    "CoCa": _coca,
    "SigLIP": _siglip,
    "ResNet": _resnet,
}


def as_trained(model: Any) -> Any:
    """Weights so large that attention prefers some keys, as training makes them; as initialised it is nearly even."""
    torch.manual_seed(11)
    with torch.no_grad():
        for parameter in model.visual.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=2.0 * parameter[0].numel() ** -0.5)
    return model.eval()


def encoder(model: Any, precision: Precision, *, few_images: bool) -> OpenClipEncoder:
    """As the engine would hold it, on the CPU, for images only."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    side = model.visual.image_size
    preprocessing = Preprocessing((side, side) if isinstance(side, int) else tuple(side), (0.5,) * 3, (0.5,) * 3)
    info = ModelInfo("random", "0123456789ab", DIM, preprocessing, context_length=77, causal_text=False)
    return OpenClipEncoder(model.to(dtype), None, info, Scoring(14.3), "cpu", precision, Streams("cpu"), few_images)


def pictures(source: OpenClipEncoder, count: int) -> np.ndarray:
    height, width = source.info.preprocessing.image_size
    return np.random.default_rng(count).standard_normal((count, 3, height, width), dtype=np.float32)


def hold_every_place(encode: Callable[[np.ndarray], np.ndarray], batch: np.ndarray) -> None:
    """One picture at every place at once, and different ones that move on by one, place by place."""
    size = len(batch)
    everywhere = encode(np.repeat(batch[:1], size, axis=0))
    assert np.abs(everywhere).max() > 0.01
    assert np.isfinite(everywhere).all()
    differing = [place for place in range(size) if not np.array_equal(everywhere[place], everywhere[0])]
    assert differing == []
    first = encode(batch)
    assert np.array_equal(first[0], everywhere[0])
    for shift in {1, size // 2}:
        assert np.array_equal(np.roll(encode(np.roll(batch, shift, axis=0)), -shift, axis=0), first)


def hold_torch(model: Any, precision: Precision, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few images, which have all threads for four of them, and many, whose lanes may have several threads each."""
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    few = encoder(model, precision, few_images=True)
    hold_every_place(few.encode_images, pictures(few, ROWS))
    torch.set_num_threads(threads)
    many = encoder(model, precision, few_images=False)
    hold_every_place(many.encode_images, pictures(many, image_rows(precision)))


@pytest.mark.thorough
@pytest.mark.parametrize("tokens", SIDES)
def test_every_place_gives_the_same_bits(tokens: int, monkeypatch: pytest.MonkeyPatch):
    hold_torch(as_trained(_vit(tokens)), "fp32", 2, monkeypatch)


@pytest.mark.parametrize(
    ("kind", "precision"),
    [("class token", "bf16"), *(pytest.param(kind, "fp32", marks=pytest.mark.thorough) for kind in POOLS)],
)
def test_every_kind_of_pool_gives_the_same_bits(kind: str, precision: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    few = encoder(as_trained(KINDS[kind]()), precision, few_images=True)
    hold_every_place(few.encode_images, pictures(few, ROWS))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("tokens", SIDES)
@pytest.mark.parametrize("threads", range(1, 17))
def test_every_place_on_any_number_of_threads(
    tokens: int, precision: Any, threads: int, monkeypatch: pytest.MonkeyPatch
):
    hold_torch(as_trained(_vit(tokens, width=768)), precision, threads, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("threads", [1, 2, 3, 5, 8, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_every_place_of_every_kind(kind: str, precision: Any, threads: int, monkeypatch: pytest.MonkeyPatch):
    hold_torch(as_trained(KINDS[kind]()), precision, threads, monkeypatch)


@torch.inference_mode()
def hold_attention(threads: int, dtype: torch.dtype) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    for keys in KEYS:
        packed = (torch.randn(1, keys, 3, 4, 64) * 2).expand(4, -1, -1, -1, -1).contiguous().to(dtype)
        query, key, value = (part.transpose(1, 2) for part in packed.unbind(2))
        for queries in QUERIES:
            with ExplicitFewQueries():
                ours = functional.scaled_dot_product_attention(query[:, :, :queries], key, value)
            assert all(torch.equal(ours[0], other) for other in ours), (keys, queries)
            theirs = functional.scaled_dot_product_attention(query[:, :, :queries], key, value)
            torch.testing.assert_close(ours, theirs, atol=2e-5 if dtype == torch.float32 else 2e-2, rtol=2e-2)


def test_attention_of_few_queries_is_the_same_at_every_place():
    hold_attention(2, torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("threads", range(1, 17))
def test_attention_of_few_queries_on_any_number_of_threads(threads: int, dtype: torch.dtype):
    hold_attention(threads, dtype)


@torch.inference_mode()
def test_modules_with_masks_of_their_own_get_the_same_answer():
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(64, 2, batch_first=True).eval()
    tokens, mask = torch.randn(4, 65, 64), torch.zeros(1, 65).index_fill_(1, torch.tensor([3, 9]), float("-inf"))
    expected = attention(tokens[:, :1], tokens, tokens, need_weights=False, attn_mask=mask)[0]
    with ExplicitFewQueries():
        told = attention(tokens[:, :1], tokens, tokens, need_weights=False, attn_mask=mask)[0]
        scaled = functional.scaled_dot_product_attention(tokens[:, :2], tokens, tokens, scale=0.5)
    torch.testing.assert_close(told, expected)
    torch.testing.assert_close(
        scaled, functional.scaled_dot_product_attention(tokens[:, :2], tokens, tokens, scale=0.5)
    )


def test_an_accelerator_keeps_its_own_attention():
    with few_queries_on("cuda:0")() as nothing:
        assert nothing is None
    with few_queries_on("cpu")() as mode:
        assert isinstance(mode, ExplicitFewQueries)


def hold_onnx(
    model: Any, folder: Path, threads: list[int], monkeypatch: pytest.MonkeyPatch, *, half_size: bool = False
) -> None:
    """Both ways to load a tower, batches of every size from two (one alone is never run)."""
    path = folder / "image.onnx"
    source = encoder(model, "fp32", few_images=False)
    onnx_export._write_tower(source, "image", path, half_size=half_size)  # the text tower would take seconds more
    batch = pictures(source, 16)
    for number in threads:
        monkeypatch.setenv("OMP_NUM_THREADS", str(number))
        for expected_rows in (0, 1000):
            tower = OnnxTower(path, expected_rows)
            whole = tower.run(batch)
            hold_every_place(tower.run, batch)
            for size in (2, 3, 5, 8):
                hold_every_place(tower.run, batch[:size])
                assert np.array_equal(tower.run(batch[:size]), whole[:size])


@pytest.mark.thorough
def test_every_place_gives_the_same_bits_in_onnx_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hold_onnx(as_trained(_vit(65)), tmp_path, [2], monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("half_size", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("tokens", SIDES)
def test_every_place_in_onnx_runtime_on_any_number_of_threads(
    tokens: int, half_size: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model = as_trained(_vit(tokens, width=256))
    hold_onnx(model, tmp_path, [1, 2, 3, 5, 8, 16], monkeypatch, half_size=half_size)
