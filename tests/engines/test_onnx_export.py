from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tiny_models
import torch

from clipcli import bundle
from clipcli.bundle import stage
from clipcli.core.vectors import unit_length
from clipcli.engines import onnx, parity
from clipcli.engines import onnx_export as compact
from clipcli.engines import onnx_export as export
from clipcli.engines.onnx_export import export as export_model
from clipcli.errors import BundleError, ModelError, OutputError

if TYPE_CHECKING:
    from clipcli.bundle import Bundle
    from clipcli.engines.openclip import OpenClipEncoder
    from clipcli.engines.parity import Verification

SLOW_KINDS = [kind for kind in tiny_models.ARCHITECTURES if kind != "plain"]


def verified(exported: Bundle, source: OpenClipEncoder, **more: object) -> Verification:
    """Check every hash of a bundle, then compare its vectors with those of its source."""
    bundle.check_hashes(exported)
    return parity.compare(source, onnx.load(exported, expected_images=0), **more)


def test_a_bundle_agrees_with_its_source(source: OpenClipEncoder, exported: Bundle):
    found = verified(exported, source)
    assert found.ok
    assert max(found.images, found.texts) <= 1e-6
    assert found.probes == 14


@pytest.mark.slow
def test_real_inputs_are_compared_too(source, exported):
    pixels = np.random.default_rng(1).random((2, 3, 32, 32), dtype=np.float32)
    assert verified(exported, source, pixels=[pixels], texts=["one more"]).probes == 17


@pytest.mark.slow
def test_verification_finds_another_model(exported):
    other = tiny_models.build("quickgelu")
    found = verified(exported, other)
    assert not found.ok
    assert found.images > found.limit


def test_verification_finds_a_flipped_byte(source, exported, tmp_path):
    import shutil

    folder = shutil.copytree(exported.folder, tmp_path / "copy")
    damaged = bundle.read(folder)
    data = bytearray((folder / "text.onnx.data").read_bytes())
    data[1000] ^= 64
    (folder / "text.onnx.data").write_bytes(data)
    with pytest.raises(BundleError, match=r"text\.onnx\.data: damaged"):
        verified(damaged, source)


def test_the_manifest_says_what_the_model_is(source, exported):
    manifest = exported.manifest
    assert manifest.info == source.info
    assert manifest.scoring == source.scoring
    assert manifest.source == "random-plain"
    assert manifest.precision == "fp32"
    assert manifest.vocab_size == 49408
    assert manifest.tokenizer.end_ids == (49407,)


def test_graphs_are_small_and_say_nothing_of_this_machine(exported):
    for tower in (exported.image_tower, exported.text_tower):
        graph = tower.read_bytes()
        assert len(graph) < 40_000
        for trace in (b"site-packages", b"/home", str(Path.cwd()).encode(), b"stack_trace"):
            assert trace not in graph
        assert tower.with_name(f"{tower.name}.data").stat().st_size > 40_000


def test_equal_rows_of_the_embedding_are_stored_once(exported):
    rows, width = 49408, 32
    assert (exported.folder / "text.onnx.data").stat().st_size < 0.6 * rows * width * 4
    # Words on both sides of the shared rows, and words in them, are looked up rightly.
    rare = "".join(chr(code) for code in range(0x3041, 0x3060))
    source = tiny_models.build("plain")
    texts = ["dog", rare, f"dog {rare} zzyzx", "\U0001f642\U0001f697"]
    ours = unit_length(onnx.load(exported).encode_texts(texts))
    assert np.abs(ours - unit_length(source.encode_texts(texts))).max() <= 1e-6


@pytest.mark.thorough
def test_another_models_tokenizer_is_refused(exported, tmp_path):
    import shutil

    folder = shutil.copytree(exported.folder, tmp_path / "other")
    path = folder / "tokenizer.json"
    foreign = json.loads(path.read_text())
    words = foreign["model"]["vocab"]
    words["cat</w>"], words["dog</w>"] = words["dog</w>"], words["cat</w>"]
    words["dogs</w>"], words["photo</w>"] = words["photo</w>"], words["dogs</w>"]
    path.write_text(json.dumps(foreign))

    with pytest.raises(BundleError, match=r"tokenizer\.json"):  # its size or hash is not the recorded one
        bundle.read(folder)

    stage.seal(folder, exported.manifest)  # somebody made the hash fit
    with pytest.raises(BundleError, match=r"another model's tokenizer: it gives other tokens for .a photo"):
        onnx.load(bundle.read(folder)).encode_texts(["a dog"])

    del words["zzz</w>"]
    foreign["model"]["merges"] = [pair for pair in foreign["model"]["merges"] if "".join(pair) != "zzz</w>"]
    path.write_text(json.dumps(foreign))
    stage.seal(folder, exported.manifest)
    with pytest.raises(BundleError, match="another model's tokenizer: 49407 tokens instead of 49408"):
        onnx.load(bundle.read(folder)).count_tokens(["a dog"])

    path.write_text("{}")
    stage.seal(folder, exported.manifest)
    with pytest.raises(BundleError, match=r"tokenizer\.json: not a tokenizer"):
        onnx.load(bundle.read(folder)).count_tokens(["a dog"])


def test_a_tokenizer_with_more_words_than_the_tower_is_refused(exported, tmp_path):
    import shutil

    folder = shutil.copytree(exported.folder, tmp_path / "other")
    stage.seal(folder, dataclasses.replace(exported.manifest, vocab_size=1000))
    with pytest.raises(BundleError, match="another model's tokenizer"):
        onnx.load(bundle.read(folder)).encode_texts(["a dog"])


def test_rounded_weights_are_not_exported_as_if_they_were_exact(tmp_path):
    rounded = tiny_models.build("plain")
    rounded.model.bfloat16()
    with pytest.raises(ModelError, match="fp32 on the CPU"):
        export_model(rounded, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


class _Unportable(torch.nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        # A graph cannot depend on a value that only a run knows.
        return pixels.mean(dim=(2, 3)) if float(pixels.sum()) > 0 else pixels.amax(dim=(2, 3))


@pytest.mark.slow
def test_what_cannot_be_exported_says_so_in_one_line_and_leaves_nothing(source, tmp_path, capfd):
    broken = tiny_models.build("plain")
    broken.model.visual = _Unportable()
    with pytest.raises(ModelError, match=r"^random-plain: its image tower cannot be exported: [^\n]+$") as caught:
        export_model(broken, tmp_path / "model")
    assert caught.value.hint == "it still works with --engine openclip"
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_vectors_that_differ_never_become_a_bundle(source, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_write_tower", _constant_tower)
    with pytest.raises(ModelError, match="vectors differ from open_clip's by"):
        export_model(source, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def _constant_tower(source, which, path, *, half_size):
    """A tower that runs, and gives the same vector for whatever it is fed."""
    import onnx_ir

    shape = ["n", 3, *source.info.preprocessing.image_size] if which == "image" else ["n", "length"]
    kind = onnx_ir.DataType.FLOAT if which == "image" else onnx_ir.DataType.INT64
    feed = onnx_ir.val("in", shape=shape, type=onnx_ir.TensorType(kind))
    constants = {
        "axes": np.arange(1, len(shape)),
        "column": np.array([-1, 1]),
        "row": np.ones((1, source.info.dim), np.float32),
    }
    axes, column, row = (onnx_ir.val(name, const_value=onnx_ir.tensor(v, name=name)) for name, v in constants.items())
    numbers = onnx_ir.node("Cast", [feed], {"to": 1})
    total = onnx_ir.node("ReduceSum", [numbers.outputs[0], axes], {"keepdims": 0})
    tall = onnx_ir.node("Reshape", [total.outputs[0], column])
    features = onnx_ir.node("MatMul", [tall.outputs[0], row])
    nodes = [numbers, total, tall, features]
    graph = onnx_ir.Graph(
        [feed], features.outputs, nodes=nodes, initializers=[axes, column, row], opset_imports={"": 18}, name=which
    )
    compact.save(onnx_ir.Model(graph, ir_version=10), path, half=half_size)


def test_a_tokenizer_that_gives_other_ids_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_write_tower", _constant_tower)
    real = export.export_tokenizer

    def without_lower_case(tokenizer):
        text, spec = real(tokenizer)
        return text, dataclasses.replace(spec, clean="canonicalize")

    monkeypatch.setattr(export, "export_tokenizer", without_lower_case)
    with pytest.raises(ModelError, match="token ids differ from open_clip's"):
        export_model(source, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_during_export_leaves_nothing(source, tmp_path, monkeypatch):
    import errno

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(export, "_write_tower", full)
    with pytest.raises(OutputError, match="No space left on device"):
        export_model(source, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", SLOW_KINDS)
def test_every_architecture_agrees_with_its_source(kind, tmp_path):
    import contract

    source = tiny_models.build(kind)
    made = export_model(source, tmp_path / kind)
    found = verified(made, source)
    assert found.ok
    assert max(found.images, found.texts) <= 2e-6
    contract.check(onnx.load(made))


@pytest.mark.slow
def test_half_precision_weights_halve_the_files_and_keep_the_answers(source, exported, tmp_path):
    made = export_model(source, tmp_path / "half", precision="fp16", name="small")
    assert made.precision == "fp16"
    assert made.info.name == "small"
    assert made.manifest.source == "small"
    # Rounded weights give other vectors, so the two must never be compared.
    assert made.info.fingerprint != source.info.fingerprint
    row_map = 49408 * 4  # which row a token has: whole numbers, which are not halved
    for name, fixed in {"image.onnx.data": 0, "text.onnx.data": row_map}.items():
        half, full = ((folder / name).stat().st_size - fixed for folder in (made.folder, exported.folder))
        assert half < 0.52 * full
    found = verified(made, source)
    assert found.ok
    assert max(found.images, found.texts) > 1e-6
    wide, narrow = onnx.load(exported), onnx.load(made)
    pixels = np.random.default_rng(5).standard_normal((6, 3, 32, 32), dtype=np.float32)
    cosine = (unit_length(wide.encode_images(pixels)) * unit_length(narrow.encode_images(pixels))).sum(axis=1)
    assert cosine.min() > 0.9999


EXPORT = """
    import sys
    from pathlib import Path
    sys.path[:0] = [{tests!r}]
    import tiny_models
    from clipcli.engines.onnx_export import export
    source = tiny_models.build("plain")
    print("ready", flush=True)
    export(source, Path({target!r}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 1.5, 4.0])
def test_ctrl_c_at_any_moment_leaves_nothing(tmp_path, seconds):
    code = textwrap.dedent(EXPORT).format(tests=str(Path(tiny_models.__file__).parent), target=str(tmp_path / "model"))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    left = [path.name for path in tmp_path.iterdir()]
    assert left in ([], ["model"])
    if left:
        assert bundle.read(tmp_path / "model").info.name == "random-plain"


@pytest.mark.slow
def test_two_exports_at_once_both_succeed(tmp_path):
    code = textwrap.dedent(EXPORT).format(tests=str(Path(tiny_models.__file__).parent), target=str(tmp_path / "model"))
    rivals = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [rival.wait(timeout=180) for rival in rivals] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert bundle.read(tmp_path / "model").info.name == "random-plain"


def _lookup(table, path, *, half=False):
    """A graph that looks rows up in `table` and sums them, saved as an engine would read it."""
    import onnx_ir

    tokens = onnx_ir.val("tokens", shape=["n", "length"], type=onnx_ir.TensorType(onnx_ir.DataType.INT64))
    rows = onnx_ir.val("table", const_value=onnx_ir.tensor(table, name="table"))
    axes = onnx_ir.val("axes", const_value=onnx_ir.tensor(np.array([1]), name="axes"))
    looked_up = onnx_ir.node("Gather", [rows, tokens], {"axis": 0})
    looked_up.outputs[0].dtype = onnx_ir.DataType.FLOAT
    looked_up.outputs[0].shape = onnx_ir.Shape(["n", "length", table.shape[1]])
    total = onnx_ir.node("ReduceSum", [looked_up.outputs[0], axes], {"keepdims": 0})
    graph = onnx_ir.Graph(
        [tokens], total.outputs, nodes=[looked_up, total], initializers=[rows, axes], opset_imports={"": 18}, name="t"
    )
    compact.save(onnx_ir.Model(graph, ir_version=10), path, half=half)


@pytest.mark.parametrize(("rank", "same", "half", "share"), [
    (8, 0, False, 0.2), (8, 0, True, 0.1), (8, 2000, True, 0.1), (64, 0, False, 1.0),
])  # fmt: skip
def test_a_table_of_low_rank_is_stored_as_two_thin_ones(tmp_path, rank, same, half, share):
    import onnxruntime

    rng = np.random.default_rng(5)
    table = (rng.standard_normal((4000, rank)) @ rng.standard_normal((rank, 64))).astype(np.float32)
    table[:same] = table[0]
    _lookup(table, tmp_path / "t.onnx", half=half)
    assert (tmp_path / "t.onnx.data").stat().st_size <= share * table.nbytes + 4 * len(table) * bool(same) + 2048
    tokens = rng.integers(0, 4000, (5, 7))
    given = onnxruntime.InferenceSession(tmp_path / "t.onnx").run(None, {"tokens": tokens})[0]
    expected = table[tokens].sum(1)
    assert np.abs(given - expected).max() <= (2e-3 if half else 1e-5) * np.abs(expected).max()
