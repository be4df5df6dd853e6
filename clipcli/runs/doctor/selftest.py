"""Test whether the embedded model gives its known vectors for a picture and texts."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipcli.core.files import is_file
from clipcli.core.vectors import unit_length
from clipcli.errors import ClipcliError
from clipcli.models import spec
from clipcli.runs.doctor.rows import DoctorRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

    from clipcli.core.vectors import Vectors

ANSWER = Path(__file__).parent / "tiny-answer.json"
TEXTS = ("a red circle", "a photo of a cat")
_AGREEMENT = 0.999
"""Least cosine. Processors and versions of ONNX Runtime differ by 1e-6, a damaged model by far more."""
_ANSWER_DIGITS = 5


@dataclass(frozen=True)
class Answer:
    """A model's unit vectors of the drawn picture and of `TEXTS`."""

    fingerprint: str
    vectors: Vectors
    """(1 + texts, dim)."""


def embedded_model() -> Iterator[DoctorRow]:
    """Run `tiny` on one picture and two texts, and compare the vectors with the stored ones."""
    if not is_file(spec.TINY_FOLDER / spec.MANIFEST):
        yield DoctorRow("test", "tiny", "skipped: the embedded model is not part of this installation")
        return
    started = time.perf_counter()
    try:
        answer, expected = compute_answer(), read_answer()
    except ClipcliError as error:
        yield DoctorRow("test", "tiny", f"failed: {error.message}", ok=False)
        return
    except (ImportError, OSError, ValueError, KeyError) as error:
        yield DoctorRow("test", "tiny", f"failed: {type(error).__name__}: {error}", ok=False)
        return
    seconds = time.perf_counter() - started
    if answer.fingerprint != expected.fingerprint:
        text = f"failed: the model is {answer.fingerprint}, but the stored answer is for {expected.fingerprint}"
        yield DoctorRow("test", "tiny", text, ok=False)
        return
    agreement = float((answer.vectors * expected.vectors).sum(axis=1).min())
    outcome = f"its known answer, cosine {agreement:.5f}, in {seconds:.2f} s"
    ok = agreement >= _AGREEMENT
    yield DoctorRow("test", "tiny", outcome if ok else f"failed: not {outcome}", ok=ok)


def draw(height: int, width: int) -> Image.Image:
    """Return a red disc on white in the model's size, so that nothing is resized."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(picture).ellipse((width // 8, height // 8, width * 7 // 8, height * 7 // 8), fill=(220, 30, 30))
    return picture


def compute_answer() -> Answer:
    """Return the present answer of the embedded model.

    Raises:
        ModelError: the model is damaged, or does not run here.
    """
    from clipcli.core.console import Console
    from clipcli.images.preprocess import to_pixels
    from clipcli.models.model import Model
    from clipcli.models.spec import Choice

    encoder = Model(Choice("tiny", "cpu", offline=True), Console(quiet=True)).encoder
    preprocessing = encoder.info.preprocessing
    image = encoder.encode_images(to_pixels(draw(*preprocessing.image_size), preprocessing)[None])
    texts = encoder.encode_texts(TEXTS)
    return Answer(encoder.info.fingerprint, unit_length(np.concatenate([image, texts])))


def read_answer() -> Answer:
    """Return the stored answer. Raises OSError, ValueError or KeyError if it cannot be read."""
    data = json.loads(ANSWER.read_text(encoding="utf-8"))
    return Answer(str(data["fingerprint"]), np.array(data["vectors"], np.float32))


def keep_answer() -> None:
    """Store the present answer of the embedded model, after a new model was trained.

    python -c "from clipcli.runs.doctor.selftest import keep_answer; keep_answer()"
    """
    answer = compute_answer()
    rows = [[round(float(value), _ANSWER_DIGITS) for value in row] for row in answer.vectors]
    text = json.dumps({"fingerprint": answer.fingerprint, "vectors": rows}, separators=(",", ":"))
    ANSWER.write_text(text + "\n", encoding="utf-8")
