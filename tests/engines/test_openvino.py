"""The OpenVINO engine: the contract of every engine, the vectors of ONNX Runtime, and plain refusals."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import contract
import numpy as np
import pytest
from run import assert_one_error, run

from clipcli.core.vectors import unit_length
from clipcli.engines import onnx, openvino
from clipcli.engines.registry import ENGINES
from clipcli.errors import BundleError, DeviceError, ModelError

needs_openvino = pytest.mark.skipif(not ENGINES["openvino"].is_installed(), reason="OpenVINO is not installed")


@pytest.mark.thorough
@needs_openvino
@pytest.mark.parametrize("expected", [None, 1, 1000])
def test_it_keeps_the_contract(exported, expected):
    contract.check(openvino.load(exported, expected_images=expected, expected_texts=expected))


@pytest.mark.thorough
@needs_openvino
def test_its_vectors_are_those_of_onnx_runtime(exported):
    ours, theirs = openvino.load(exported), onnx.load(exported)
    batch = contract.pixels(ours, 5)
    pairs = [
        (ours.encode_images(batch), theirs.encode_images(batch)),
        (ours.encode_texts(contract.TEXTS), theirs.encode_texts(contract.TEXTS)),
    ]
    for mine, others in pairs:
        assert np.abs(unit_length(mine) - unit_length(others)).max() <= 1e-5


@needs_openvino
def test_a_vector_is_the_same_to_the_bit_in_any_batch_and_lane(exported):
    encoder = openvino.load(exported)
    batch = contract.pixels(encoder, 21)
    whole = encoder.encode_images(batch)
    for size in (1, 3, 8, 20):
        parts = [encoder.encode_images(batch[start : start + size]) for start in range(0, 21, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(encoder.encode_images, [batch] * 8):
            np.testing.assert_array_equal(found, whole)


@needs_openvino
def test_bf16_is_close_where_the_cpu_has_it_and_refused_elsewhere(exported):
    encoder, batch = openvino.load(exported, precision="bf16"), contract.pixels(openvino.load(exported), 4)
    try:
        found = unit_length(encoder.encode_images(batch))
    except DeviceError as error:
        assert error.message == "this CPU does not compute in bf16"  # noqa: PT017 - which of the two depends on the CPU
        return
    assert encoder.precision == "bf16"
    assert (found * unit_length(onnx.load(exported).encode_images(batch))).sum(axis=1).min() >= 0.999


@needs_openvino
def test_a_damaged_graph_is_named(exported, tmp_path):
    bad = tmp_path / "image.onnx"
    bad.write_bytes(b"no graph")
    tower = openvino.OpenVinoTower(bad, 8, "fp32", 1)
    with pytest.raises(BundleError, match=r"image\.onnx: OpenVINO cannot load it"):
        tower.run(np.zeros((1, 3, 4, 4), np.float32))


def test_without_openvino_the_message_says_what_to_install(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ModelError, match="OpenVINO cannot be imported") as caught:
        openvino.load(exported)
    assert "[openvino]" in caught.value.hint


@pytest.mark.thorough
@needs_openvino
def test_the_command_runs_a_bundle_with_it(exported, folder):
    rows = [
        run("classify", folder, "-l", "disc,square", "-m", exported.folder, "--engine", engine, "--no-cache",
            "--format", "jsonl").rows
        for engine in ("openvino", "onnx")
    ]  # fmt: skip
    assert [row["image"] for row in rows[0]] == [row["image"] for row in rows[1]]
    for ours, theirs in zip(*rows, strict=True):
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-4)


def test_what_it_cannot_do_is_refused_before_anything_is_loaded(exported, folder):
    arguments = ("classify", folder, "-l", "a,b", "-m", exported.folder, "--engine", "openvino")
    assert_one_error(run(*arguments, "--device", "cuda"), "runs on the CPU only", code=5)
    assert_one_error(run(*arguments, "--precision", "fp16"), "computes in fp32 or bf16", code=2)
