"""`detect` without a detection model, on pictures that are composed here: things pasted on scenes.

    python benchmarks/bench_detect.py --things FOLDER --scenes FOLDER [--pictures 500] [--model tiny]

`--things` has one folder per label with photos that show little else than one thing; `--scenes` has photos without any
of them, in any folders. Each picture is a scene of 480 by 360 pixels with one to three things, their longer edges from
0.25 to 0.7 of the scene's shorter one, that do not touch; what is told to `detect` are six labels, those of the things
among them. A box is right if it has the label of a thing and covers it with an intersection over union of 0.5 (or 0.3),
one box for each thing. Prints a table and writes results/detect.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
from PIL import Image

from clipcli.core.console import Console
from clipcli.inputs.sources.refs import ImageRef
from clipcli.models.spec import Choice
from clipcli.prompts import Label, load_prompts, spoken
from clipcli.runs.detect.run import CoarseLocator, DetectionQuery, Located
from clipcli.session.session import open_session
from clipcli.tasks.detect import overlaps

RESULTS = Path(__file__).resolve().parent / "results"
SIZE = (480, 360)
LABELS = 6
THRESHOLDS = (0.3, 0.5, 0.7, 0.8, 0.9)
OVERLAPS = (0.3, 0.5)
LEAST = 0.2
_PART = 20


@dataclass(frozen=True)
class Composed:
    """A picture with known things."""

    image: Image.Image
    truth: tuple[tuple[str, tuple[int, int, int, int]], ...]
    labels: tuple[str, ...]


def compose(things: Path, scenes: Path, count: int, seed: int = 0) -> Iterator[Composed]:
    """Yield as many pictures, always the same ones."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    by_label = {folder.name: sorted(folder.glob("*.*")) for folder in sorted(things.iterdir()) if folder.is_dir()}
    places = sorted(path for path in scenes.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    for _ in range(count):
        scene = Image.open(chance.choice(places)).convert("RGB")
        shrink = max(SIZE[0] / scene.width, SIZE[1] / scene.height)
        scene = scene.resize((round(scene.width * shrink) + 1, round(scene.height * shrink) + 1)).crop((0, 0, *SIZE))
        labels = tuple(chance.sample(sorted(by_label), LABELS))
        truth: list[tuple[str, tuple[int, int, int, int]]] = []
        for label in labels[: chance.randint(1, 3)]:
            thing = Image.open(chance.choice(by_label[label])).convert("RGB")
            scale = chance.uniform(0.25, 0.7) * min(SIZE) / max(thing.size)
            size = (max(8, round(thing.width * scale)), max(8, round(thing.height * scale)))
            for _ in range(30):
                x, y = chance.randint(0, SIZE[0] - size[0]), chance.randint(0, SIZE[1] - size[1])
                box = (x, y, x + size[0], y + size[1])
                if all(overlaps(np.array(box), np.array([other]))[0][0] == 0 for _, other in truth):
                    scene.paste(thing.resize(size), (x, y))
                    truth.append((label, box))
                    break
        yield Composed(scene, tuple(truth), tuple(sorted(labels)))


Found = Sequence[tuple[str, float, tuple[int, ...]]]
"""Label, score and box, the best first."""


def judge(pairs: Sequence[tuple[Composed, Found]], threshold: float, overlap: float) -> tuple[float, float]:
    """Recall and precision."""
    right = boxes = things = 0
    for picture, found in pairs:
        left = list(picture.truth)
        things += len(left)
        for label, score, box in found:
            if score < threshold:
                continue
            boxes += 1
            shares = [
                overlaps(np.array(box), np.array([other]))[0][0] if name == label else 0.0 for name, other in left
            ]
            if shares and max(shares) >= overlap:
                right += 1
                left.pop(int(np.argmax(shares)))
    return right / max(things, 1), right / max(boxes, 1)


def detect_all(model: str, pictures: Sequence[Composed]) -> list[tuple[Composed, Found]]:
    """Return each picture with what `detect` finds in it."""
    pairs: list[tuple[Composed, Found]] = []
    console = Console(quiet=True)
    with tempfile.TemporaryDirectory() as folder, open_session(Choice(model), console) as session:
        for number, picture in enumerate(pictures):
            path = str(Path(folder) / f"{number}.png")
            picture.image.save(path)
            labels = [Label(name, (spoken(name),)) for name in picture.labels]
            locator = CoarseLocator(DetectionQuery(labels, load_prompts([]), LEAST))
            for _, said in locator.locate(session, [ImageRef(path, path)], console):
                if not isinstance(said, Located):
                    raise said
                answers = said.answers
                rows = zip(answers.labels.tolist(), answers.scores.tolist(), answers.boxes.tolist(), strict=True)
                found = [(picture.labels[label], score, tuple(box)) for label, score, box in rows]
                pairs.append((picture, found))
    return pairs


def in_parts(model: str, pictures: Sequence[Composed], processes: int) -> list[tuple[Composed, Found]]:
    """Do the same in several processes."""
    with ProcessPoolExecutor(processes) as pool:
        parts = [pictures[at : at + _PART] for at in range(0, len(pictures), _PART)]
        pairs: list[tuple[Composed, Found]] = []
        for done in pool.map(detect_all, repeat(model), parts):
            pairs += done
            print(f"{len(pairs)} pictures: recall and precision at 0.5", judge(pairs, 0.5, 0.5), file=sys.stderr)
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--things", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--model", action="append")
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args()
    pictures = list(compose(asked.things, asked.scenes, asked.pictures))
    head = [f"recall at {each} | precision at {each}" for each in OVERLAPS]
    lines = [f"| model | threshold | {' | '.join(head)} |", "| --- | --: |" + " --: |" * 2 * len(OVERLAPS)]
    for model in asked.model or ["tiny"]:
        pairs = in_parts(model, pictures, asked.processes)
        for threshold in THRESHOLDS:
            figures = [f"{value:.2f}" for overlap in OVERLAPS for value in judge(pairs, threshold, overlap)]
            lines.append(f"| {Path(model).name} | {threshold} | {' | '.join(figures)} |")
            print(lines[-1], flush=True)
    things = sum(len(picture.truth) for picture in pictures)
    where = f"{platform.machine()}, {os.cpu_count()} cores; {len(pictures)} pictures with {things} things"
    about = (__doc__ or "").partition("`--things`")[2].strip()
    page = f"# Boxes without a detection model\n\n`python benchmarks/bench_detect.py`: {where}\n\n" + "\n".join(lines)
    (RESULTS / "detect.md").write_text(f"{page}\n\n`--things` {about}\n")


if __name__ == "__main__":
    main()
