from __future__ import annotations

import random
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import contract
import numpy as np
import pytest

from clipcli import bundle
from clipcli.bundle import stage
from clipcli.core import devices
from clipcli.core.vectors import cosines, unit_length
from clipcli.engines import onnx
from clipcli.tasks.classify import scores

if TYPE_CHECKING:
    from clipcli.bundle import Bundle
    from clipcli.engines.openclip import OpenClipEncoder


def test_the_onnx_engine_keeps_the_contract(exported: Bundle):
    contract.check(onnx.load(exported))


def test_the_open_clip_engine_keeps_the_contract(source: OpenClipEncoder):
    contract.check(source)


@pytest.mark.parametrize("expected_images", [None, 1, 10_000])
def test_both_engines_give_the_same_vectors_and_scores(source, exported, expected_images):
    encoder = onnx.load(exported, expected_images=expected_images)
    pixels = contract.pixels(source, 7)
    labels = ["dog", "a photo of a cat", "the quick brown fox jumps over the lazy dog " * 20]
    ours = unit_length(encoder.encode_images(pixels)), unit_length(encoder.encode_texts(labels))
    theirs = unit_length(source.encode_images(pixels)), unit_length(source.encode_texts(labels))
    for mine, other in zip(ours, theirs, strict=True):
        assert np.abs(mine - other).max() <= 1e-5
    left, right = (scores(cosines(*pair), source.scoring) for pair in (ours, theirs))
    assert np.array_equal(left.argmax(axis=1), right.argmax(axis=1))
    assert np.abs(left - right).max() < 5e-5
    assert encoder.count_tokens(labels) == source.count_tokens(labels)
    assert encoder.info == source.info
    assert encoder.scoring == source.scoring


def test_more_texts_than_a_batch_keep_their_order(source, exported):
    texts = [f"{'very ' * (i % 40)}small number {i}" for i in range(200)]
    ours = unit_length(onnx.load(exported).encode_texts(texts))
    theirs = unit_length(source.encode_texts(texts))
    assert np.abs(ours - theirs).max() <= 1e-5


def test_a_tower_is_opened_only_when_it_is_needed(exported, monkeypatch):
    opened = _watch(monkeypatch)
    encoder = onnx.load(exported)
    encoder.count_tokens(["a dog"])
    assert opened == []
    encoder.encode_texts(["a dog"])
    encoder.encode_texts(["a cat"])
    assert opened == [("text.onnx", False)]
    encoder.encode_images(contract.pixels(encoder, 1))
    assert opened == [("text.onnx", False), ("image.onnx", False)]


def test_little_work_holds_one_tower_at_a_time_much_work_holds_both(exported):
    encoder = onnx.load(exported, expected_images=1)
    encoder.encode_texts(["a dog"])
    encoder.encode_images(contract.pixels(encoder, 1))
    assert (encoder._text.is_open, encoder._image.is_open) == (False, True)
    encoder.encode_texts(["a cat"])
    assert (encoder._text.is_open, encoder._image.is_open) == (True, False)

    encoder = onnx.load(exported, expected_images=onnx.BULK_ROWS)
    encoder.encode_images(contract.pixels(encoder, 1))
    encoder.encode_texts(["a cat"])
    assert (encoder._text.is_open, encoder._image.is_open) == (True, True)


@pytest.mark.parametrize(
    ("expected_images", "sessions"),
    [
        pytest.param(None, [False, True], id="unknown: packed once there were many"),
        pytest.param(3, [False], id="few: never packed"),
        pytest.param(100_000, [True], id="many: packed at once"),
    ],
)
def test_weights_are_packed_when_that_pays(exported, monkeypatch, expected_images, sessions):
    opened = _watch(monkeypatch)
    encoder = onnx.load(exported, expected_images=expected_images)
    batch = contract.pixels(encoder, onnx.BULK_ROWS // 2)
    vectors = [encoder.encode_images(batch) for _ in range(4)]
    assert [packed for _, packed in opened] == sessions
    assert np.abs(unit_length(vectors[0]) - unit_length(vectors[-1])).max() <= 1e-5


@pytest.mark.parametrize(
    ("asked", "usable", "threads"), [(None, 8, 0), (None, 2, 2), ("3", 2, 3), ("4,2", 8, 4), ("many", 8, 0)]
)
def test_threads_are_no_more_than_the_cores_that_may_be_used(monkeypatch, asked, usable, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr(onnx.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(devices, "usable_cores", lambda: usable)
    assert onnx._threads(packed=False) == threads


def _watch(monkeypatch) -> list[tuple[str, bool]]:
    opened: list[tuple[str, bool]] = []
    real = onnx.open_graph

    def watched(path, *, packed):
        opened.append((path.name, packed))
        return real(path, packed=packed)

    monkeypatch.setattr(onnx, "open_graph", watched)
    return opened


def test_a_batch_that_is_too_large_for_memory_says_so(exported, monkeypatch):
    class Full:
        def get_inputs(self):
            return [type("Input", (), {"name": "pixels"})]

        def run(self, *_):
            raise Exception("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for 1 GB")  # noqa: TRY002

    monkeypatch.setattr(onnx, "open_graph", lambda *_, **__: Full())
    encoder = onnx.load(exported)
    with pytest.raises(MemoryError, match="allocate"):
        encoder.encode_images(contract.pixels(encoder, 1))


def test_pixels_need_not_be_contiguous(exported):
    encoder = onnx.load(exported)
    batch = contract.pixels(encoder, 4)
    assert np.array_equal(encoder.encode_images(batch[::2]), encoder.encode_images(batch[::2].copy()))


@pytest.mark.thorough
def test_no_torch_no_open_clip_no_hub_no_ftfy(exported):
    """Whatever a run on a bundle needs, it is none of these: they take seconds to import."""
    seen = _run(
        f"""
        from pathlib import Path
        from clipcli import bundle
        from clipcli.engines import onnx
        import numpy as np
        encoder = onnx.load(bundle.read(Path({str(exported.folder)!r})), expected_images=1)
        encoder.encode_texts(["a dog", "a cat"])
        encoder.encode_images(np.zeros((1, 3, 32, 32), np.float32))
        import sys
        heavy = ("torch", "torchvision", "open_clip", "timm", "transformers", "huggingface_hub", "ftfy", "onnx")
        print([name for name in heavy if name in sys.modules])
        """
    )
    assert seen.stdout.strip() == "[]"
    assert seen.stderr == ""


@pytest.mark.thorough
def test_onnx_runtime_leaves_nothing_in_the_home_and_reports_nothing(exported, tmp_path, monkeypatch):
    """Since 1.32 it keeps a number of the device and a database of what ran, to be sent off."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    _run(
        f"""
        from pathlib import Path
        from clipcli import bundle
        from clipcli.engines import onnx
        onnx.load(bundle.read(Path({str(exported.folder)!r}))).encode_texts(["a dog"])
        """
    )
    assert list(tmp_path.rglob("*")) == []


def test_without_onnx_runtime_the_message_says_what_to_install(exported):
    seen = _run(
        f"""
        import sys
        sys.modules["onnxruntime"] = None  # the import system's own way to say: not there
        from pathlib import Path
        from clipcli import bundle, errors
        from clipcli.engines import onnx
        try:
            onnx.load(bundle.read(Path({str(exported.folder)!r})))
        except errors.ModelError as error:
            print(error.message, "|", error.hint)
        """
    )
    assert "ONNX Runtime" in seen.stdout
    assert "pip install onnxruntime" in seen.stdout


def _run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60, env=environment or None)


def test_a_graph_that_onnx_runtime_cannot_load_is_named(exported, tmp_path):
    import shutil

    from clipcli.errors import BundleError

    folder = tmp_path / "broken"
    shutil.copytree(exported.folder, folder)
    (folder / "image.onnx").write_bytes(b"")
    stage.seal(folder, exported.manifest)
    encoder = onnx.load(bundle.read(folder))
    with pytest.raises(BundleError, match=r"image\.onnx.*cannot load"):
        encoder.encode_images(contract.pixels(encoder, 1))


@pytest.mark.parametrize("expected_images", [None, 2, 10_000])
def test_an_image_has_the_same_bits_alone_and_in_any_batch(exported, expected_images):
    encoder = onnx.load(exported, expected_images=expected_images)
    pixels = contract.pixels(encoder, 9)
    whole = encoder.encode_images(pixels)
    for size in (1, 2, 3, 4, 5, 7):
        parts = [encoder.encode_images(pixels[start : start + size]) for start in range(0, 9, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_run_of_one_image_pays_for_one(exported, monkeypatch):
    encoder = onnx.load(exported, expected_images=1)
    rows: list[int] = []
    monkeypatch.setattr(encoder._image, "run", lambda pixels: rows.append(len(pixels)) or np.zeros((1, 4)))
    encoder.encode_images(contract.pixels(encoder, 1))
    assert rows == [1]


def test_after_too_little_memory_the_tower_is_opened_anew(exported, monkeypatch):
    """What ran out of memory has an arena that holds what there was."""
    opened = []

    class Full:
        def get_inputs(self):
            return [type("Input", (), {"name": "pixels"})]

        def run(self, *_):
            raise Exception("Failed to allocate memory for 1 GB")  # noqa: TRY002

    real = onnx.open_graph
    monkeypatch.setattr(
        onnx,
        "open_graph",
        lambda *one, **how: opened.append(1) or (real(*one, **how) if len(opened) > 1 else Full()),
    )
    encoder = onnx.load(exported)
    with pytest.raises(MemoryError):
        encoder.encode_images(contract.pixels(encoder, 2))
    assert len(encoder.encode_images(contract.pixels(encoder, 2))) == 2
    assert len(opened) == 2


def test_a_tower_that_does_not_fit_into_memory_is_not_called_damaged(exported, monkeypatch):
    runtime = onnx.runtime()

    def full(*_, **__):
        raise Exception("Failed to allocate memory for requested buffer of size 1")  # noqa: TRY002

    monkeypatch.setattr(runtime, "InferenceSession", full)
    with pytest.raises(MemoryError, match="allocate"):
        onnx.load(exported).encode_texts(["a"])


def test_random_order_and_batches_do_not_change_a_text(exported):
    encoder = onnx.load(exported)
    texts = [f"label {i} " + "x" * (i % 9) for i in range(70)]
    want = dict(zip(texts, unit_length(encoder.encode_texts(texts)), strict=True))
    shuffled = random.Random(3).sample(texts, k=len(texts))  # noqa: S311 - an order, not a secret
    got = unit_length(encoder.encode_texts(shuffled))
    assert max(np.abs(want[text] - row).max() for text, row in zip(shuffled, got, strict=True)) <= 1e-6
