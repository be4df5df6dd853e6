"""bfloat16 on the CPU: taken where it is faster and ranks alike, asked once, remembered."""

from __future__ import annotations

import dataclasses
import itertools
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import small_models
from run import run

from clipcli.core.console import Console
from clipcli.core.encoder import ModelInfo, Preprocessing, Scoring
from clipcli.core.vectors import unit_length
from clipcli.engines import autotune
from clipcli.errors import ModelError
from clipcli.models.model import Model
from clipcli.models.spec import Choice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clipcli.core.vectors import Pixels, Vectors

INFO = ModelInfo("m", "0" * 12, 16, Preprocessing((30, 20), (0, 0, 0), (1, 1, 1)), 77, causal_text=True)
MIX = np.random.default_rng(1).standard_normal((3 * 30 * 20, 16)).astype(np.float32)
WORDS = np.random.default_rng(2).standard_normal((len(autotune._TEXTS), 16)).astype(np.float32)


@dataclasses.dataclass(eq=False)
class Fake:
    """An encoder whose passes take the seconds an image that they are given, on a clock that only it moves."""

    precision: str
    seconds: Sequence[float]
    now: list[float]
    distort: Callable[[Vectors], Vectors] = lambda vectors: vectors
    error: Exception | None = None
    info: ModelInfo = INFO
    scoring: Scoring = dataclasses.field(default_factory=lambda: Scoring(100))
    device: str = "cpu"
    image_lanes: int = 1
    text_lanes: int = 1

    def __post_init__(self) -> None:
        self.passes = itertools.cycle(self.seconds)

    def encode_images(self, pixels: Pixels) -> Vectors:
        if self.error:
            raise self.error
        self.now[0] += next(self.passes) * len(pixels)
        return self.distort(pixels.reshape(len(pixels), -1) @ MIX)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        return WORDS[: len(texts)]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [1] * len(texts)


def choose(wide: Sequence[float], narrow: Sequence[float], *, error: Exception | None = None, **options: object) -> str:
    now = [0.0]
    encoders = Fake("fp32", wide, now), Fake("bf16", narrow, now, error=error, **options)  # type: ignore[arg-type]
    return autotune.quicker(lambda: encoders[0], lambda: encoders[1], Console(), lambda: now[0]).precision


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("wide", "narrow", "precision"),
    [
        ([2.0], [1.0], "bf16"),
        ([1.2], [1.0], "bf16"),
        ([1.05], [1.0], "fp32"),
        ([1.0], [1.0], "fp32"),
        ([1.0], [2.0], "fp32"),
        # The first pass of each does not count, and one that something else slowed does not either.
        ([0.1, 2.0, 2.0, 2.0], [9.0, 1.0, 1.0, 1.0], "bf16"),
        ([2.0, 2.0, 2.0, 2.0], [1.0, 9.0, 1.0, 9.0], "bf16"),
        ([9.0, 9.0, 9.0, 1.0], [1.0], "fp32"),
    ],
)
def test_bf16_has_to_be_faster(wide: list[float], narrow: list[float], precision: str):
    assert choose(wide, narrow) == precision


@pytest.mark.thorough
def test_bf16_has_to_rank_alike():
    def rounded(vectors: Vectors) -> Vectors:
        """As bfloat16 rounds: eight bits."""
        return (vectors.view(np.uint32) & 0xFFFF0000).view(np.float32)

    def turned(vectors: Vectors) -> Vectors:
        return vectors[:, ::-1].copy()

    def shaken(vectors: Vectors) -> Vectors:
        """Close to the vectors, and yet other texts come first."""
        noise = np.random.default_rng(4).standard_normal(vectors.shape).astype(np.float32)
        return unit_length(unit_length(vectors) + 0.012 * noise)

    assert choose([2.0], [1.0], distort=rounded) == "bf16"
    assert choose([2.0], [1.0], distort=turned) == "fp32"
    assert choose([2.0], [1.0], distort=shaken) == "fp32"


@pytest.mark.thorough
@pytest.mark.parametrize(
    "error", [RuntimeError("\"conv\" not implemented for 'BFloat16'"), MemoryError("no"), ModelError("damaged")]
)
def test_bf16_that_does_not_run_is_left(error: Exception, capsys: pytest.CaptureFixture[str]):
    assert choose([2.0], [1.0], error=error) == "fp32"

    def fail() -> Fake:
        raise error

    wide = Fake("fp32", [1.0], [0.0])
    assert autotune.quicker(lambda: wide, fail, Console(verbose=True)) is wide
    assert f"bf16 does not run here ({error}); using fp32" in capsys.readouterr().err


@pytest.mark.thorough
def test_verdicts_are_said_with_v(capsys: pytest.CaptureFixture[str]):
    now = [0.0]
    wide, narrow = Fake("fp32", [3.0], now), Fake("bf16", [2.0], now)
    autotune.quicker(lambda: wide, lambda: narrow, Console(verbose=True), lambda: now[0])
    assert capsys.readouterr().err.splitlines() == [
        "clipcli: measuring bf16 against fp32, once for this model on this CPU",
        "clipcli: bf16 is 1.50 times as fast as fp32 and ranks the same: using bf16",
    ]


@pytest.mark.thorough
@pytest.mark.parametrize("seconds", [[1.0], [9.0]])
def test_one_model_at_a_time_is_in_memory(seconds: list[float]):
    now, alive = [0.0], weakref.WeakSet[Fake]()

    def load(precision: str, passes: list[float]) -> Fake:
        assert not list(alive)
        encoder = Fake(precision, passes, now)
        alive.add(encoder)
        return encoder

    chosen = autotune.quicker(lambda: load("fp32", [2.0]), lambda: load("bf16", seconds), Console(), lambda: now[0])
    assert chosen.precision == ("bf16" if seconds == [1.0] else "fp32")


def test_probe_images_are_as_large_as_the_model_wants_and_differ():
    images = autotune.probe_images((30, 20))
    assert images.shape == (4, 3, 30, 20)
    assert images.dtype == np.float32
    assert np.array_equal(images, autotune.probe_images((30, 20)))
    flat = unit_length(images.reshape(4, -1))
    assert np.abs(flat @ flat.T - np.eye(4)).max() < 0.5


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {kind: small_models.save(kind, tmp_path_factory.mktemp(kind)) for kind in small_models.CONFIGS}


@pytest.mark.parametrize(("kind", "precision"), [*((kind, "bf16") for kind in small_models.CONFIGS), ("coca", "fp16")])
@pytest.mark.slow
def test_vectors_of_half_precision_are_near(specs: dict[str, str], kind: str, precision: str):
    texts = ["a dog", "", "a rather long sentence about a cat and its house", "naïve café"]
    vectors = {}
    for how in ("fp32", precision):
        encoder = Model(Choice(specs[kind], "cpu", how, "openclip"), Console()).encoder  # type: ignore[arg-type]
        assert encoder.precision == how
        pixels = autotune.probe_images(encoder.info.preprocessing.image_size)
        made = encoder.encode_images(pixels), encoder.encode_texts(texts)
        assert all(part.dtype == np.float32 for part in made)
        vectors[how] = [unit_length(part) for part in made]
    for wide, narrow in zip(vectors["fp32"], vectors[precision], strict=True):
        assert (wide * narrow).sum(axis=1).min() > 0.99
        assert not np.array_equal(wide, narrow)


class Judge:
    """Stands for the measurement and counts how often it was made."""

    def __init__(self, precision: str) -> None:
        self.precision, self.asked = precision, 0

    def __call__(self, load_wide: Callable[[], object], load_narrow: Callable[[], object], _console: Console) -> object:
        self.asked += 1
        return load_wide() if self.precision == "fp32" else load_narrow()


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Judge]:
    def use(precision: str) -> Judge:
        judge = Judge(precision)
        monkeypatch.setattr("clipcli.core.devices.cpu_with_bf16", lambda: "A CPU with bf16")
        monkeypatch.setattr("clipcli.core.devices.accelerator", lambda: None)
        monkeypatch.setattr(autotune, "quicker", judge)
        return judge

    return use


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_verdict_is_kept(random_model: str, judged: Callable[[str], Judge], precision: str):
    judge = judged(precision)
    for _ in range(3):
        model = Model(Choice(random_model, "cpu", engine="openclip"), Console())
        model.encoder  # noqa: B018 - loads
        assert model.precision == precision
    assert judge.asked == 1
    described = Model(Choice(random_model, "cpu", engine="openclip"), Console())
    assert described.precision == precision
    assert described._loaded is None


@pytest.mark.parametrize(
    "choice",
    [
        {"engine": "auto"},
        {"engine": "openclip", "precision": "fp32"},
        {"engine": "openclip", "precision": "fp16"},
    ],
)
def test_only_an_explicit_engine_without_a_precision_is_measured(
    random_model: str, judged: Callable[[str], Judge], choice: dict[str, str]
):
    judge = judged("bf16")
    model = Model(Choice(random_model, "cpu", **choice), Console())  # type: ignore[arg-type]
    assert model.encoder.precision == choice.get("precision", "fp32")
    assert judge.asked == 0


def test_another_engine_does_not_go_by_the_verdict(random_model: str, judged: Callable[[str], Judge]):
    judged("bf16")
    assert Model(Choice(random_model, "cpu", engine="openclip"), Console()).encoder.precision == "bf16"
    assert Model(Choice(random_model, "cpu"), Console()).precision == "fp32"


def test_another_cpu_is_measured_anew(
    random_model: str, judged: Callable[[str], Judge], monkeypatch: pytest.MonkeyPatch
):
    """A cache folder may be shared by machines."""
    judge = judged("bf16")
    choice = Choice(random_model, "cpu", engine="openclip")
    Model(choice, Console()).encoder  # noqa: B018 - loads
    monkeypatch.setattr("clipcli.core.devices.cpu_with_bf16", lambda: "Another")
    Model(choice, Console()).encoder  # noqa: B018 - loads
    assert judge.asked == 2
    monkeypatch.setattr("clipcli.core.devices.cpu_with_bf16", lambda: "")
    assert Model(choice, Console()).precision == "fp32"


@pytest.mark.thorough
def test_vectors_of_different_precision_are_kept_apart(random_model: str, folder: Path, judged: Callable[[str], Judge]):
    judged("bf16")
    command = ("classify", "-m", random_model, folder, "-l", "disc,square", "--device", "cpu")
    wide = run(*command, "--engine", "openclip", "--precision", "fp32")
    narrow = run(*command, "--engine", "openclip")
    assert wide.code == narrow.code == 0
    assert wide.stdout != narrow.stdout
    assert run(*command, "--engine", "openclip", "--precision", "fp32").stdout == wide.stdout
    assert run(*command, "--engine", "openclip").stdout == narrow.stdout
    assert run(*command, "--engine", "openclip", "--precision", "bf16").stdout == narrow.stdout
