from __future__ import annotations

import pytest

from clipcli.errors import UsageError
from clipcli.models.choice import Choice, parse_choice


@pytest.mark.parametrize("device", ["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:12"])
def test_devices(device: str):
    choice = parse_choice("m", device, "bf16", "onnx", offline=True, weights_dir="d")
    assert choice == Choice("m", device, "bf16", "onnx", offline=True, weights_dir="d")


@pytest.mark.parametrize(
    ("device", "precision", "engine", "message", "hint"),
    [
        ("gpu", "auto", "auto", "no device 'gpu'", "cuda:0"),
        ("cuda:", "auto", "auto", "no device 'cuda:'", "did you mean 'cuda:0' or 'cuda'?"),
        ("cuda:-1", "auto", "auto", "no device 'cuda:-1'", "cuda:0"),
        ("cpu\n", "auto", "auto", "no device 'cpu\\n'", "cpu"),
        ("CPU", "auto", "auto", "no device 'CPU'", "did you mean 'cpu'"),
        ("auto", "float16", "auto", "no precision 'float16'", "one of auto, fp32, fp16, bf16"),
        ("auto", "fb16", "auto", "no precision 'fb16'", "did you mean"),
        ("auto", "auto", "torch", "no engine 'torch'", "one of auto, onnx, openvino, openclip"),
        ("auto", "auto", "open_clip", "no engine 'open_clip'", "did you mean 'openclip'"),
    ],
)
def test_words_that_mean_nothing(device: str, precision: str, engine: str, message: str, hint: str):
    with pytest.raises(UsageError) as caught:
        parse_choice("m", device, precision, engine, offline=False, weights_dir=None)
    assert caught.value.message == message
    assert caught.value.hint is not None
    assert hint in caught.value.hint
