"""`classify --head` with predictors: the same numbers as torch, limits as checks, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from run import assert_one_error, run
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

DIM = 48


@pytest.fixture
def classify(random_model: str, folder: Path):
    def call(*arguments: str | Path, images: Path = folder):
        return run("classify", images, "-m", random_model, "--engine", "openclip", "--format", "jsonl", *arguments)

    return call


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    """A score that is the first number of the vector, times ten, and five."""
    weight = np.zeros((1, DIM), np.float32)
    weight[0, 0] = 10.0
    save_file({"weight": weight, "bias": np.array([5.0], np.float32)}, tmp_path / "aesthetic.safetensors")
    return tmp_path / "aesthetic.safetensors"


def vectors_of(random_model: str, folder: Path) -> np.ndarray:
    rows = run("embed", folder, "-m", random_model, "--engine", "openclip", "--format", "jsonl").rows
    return np.array([row["embedding"] for row in rows], np.float32)


def test_a_score_for_each_image(classify, linear: Path, random_model: str, folder: Path):
    result = classify("--head", linear)
    assert result.code == 0, result.stderr
    assert "does not say which model" in result.stderr
    assert [list(row) for row in result.rows] == [["image", "scores"]] * 8
    found = [row["scores"]["aesthetic"] for row in result.rows]
    np.testing.assert_allclose(found, vectors_of(random_model, folder)[:, 0] * 10 + 5, atol=1e-4)


ACTIVATIONS = {"relu": torch.nn.ReLU(), "gelu": torch.nn.GELU(), "tanh": torch.nn.Tanh(), "none": torch.nn.Identity()}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", ["none", "sigmoid"])
def test_layers_compute_what_torch_computes(
    classify, random_model: str, folder: Path, tmp_path: Path, *, activation, output
):
    module = ACTIVATIONS[activation]
    last = torch.nn.Sigmoid() if output == "sigmoid" else torch.nn.Identity()
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Linear(DIM, 16), module, torch.nn.Dropout(), *(torch.nn.Linear(16, 12), module), torch.nn.Linear(12, 1)
    ).eval()
    path = tmp_path / "mine.safetensors"
    save_torch(layers.state_dict(), path, {"activation": activation, "output": output, "model": random_model})
    result = classify("--head", f"mlp={path}")
    assert result.code == 0, result.stderr
    assert "does not say" not in result.stderr
    with torch.no_grad():
        expected = last(layers(torch.from_numpy(vectors_of(random_model, folder))))[:, 0]
    np.testing.assert_allclose([row["scores"]["mlp"] for row in result.rows], expected, atol=1e-5)


def test_published_layouts_are_known_by_their_shapes():
    from clipcli.runs.classify.predictors import LAYOUTS, parse_predictor

    generator = np.random.default_rng(0)
    for layout in LAYOUTS:
        names = layout.layers or tuple(f"layers.{3 * number}" for number in range(len(layout.sizes) - 1))
        tensors = {}
        for name, inputs, outputs in zip(names, layout.sizes, layout.sizes[1:], strict=False):
            tensors[f"{name}.weight"] = generator.normal(size=(outputs, inputs)).astype(np.float32) / inputs**0.5
            tensors[f"{name}.bias"] = np.zeros(outputs, np.float32)
        if layout.output == "sigmoid":
            tensors["norm.mean"] = np.full(layout.sizes[0], 0.5, np.float32)
            tensors["norm.variance"] = np.full(layout.sizes[0], 4.0, np.float32)
        found = parse_predictor("x", "x.safetensors", {}, tensors)
        assert (found.model, found.predictor.activation, found.predictor.output) == (
            layout.model, layout.activation, layout.output,
        )  # fmt: skip
        vector = generator.normal(size=(2, layout.sizes[0])).astype(np.float32)
        values = (vector - 0.5) / 2.0 if "norm.mean" in tensors else vector
        for name in names:
            values = values @ tensors[f"{name}.weight"].T
            values = np.maximum(values, 0) if layout.activation == "relu" and name != names[-1] else values
        expected = 1 / (1 + np.exp(-values)) if layout.output == "sigmoid" else values
        np.testing.assert_allclose(found.predictor.predict(vector), expected, atol=1e-5)


def test_limits_are_checks(classify, linear: Path, folder: Path, tmp_path: Path):
    scores = {row["image"]: row["scores"]["aesthetic"] for row in classify("--head", linear).rows}
    middle = sorted(scores.values())[4] - 1e-5
    report = tmp_path / "junit.xml"
    result = classify("--head", linear, "--min", f"aesthetic={middle}", "--report", report)
    assert result.code == 1
    assert [row["ok"] for row in result.rows] == [score >= middle for score in scores.values()]
    assert "check fails: 4 of 8 images keep aesthetic at least" in result.stderr
    assert 'failures="4"' in report.read_text(encoding="utf-8")
    assert classify("--head", linear, "--max", "aesthetic=100").code == 0
    assert classify("--head", linear, "--max", "aesthetic=-100", "--min", "aesthetic=-200").code == 1


def test_paths_are_those_that_break_a_limit(random_model: str, folder: Path, linear: Path):
    asked = ("classify", folder, "--head", linear, "-m", random_model, "--engine", "openclip", "--paths")
    assert len(run(*asked).lines) == 8
    assert run(*asked, "--max", "aesthetic=100").lines == []
    assert len(run(*asked, "--min", "aesthetic=100").lines) == 8


def test_an_unreadable_image_is_a_row_and_breaks_the_check(classify, linear: Path, tmp_path: Path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    result = classify("--head", linear, tmp_path / "broken.jpg")
    assert result.code == 3
    assert result.rows[-1]["error"]["stage"] == "decode"
    assert classify("--head", linear, "--min", "aesthetic=-100", tmp_path / "broken.jpg").code == 1


def test_several_outputs_have_names(classify, tmp_path: Path):
    path = tmp_path / "safety.safetensors"
    tensors = {"fc.weight": np.eye(3, DIM, dtype=np.float32)}
    save_file(tensors, path, {"labels": "safe, unsafe, unsure", "output": "softmax"})
    row = classify("--head", path, "--max", "safety.unsafe=1").rows[0]
    assert list(row["scores"]) == ["safety.safe", "safety.unsafe", "safety.unsure"]
    assert sum(row["scores"].values()) == pytest.approx(1.0, abs=1e-4)


def tensors_of(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name.replace("_", "."): np.ones(shape, np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("tensors", "metadata", "words"),
    [(tensors_of(a_weight=(4, DIM), b_weight=(1, 4)), {}, "lacks 'activation'"),
     (tensors_of(a_weight=(4, DIM), b_weight=(1, 4)), {"activation": "rellu"}, "relu"),
     (tensors_of(a_weight=(4, DIM), b_weight=(1, 5)), {"activation": "relu"}, "b.weight takes 5"),
     (tensors_of(weight=(1, DIM), running_mean=(4,)), {}, "running.mean"),
     (tensors_of(weight=(1, DIM), bias=(2,)), {}, "bias has the shape"),
     (tensors_of(weight=(3, DIM)), {}, "no 'labels'"), (tensors_of(weight=(DIM,)), {}, "has the shape"),
     (tensors_of(bias=(3,)), {}, "no layer"), (tensors_of(weight=(1, DIM), norm_mean=(DIM,)), {}, "is missing"),
     ({"weight": np.full((1, DIM), np.inf, np.float32)}, {}, "no finite number")],
)  # fmt: skip
def test_what_is_no_predictor_is_refused(classify, tmp_path: Path, tensors, metadata, words: str):
    path = tmp_path / "x.safetensors"
    save_file(tensors, path, metadata)
    assert_one_error(classify("--head", path), "x.safetensors", words, code=4)


def test_another_model_is_refused(classify, linear: Path, tmp_path: Path):
    other = tmp_path / "other.safetensors"
    save_file({"weight": np.ones((1, 768), np.float32)}, other)
    assert_one_error(classify("--head", other), "768 numbers", "48", code=5)
    save_file({"weight": np.ones((1, DIM), np.float32)}, other, {"model": "ViT-L-14/openai"})
    assert_one_error(classify("--head", other), "trained on vectors of ViT-L-14/openai", code=5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--min", "aestetic=5"), "aesthetic"), (("--min", "aesthetic"), "NAME=NUMBER"),
     (("--max", "aesthetic=nan"), "NUMBER"),
     (("-l", "cat"), "--labels has no effect"), (("--none", "x"), "--none has no effect")],
)  # fmt: skip
def test_what_predictors_have_no_use_for(classify, linear: Path, arguments, words: str):
    assert_one_error(classify("--head", linear, *arguments), words, code=2)
    assert_one_error(classify("--head", linear, "--head", linear), "two heads", code=2)


def test_limits_need_a_predictor(classify):
    assert_one_error(classify("-l", "disc", "--min", "aesthetic=5"), "no head is called aesthetic", code=2)


def test_stored_vectors_score_as_their_images(classify, linear: Path, random_model: str, folder: Path, tmp_path: Path):
    """The model is that of the vectors, where none is named, and another one is refused."""
    vectors = tmp_path / "v.npz"
    assert run("embed", folder, "-m", random_model, "--engine", "openclip", "-o", vectors).code == 0
    of_images = classify("--head", linear, "--min", "aesthetic=5")
    stored = run(
        "classify", vectors, "--engine", "openclip", "--format", "jsonl", "--head", linear, "--min", "aesthetic=5"
    )
    assert stored.code == of_images.code
    assert stored.rows == of_images.rows
    assert len(stored.rows) == 8
    refused = run("classify", vectors, "-m", "tiny", "--head", linear, "--format", "jsonl", "-q")
    assert_one_error(refused, "takes vectors of 48 numbers, and tiny gives 512")
