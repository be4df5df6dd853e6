"""The engine of `auto`: another one only if a precision is given and it was measured to be faster here, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from run import run

from clipcli.core.console import Console
from clipcli.engines import autotune
from clipcli.engines.registry import ENGINES, rival_engine
from clipcli.errors import UsageError
from clipcli.models import model as models
from clipcli.models.model import Model
from clipcli.models.spec import Choice

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from clipcli.core.encoder import Encoder

FP32 = {"precision": "fp32"}
needs_openvino = pytest.mark.skipif(not ENGINES["openvino"].is_installed(), reason="OpenVINO is not installed")


class Judge:
    """Stands for the measurement and counts how often it was made."""

    def __init__(self) -> None:
        self.is_faster, self.calls = True, []

    def __call__(
        self, load_usual: Callable[[], Encoder], load_rival: Callable[[], Encoder], names: tuple[str, str], _: Console
    ) -> Encoder | None:
        self.calls.append(names)
        load_usual()
        return load_rival() if self.is_faster else None


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    import tiny_models

    from clipcli.engines.onnx_export import export

    return str(export(tiny_models.build("plain"), tmp_path_factory.mktemp("rival") / "random").folder)


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    judge = Judge()
    monkeypatch.setattr(autotune, "faster_rival", judge)
    monkeypatch.setattr(models, "rival_engine", lambda precision: "openvino" if precision != "fp16" else None)
    monkeypatch.setattr(models, "accelerator", lambda: None)
    monkeypatch.setattr(models, "cpu_with_bf16", lambda: "A CPU with bf16")
    monkeypatch.setattr("clipcli.engines.openvino.runtime", lambda: None)
    return judge


def opened(name: str, images: int | None = None, **choice: str) -> Model:
    model = Model(Choice(name, "cpu", **choice), Console(), images)  # type: ignore[arg-type]
    model.encoder  # noqa: B018 - loads
    return model


@pytest.mark.parametrize("is_faster", [True, False])
def test_the_faster_engine_is_measured_once(bundle: str, judge: Judge, is_faster: bool):
    judge.is_faster = is_faster
    name = "openvino" if is_faster else "onnx"
    assert [opened(bundle, **FP32).engine for _ in range(3)] == [name] * 3
    assert judge.calls == [("onnx", "openvino")]
    described = Model(Choice(bundle, "cpu", **FP32), Console())  # type: ignore[arg-type]
    assert described.engine == name
    assert not described.is_loaded
    assert opened(bundle, images=1, **FP32).engine == name


@pytest.mark.parametrize(
    "choice", [{}, {"engine": "onnx", **FP32}, {"engine": "openvino", **FP32}, {"engine": "openvino"}]
)
def test_only_auto_with_a_precision_is_measured(bundle: str, judge: Judge, choice: dict[str, str]):
    opened(bundle, **FP32)
    assert opened(bundle, **choice).engine == choice.get("engine", "onnx")
    assert len(judge.calls) == 1


def test_few_images_are_not_worth_a_measurement(bundle: str, judge: Judge):
    assert opened(bundle, images=15, **FP32).engine == "onnx"
    assert not judge.calls
    assert opened(bundle, images=16, **FP32).engine == "openvino"


@pytest.mark.parametrize("changed", ["cpu_name", "model_threads", "version_of"])
def test_another_machine_or_version_is_measured_anew(
    bundle: str, judge: Judge, changed: str, monkeypatch: pytest.MonkeyPatch
):
    opened(bundle, **FP32)
    monkeypatch.setattr(models, changed, lambda *_: "another")
    opened(bundle, **FP32)
    assert len(judge.calls) == 2


def test_without_the_other_engine_nothing_is_measured(bundle: str, judge: Judge, monkeypatch: pytest.MonkeyPatch):
    opened(bundle, **FP32)
    monkeypatch.setattr(models, "rival_engine", lambda _: None)
    assert opened(bundle, **FP32).engine == "onnx"
    assert len(judge.calls) == 1


def test_a_verdict_that_is_no_engine_is_measured_anew(bundle: str, judge: Judge, own_world: Path):
    opened(bundle, **FP32)
    (verdict,) = (own_world / "engines").iterdir()
    verdict.write_text("hammer")
    assert opened(bundle, **FP32).engine == "openvino"
    assert len(judge.calls) == 2


@pytest.mark.thorough
@pytest.mark.parametrize("is_faster", [True, False])
def test_bf16_is_measured_against_torch_if_there_is_a_copy(random_model: str, judge: Judge, is_faster: bool):
    judge.is_faster = is_faster
    assert opened(random_model, precision="bf16").engine == "openclip"
    assert not judge.calls
    opened(random_model, engine="onnx")  # makes a copy
    name = "openvino" if is_faster else "openclip"
    for _ in range(2):
        model = opened(random_model, precision="bf16")
        assert (model.engine, model.precision, model.encoder.precision) == (name, "bf16", "bf16")
    assert judge.calls == [("openclip", "openvino")]
    assert opened(random_model).engine == "onnx"


@pytest.mark.thorough
def test_bf16_that_the_cpu_does_not_compute_is_not_measured(
    random_model: str, judge: Judge, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(models, "cpu_with_bf16", lambda: "")
    opened(random_model, engine="onnx")
    assert opened(random_model, precision="bf16").engine == "openclip"
    assert not judge.calls


@needs_openvino
def test_a_bundle_in_bf16_needs_the_engine_by_name(bundle: str):
    with pytest.raises(UsageError, match="computes in fp32") as caught:
        Model(Choice(bundle, "cpu", "bf16"), Console())
    assert caught.value.hint == "leave out --precision, or add --engine openvino"


@needs_openvino
def test_the_verdict_is_said_once(bundle: str, tmp_path: Path):
    from PIL import Image

    for shade in range(16):
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(tmp_path / f"{shade}.png")
    command = ("classify", tmp_path, "-l", "a,b", "-m", bundle, "--precision", "fp32", "--no-cache", "-v")
    first, second = run(*command), run(*command)
    assert first.code == second.code == 0
    assert "measuring openvino against onnx, once for this model on this CPU" in first.stderr
    assert "measuring" not in second.stderr


def test_which_engine_competes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("clipcli.engines.registry.find_spec", lambda _: object())
    assert [rival_engine(precision) for precision in ("fp32", "bf16", "fp16")] == ["openvino", "openvino", None]
    monkeypatch.setattr("clipcli.engines.registry.find_spec", lambda _: None)
    assert rival_engine("fp32") is None
