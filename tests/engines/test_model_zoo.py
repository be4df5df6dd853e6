"""Every architecture family of open_clip answers as open_clip's own transform, tokenizer, encoders and head do."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import contract
import model_zoo
import numpy as np
import pytest
from model_zoo import MEMBERS, Member
from PIL import Image
from run import ROOT, run

from clipcli.core.console import Console
from clipcli.engines import openclip_registry
from clipcli.inputs.collect import ImageRef
from clipcli.models.spec import Choice
from clipcli.prompts import Label, load_prompts
from clipcli.session.session import open_session
from clipcli.tasks.calibrate import Samples, calibrate

LABELS = ("cat", "red car")
TEXTS = ["", "dog", "naïve café &amp; more — 東京 🙂", "the old house that is parked in front of a cat", "word " * 200]
QUERY = "a photo of a cat"
CLOSE = 1e-5
HEAD = "| family | weights | `openclip`: vectors | scores | `onnx`: vectors | scores |"
by_family = pytest.mark.parametrize(
    "member", [member for member in MEMBERS if not member.is_variant], ids=lambda member: member.family
)
by_member = pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.family)


@dataclass(frozen=True)
class Reference:
    """What a plain open_clip script makes of the pictures and texts."""

    images: np.ndarray
    """(n, dim), unit length."""
    texts: np.ndarray
    labels: np.ndarray
    """(labels, dim): the zero-shot classifier."""
    query: np.ndarray
    logits: np.ndarray
    """(n, labels): scale × cosine + bias."""
    scores: np.ndarray
    activation: str


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders named for labels, six pictures of noise in each, of many shapes."""
    root, rng = tmp_path_factory.mktemp("zoo-photos"), np.random.default_rng(5)
    shapes = [(90, 120), (64, 64), (33, 200), (300, 41), (200, 375), (8, 8)]
    for number, name in enumerate(LABELS):
        (root / name).mkdir()
        for place, (height, width) in enumerate(shapes):
            base = rng.integers(0, 255, (1 + (place + number) % 4, 3, 3), dtype=np.uint8)
            picture = Image.fromarray(base).resize((width, height), Image.Resampling.BICUBIC)
            picture.save(root / name / f"{place}.png")
    return root


def paths(photos: Path) -> list[Path]:
    return sorted(photos.rglob("*.png"))


def reference(member: Member, name: str, photos: Path) -> Reference:
    import open_clip
    import torch

    from clipcli.engines.openclip import quiet_open_clip

    weights = member.tag or name.partition("@")[2]
    # open_clip itself only warns where a tag was trained with QuickGELU and the architecture is spelt without it.
    quick = bool(openclip_registry.tags().get(member.architecture, {}).get(member.tag, {}).get("quick_gelu"))
    with torch.no_grad(), quiet_open_clip():
        model, _, transform = open_clip.create_model_and_transforms(
            member.architecture, pretrained=weights, force_quick_gelu=quick, pretrained_text=False
        )
        model.eval()
        tokenizer = open_clip.get_tokenizer(member.architecture)
        pixels = torch.stack([transform(Image.open(path)) for path in paths(photos)])
        images = model.encode_image(pixels, normalize=True)
        texts = model.encode_text(tokenizer(TEXTS), normalize=True)
        query = model.encode_text(tokenizer([QUERY]), normalize=True)
        templates = load_prompts(["photo"]).templates
        labels = open_clip.build_zero_shot_classifier(model, tokenizer, LABELS, templates)
        bias = 0.0 if model.logit_bias is None else model.logit_bias
        logits = model.logit_scale.exp() * images @ labels + bias
        scores = logits.softmax(dim=-1) if model.logit_bias is None else torch.sigmoid(logits)
    return Reference(
        images.numpy(), texts.numpy(), labels.numpy().T, query.numpy()[0], logits.numpy(), scores.numpy(),
        "softmax" if model.logit_bias is None else "sigmoid",
    )  # fmt: skip


def test_every_published_architecture_belongs_to_a_family():
    """A new kind of architecture in open_clip needs a member of its own here."""
    kinds = {kind(json.loads(openclip_registry.configs()[member.architecture].read_text())) for member in MEMBERS}
    for architecture in openclip_registry.tags():
        assert kind(json.loads(openclip_registry.configs()[architecture].read_text())) in kinds, architecture


def kind(config: dict[str, Any]) -> tuple[object, ...]:
    """What makes an architecture one of its own, sizes left out."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    trunk = re.match(r"[a-z]+\d?", vision.get("timm_model_name", ""))
    tower = "resnet" if isinstance(vision.get("layers"), list) else trunk and trunk[0]
    kinds = ("attentional_pool", "pool_type", "timm_pool", "timm_proj", "block_type", "no_ln_pre", "output_tokens")
    texts = (
        "pool_type",
        "no_causal_mask",
        "embed_cls",
        "proj_bias",
        "hf_pooler_type",
        "hf_proj_type",
        "tokenizer_mode",
    )
    words = re.match(r"[\w.-]+/[A-Za-z-]+|\w+", text.get("hf_tokenizer_name", "CLIP"))
    return (
        tower, *(str(vision.get(key)) for key in kinds), *(text.get(key) or None for key in texts),
        words and re.sub(r"ViT-.*", "ViT", words[0]), json.dumps(text.get("tokenizer_kwargs")),
    )  # fmt: skip


@pytest.mark.thorough
@by_family
def test_a_member_of_each_family_answers_as_open_clip_does(member: Member, photos: Path, tmp_path: Path):
    with model_zoo.published(member, tmp_path) as name:
        expected = reference(member, name, photos)
        choice = Choice(name, "cpu", "fp32", "openclip")
        with open_session(choice, Console(quiet=True)) as session:
            if member.words:
                contract.nothing_in_gives_nothing_out(session.model.encoder)
                contract.texts_of_any_length_are_taken(session.model.encoder)
                contract.tokens_are_counted_before_the_cut(session.model.encoder)
            texts = session.embed_texts(TEXTS)
            labels = session.embed_labels([Label(label, (label,)) for label in LABELS], load_prompts(["photo"]))
            refs = (ImageRef(str(path), str(path)) for path in paths(photos))
            images = np.stack([image.vector for image in session.embed_images(refs) if image.vector is not None])
            scoring = session.scoring
    assert scoring.activation == expected.activation
    assert apart(texts, expected.texts) <= CLOSE
    assert apart(images, expected.images) <= CLOSE
    assert apart(labels, expected.labels) <= CLOSE
    assert apart(images @ labels.T * scoring.scale + scoring.bias, expected.logits) <= CLOSE * max(1, scoring.scale)


def scores_of(rows: list[dict[str, Any]]) -> np.ndarray:
    by_label = [{entry["label"]: entry["score"] for entry in row["labels"]} for row in rows]
    return np.array([[row[label] for label in LABELS] for row in by_label])


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """The rows of the table in docs/models.md; printed when the last of them is there."""
    rows = [HEAD, "| --- | --- | --: | --: | --: | --: |"]
    yield rows
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        sys.stdout.write("\n".join(["", *rows, ""]))


@pytest.mark.slow
@by_member
def test_every_command_and_engine_answers_as_open_clip_does(
    member: Member, photos: Path, tmp_path: Path, table: list[str]
):
    with model_zoo.published(member, tmp_path) as name:
        expected, figures = reference(member, name, photos), []
        for engine in ("openclip", "onnx"):
            if engine == "onnx":
                exported = run("models", "export", name, "-q")
                assert exported.code == 0, exported.stderr
            vectors, scores = compare(expected, partial(ask, name, engine), photos, tmp_path)
            figures += [f"{vectors:.0e}", f"{scores:.0e}"]
            with open_session(Choice(name, "cpu", "fp32", engine), Console(quiet=True)) as session:
                contract.check(session.model.encoder)
            assert vectors <= CLOSE
            assert scores <= CLOSE
    table.append(f"| {member.family} | `{shown(member)}` | {' | '.join(figures)} |")


def shown(member: Member) -> str:
    return member.architecture + (f"/{member.tag}" if member.tag else "@FILE")


def test_the_docs_have_the_figures_of_every_family():
    _, _, below = (ROOT / "docs" / "models.md").read_text(encoding="utf-8").partition(HEAD)
    rows = [line.strip("| ").split(" | ") for line in below.partition("\n\n")[0].splitlines()[2:]]
    assert [(family, weights) for family, weights, *_ in rows] == [(m.family, f"`{shown(m)}`") for m in MEMBERS]
    assert all(len(figures) == 4 and max(map(float, figures)) <= CLOSE for _, _, *figures in rows)


def ask(name: str, engine: str, command: str, *arguments: str | Path) -> Any:
    """A command's rows."""
    options = ("-m", name, "--engine", engine, "--device", "cpu", "-f", "jsonl", "--no-cache")
    result = run(command, *arguments, *options)
    assert result.code == 0, result.stderr
    return result.rows


def compare(
    expected: Reference, ask: Callable[..., Any], photos: Path, tmp_path: Path
) -> tuple[float, float]:  # fmt: skip
    """The largest difference of vectors, and of scores, over all commands."""
    images = np.array([row["embedding"] for row in ask("embed", photos)])
    texts = np.array([row["embedding"] for row in ask("embed", *(part for text in TEXTS for part in ("-t", text)))])
    scores = scores_of(ask("classify", photos, "-l", ",".join(LABELS), "-k", "0"))
    ranked = {row["image"]: row["score"] for row in ask("rank", QUERY, photos, "--all")}
    found = [score for _, score in sorted(ranked.items())]
    check_thresholds(expected, ask, photos, tmp_path)
    return (
        max(apart(images, expected.images), apart(texts, expected.texts)),
        max(apart(scores, expected.scores), apart(np.array(found), expected.images @ expected.query)),
    )


def check_thresholds(expected: Reference, ask: Callable[..., Any], photos: Path, tmp_path: Path) -> None:
    """`calibrate` finds what it would find in open_clip's own logits; the temperature is a minimum that is searched."""
    target = tmp_path / "thresholds.json"
    ask("calibrate", photos, "-l", ",".join(LABELS), "-o", target)
    made = json.loads(target.read_text(encoding="utf-8"))
    truth = np.array([LABELS.index(path.parent.name) for path in paths(photos)])
    head: Any = expected.activation
    fitted = calibrate(Samples(expected.logits.astype(np.float64), truth, head)).fitted
    assert made["temperature"] == pytest.approx(fitted.temperature, rel=1e-3)
    for entry, cut in zip(made["labels"], fitted.cuts, strict=True):
        assert entry["threshold"] == pytest.approx(cut.threshold, abs=1e-4)


def apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max())
