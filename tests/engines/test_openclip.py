"""Parity: the same weights and pixels give the vectors and probabilities of open_clip's own code path."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import small_models
import tiny_models
from PIL import Image

from clipcli.core.console import Console
from clipcli.core.encoder import Scoring
from clipcli.inputs.collect import ImageRef
from clipcli.models.spec import Choice
from clipcli.prompts import Label, load_prompts
from clipcli.session.prepare import SessionOptions
from clipcli.session.session import Session, open_session
from clipcli.tasks.classify import Classifier

KINDS = list(small_models.CONFIGS)
LABELS = ("cat", "dog", "a very red car", "naïve café", "bicycle")
TEMPLATES = ("a photo of a {}.", "{}", "a drawing of the {}, in a rather long sentence that nobody would write")


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {kind: small_models.save(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Real photos where there are some; pictures of noise and gradients otherwise."""
    real = Path(__file__).parents[3] / "shared" / "data" / "photos"
    if real.is_dir():
        return sorted(real.rglob("*.jpg"))[::20]
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(5)
    paths = [folder / f"{index}.png" for index in range(6)]
    for path, size in zip(paths, [(90, 120), (64, 64), (33, 200), (300, 41), (500, 375), (8, 8)], strict=True):
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)
    return paths


def reference(spec: str, photos: list[Path], tmp_path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, classifier and probabilities as a plain open_clip script makes them."""
    import open_clip
    import torch

    with torch.no_grad():
        model, _, transform = open_clip.create_model_and_transforms(spec)
        model.eval()
        tokenizer = open_clip.get_tokenizer(spec)
        pixels = torch.stack([transform(Image.open(path)) for path in photos])
        images = model.encode_image(pixels, normalize=True)
        texts = open_clip.build_zero_shot_classifier(model, tokenizer, LABELS, TEMPLATES)
        logits = model.logit_scale.exp() * images @ texts
        scores = torch.sigmoid(logits + model.logit_bias) if model.logit_bias is not None else logits.softmax(dim=-1)
    return images.numpy(), texts.T.numpy(), scores.numpy()


def session_vectors(session: Session, photos: list[Path]) -> np.ndarray:
    rows = [embedded.vector for embedded in session.embed_images(ImageRef(str(path), path.name) for path in photos)]
    return np.stack([row for row in rows if row is not None])


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_vectors_and_probabilities_equal_open_clips(
    kind: str, specs: dict[str, str], photos: list[Path], tmp_path: Path
):
    images, texts, scores = reference(specs[kind], photos, tmp_path)
    templates = tmp_path / "templates.txt"
    templates.write_text("\n".join(TEMPLATES), encoding="utf-8")

    with open_session(
        Choice(specs[kind], engine="openclip"), Console(quiet=True), SessionOptions(orient=False)
    ) as session:
        ours = session_vectors(session, photos)
        labels = session.embed_labels([Label(name, (name,)) for name in LABELS], load_prompts([str(templates)]))
        head = Classifier(LABELS, labels, session.scoring, session.scoring.activation)
        found = [head.classify(row) for row in ours]

    np.testing.assert_allclose(ours, images, rtol=0, atol=1e-5)
    np.testing.assert_allclose(labels, texts, rtol=0, atol=1e-5)
    by_label = [{entry.label: entry.score for entry in result.ranked} for result in found]
    np.testing.assert_allclose([[row[name] for name in LABELS] for row in by_label], scores, rtol=0, atol=1e-5)
    assert session.scoring.activation == ("sigmoid" if kind == "siglip" else "softmax")


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_single_texts_equal_open_clips(kind: str, specs: dict[str, str]):
    import open_clip
    import torch

    texts = ["", "a", "a photo of a dog", "word " * 200, "emoji 🐈 &amp; ümläut"]
    with torch.no_grad():
        model = open_clip.create_model(specs[kind]).eval()
        expected = model.encode_text(open_clip.get_tokenizer(specs[kind])(texts), normalize=True).numpy()
    with open_session(Choice(specs[kind], engine="openclip"), Console(quiet=True)) as session:
        ours = session.embed_texts(texts)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)


def test_only_causal_towers_are_cut(specs: dict[str, str]):
    for kind, spec in specs.items():
        with open_session(Choice(spec, engine="openclip"), Console(quiet=True)) as session:
            assert session.info.causal_text == (kind in {"clip", "quickgelu", "timm"}), kind


def test_quick_gelu_tags_get_the_quick_gelu_architecture():
    from clipcli.engines.checkpoint import resolve
    from clipcli.hub.client import Hub
    from clipcli.models.spec import parse_model

    class Cached(Hub):
        def fetch_weights(self, repo: str, revision: str | None = None, filename: str = "") -> Path:
            return Path(f"/cached/{repo}/abc/open_clip_model.safetensors")

    hub = Cached(Console())
    assert resolve(parse_model("ViT-B-32/openai"), hub).quick_gelu
    assert resolve(parse_model("ViT-B-32-quickgelu/openai"), hub).quick_gelu
    assert not resolve(parse_model("ViT-B-32/laion2b_s34b_b79k"), hub).quick_gelu


def test_siglip_scores_are_independent(specs: dict[str, str]):
    with open_session(Choice(specs["siglip"], engine="openclip"), Console(quiet=True)) as session:
        assert session.scoring == Scoring(session.scoring.scale, -10.0, "sigmoid")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("precision", "threads", "few"),
    [
        ("fp32", 1, False),
        ("fp32", 2, True),
        pytest.param("bf16", 1, False, marks=pytest.mark.slow),  # minutes on a CPU that does not compute in bfloat16
        pytest.param("bf16", 2, True, marks=pytest.mark.slow),
    ],
)
def test_a_vector_is_the_same_to_the_bit_in_any_batch(precision: str, threads: int, few: bool):
    """At ViT-B-32's width, where kernels add up in another order for other numbers of rows."""
    import torch
    from open_clip.model import CLIP, convert_weights_to_lp

    from clipcli.engines.openclip import _narrow_rest

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.manual_seed(3)
    vision = {"image_size": 224, "patch_size": 32, "width": 768, "head_width": 64, "layers": 1}
    text = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 1}
    model = CLIP(512, vision, text, cast_dtype=torch.bfloat16 if precision == "bf16" else None).eval()
    if precision == "bf16":
        convert_weights_to_lp(model, torch.bfloat16)
        _narrow_rest(model, torch.bfloat16)
    encoder = dataclasses.replace(tiny_models.build("plain"), model=model, precision=precision)
    encoder = dataclasses.replace(encoder, info=dataclasses.replace(encoder.info, dim=512))
    pixels = np.random.default_rng(1).standard_normal((35, 3, 224, 224)).astype(np.float32)
    texts = [f"a photo of {number} {'small ' * (number % 9)}dogs" for number in range(35)]
    encoder = dataclasses.replace(encoder, few_images=few)
    whole, all_texts = encoder.encode_images(pixels), encoder.encode_texts(texts)
    assert np.abs(whole).max() > 0.01
    for size in (1, 3, 20):
        parts = range(0, 35, size)
        found = np.concatenate([encoder.encode_images(pixels[start : start + size]) for start in parts])
        np.testing.assert_array_equal(found, whole)
        found = np.concatenate([encoder.encode_texts(texts[start : start + size]) for start in parts])
        np.testing.assert_array_equal(found, all_texts)
    torch.set_num_threads(before)


def test_few_images_have_all_threads_and_many_a_lane_each(monkeypatch: pytest.MonkeyPatch):
    import torch

    monkeypatch.setattr("clipcli.engines.openclip.cpu_lanes", lambda: (4, 1))
    monkeypatch.setattr("clipcli.engines.torch_devices.model_threads", lambda: 4)
    seen: list[int] = []
    many = tiny_models.build("plain")
    few = dataclasses.replace(many, few_images=True)
    assert (many.image_lanes, many.text_lanes, few.image_lanes, few.text_lanes) == (4, 4, 1, 4)
    pixels = np.zeros((1, 3, 32, 32), np.float32)
    for encoder in (many, few):
        encoder._image_tower.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
        encoder.encode_images(pixels)
    assert seen == [torch.get_num_threads(), 4]


@pytest.mark.parametrize(("expected", "few"), [(1, True), (15, True), (16, False), (None, False)])
def test_the_number_of_images_that_are_expected_decides(specs: dict[str, str], expected: int | None, few: bool):
    with open_session(
        Choice(specs["clip"], engine="openclip"), Console(quiet=True), expected_images=expected
    ) as session:
        assert session.model.encoder.few_images is few
