"""Detection models against transformers' own pipeline and post-processing, on the same random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import small_detectors
from PIL import Image

pytest.importorskip("transformers", reason="needs clipcli[torch]")

from clipcli.engines.detector_files import DETECTORS, DetectorFiles
from clipcli.tasks.detect import best_label_each, corners, every_label

pytestmark = pytest.mark.thorough
LABELS = ("a dog", "ball", "a red car")
SIZES = [(90, 60), (40, 100), (64, 64)]
"""Wide, tall and square: of padded pictures, only the last one's boxes are right by luck."""


@pytest.fixture(scope="module", params=small_detectors.KINDS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DetectorFiles:
    folder = small_detectors.save(request.param, tmp_path_factory.mktemp("detector"))
    return DetectorFiles("noise", request.param, folder)


@pytest.fixture(scope="module")
def detector(saved: DetectorFiles):
    from clipcli.engines import detector

    return detector.load(saved, "cpu", "fp32")


@pytest.fixture(scope="module")
def theirs(saved: DetectorFiles) -> Any:
    """The model, the preparation of pixels and the tokenizer, as transformers loads them."""
    import transformers

    kind = DETECTORS[saved.kind]
    return (
        getattr(transformers, kind.model).from_pretrained(saved.folder).eval(),
        getattr(transformers, kind.pixels).from_pretrained(saved.folder),
        transformers.AutoTokenizer.from_pretrained(saved.folder),
    )


def picture(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """Noise that is coarse enough to be seen after it was made small."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def placed(detector, said, size: tuple[int, int]):
    unit = (max(size),) * 2 if detector.kind.box_unit == "longer_edge" else size
    return corners(said.boxes, unit), said.scores


@pytest.mark.parametrize("size", SIZES)
def test_boxes_and_scores_are_those_of_the_pipeline(saved, detector, theirs, size: tuple[int, int]):
    """The pipeline of transformers asks label by label; its boxes are cut to whole pixels."""
    if saved.kind == "grounding-dino":
        pytest.skip("the pipeline has no Grounding DINO; the next test has its own post-processing")
    import transformers

    model, pixels, tokenizer = theirs
    pipeline: Any = transformers.pipeline(
        "zero-shot-object-detection", model=model, image_processor=pixels, tokenizer=tokenizer
    )
    image = picture(size)
    expected = pipeline(image, candidate_labels=list(LABELS), threshold=0.3)
    assert len(expected) > 5
    detector.read_labels([[label] for label in LABELS])
    found = every_label(*placed(detector, detector.detect([image])[0], size), 0.3)
    np.testing.assert_array_equal(
        np.bincount(found.labels, minlength=3), [sum(row["label"] == label for row in expected) for label in LABELS]
    )
    for row in expected:  # nearly equal scores may stand in another order
        same = (found.labels == LABELS.index(row["label"])) & (np.abs(found.scores - row["score"]) < 1e-4)
        assert (np.abs(np.trunc(found.boxes[same]) - [*row["box"].values()]).max(axis=1) <= 1).any()


def owl_answer(theirs, image: Image.Image, threshold: float) -> dict[str, Any]:
    import torch

    model, pixels, tokenizer = theirs
    inputs = tokenizer(list(LABELS), padding="max_length", max_length=16, return_tensors="pt")
    with torch.no_grad():
        said = model(**inputs, **pixels(images=image, return_tensors="pt"))
    return pixels.post_process_object_detection(said, threshold, [image.size[::-1]])[0]


def grounding_answer(theirs, image: Image.Image, threshold: float) -> tuple[dict[str, Any], Any]:
    import torch
    import transformers

    model, pixels, tokenizer = theirs
    processor = transformers.GroundingDinoProcessor(pixels, tokenizer)
    inputs = processor(images=image, text=[list(LABELS)], return_tensors="pt")
    with torch.no_grad():
        said = model(**inputs)
    answer = processor.post_process_grounded_object_detection(
        said, inputs.input_ids, threshold, threshold, [image.size[::-1]]
    )
    return answer[0], (inputs.input_ids[0].tolist(), said.logits[0].sigmoid().numpy())


@pytest.mark.parametrize("size", SIZES)
def test_boxes_and_scores_are_those_of_the_post_processing(saved, detector, theirs, size: tuple[int, int]):
    image = picture(size, seed=3)
    detector.read_labels([[label] for label in LABELS])
    boxes, scores = placed(detector, detector.detect([image])[0], size)
    if saved.kind == "grounding-dino":
        answer, (ids, by_token) = grounding_answer(theirs, image, 0.0)
        np.testing.assert_allclose(boxes, answer["boxes"], atol=1e-4 * max(size))
        # Theirs is the best of all tokens, full stops and ends included; ours the best of each label's own.
        stops = [at for at, number in enumerate(ids) if number == 1012]
        spans = zip([1, *(at + 1 for at in stops)], stops, strict=False)
        by_label = np.stack([by_token[:, first:end].max(axis=1) for first, end in spans], axis=1)
        np.testing.assert_allclose(scores, by_label, atol=1e-4)
        assert (scores.max(axis=1) <= answer["scores"].numpy() + 1e-4).all()
        assert (np.abs(scores.max(axis=1) - answer["scores"].numpy()) < 1e-4).any()
        return
    answer = owl_answer(theirs, image, 0.0)
    np.testing.assert_allclose(boxes, answer["boxes"], atol=1e-4 * max(size))
    np.testing.assert_allclose(scores.max(axis=1), answer["scores"], atol=1e-4)
    first, second = np.sort(scores, axis=1)[:, :-3:-1].T
    clear = first - second > 2e-4  # nearly equal scores may change places
    assert clear.any()
    np.testing.assert_array_equal(scores.argmax(axis=1)[clear], answer["labels"].numpy()[clear])
    found = best_label_each(boxes, scores, float(np.median(first)))
    assert len(found.scores) == (first > np.median(first)).sum()


def test_a_batch_gives_what_single_pictures_give(detector):
    detector.read_labels([[label] for label in LABELS])
    pictures = [picture(size, seed) for seed, size in enumerate([*SIZES, SIZES[0]])]
    together = detector.detect(pictures)
    for image, said in zip(pictures, together, strict=True):
        alone = detector.detect([image])[0]
        np.testing.assert_allclose(said.boxes, alone.boxes, atol=1e-4)
        np.testing.assert_allclose(said.scores, alone.scores, atol=1e-4)


def test_a_label_of_several_texts_scores_as_its_best(saved, detector):
    image = picture((80, 50))
    detector.read_labels([["a dog", "puppy"], ["ball"]])
    grouped = detector.detect([image])[0].scores
    detector.read_labels([["a dog"], ["puppy"], ["ball"]])
    apart = detector.detect([image])[0].scores
    np.testing.assert_allclose(grouped, np.stack([apart[:, :2].max(axis=1), apart[:, 2]], axis=1), atol=1e-5)


def test_more_labels_than_a_prompt_holds(saved, detector):
    """Grounding DINO reads 256 tokens: more labels go in several prompts, each with boxes of its own."""
    image = picture((80, 50))
    many = [[f"{first}{second}"] for first in "abcdefghij" for second in "klmnopqrst"]
    assert detector.read_labels(many) == []
    said = detector.detect([image])[0]
    assert said.scores.shape[1] == len(many)
    assert (said.scores.max(axis=0) > 0).all()
    assert len(said.boxes) == (40 if saved.kind == "grounding-dino" else 16)


def test_a_text_that_is_too_long_is_named(detector):
    long = " ".join(["word"] * 90)
    assert detector.read_labels([["a dog"], [long]]) == [long]
    assert detector.detect([picture((50, 50))])[0].scores.shape[1] == 2
