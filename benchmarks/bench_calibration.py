"""Accept or refuse: calibrated thresholds against one flat threshold, on photos that calibration has not seen.

    python benchmarks/bench_calibration.py [--model tiny] [--data ../shared/data/photos] [--seeds 20]

The photos are in folders that are named for what they show. For each seed, half of the folders are labels, and the
photos of the other half are strangers that should get no label. Half of all photos calibrate, the other half judge.
A decision is right when an answer that is right is accepted, or one that is wrong refused. F1 is that of all labels
together. The best flat threshold is the one of most right decisions on the very photos that calibrate. Prints a table
and writes results/calibration.json and results/calibration.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipcli.core.console import Console
from clipcli.inputs.collect import collect
from clipcli.models.spec import Choice
from clipcli.prompts import Label, load_prompts
from clipcli.session.session import open_session
from clipcli.tasks.calibrate import Goal, Samples, Threshold, calibrate, calibration_error, decide, probabilities

if TYPE_CHECKING:
    import numpy.typing as npt

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
WAYS = (
    "none",
    "0.5 for all",
    "one for all, of most right decisions on the photos that calibrate",
    "calibrated for F1",
    "calibrated for decisions",
)


@dataclass(frozen=True)
class Figure:
    """One way to set thresholds over all splits: mean, lowest, highest."""

    thresholds: str
    right_decisions: tuple[float, float, float]
    f1: tuple[float, float, float]

    @classmethod
    def of(cls, way: str, splits: npt.NDArray[np.float64]) -> Figure:
        """From one row a split: share of right decisions, F1."""
        decided, f1 = (
            (round(float(x.mean()), 3), round(float(x.min()), 3), round(float(x.max()), 3)) for x in splits.T
        )
        return cls(way, decided, f1)


def load(model: str, folder: Path) -> tuple[npt.NDArray[np.float64], list[str], list[str]]:
    """Logits of each photo and each folder's name, the photos' names and the folders'."""
    with open_session(Choice(model), Console(quiet=True)) as session:
        found = [item for item in session.embed_images(collect([str(folder)])) if item.vector is not None]
        truth = [Path(item.ref.path).relative_to(folder).parts[-2] for item in found]
        names = sorted(set(truth))
        labels = [Label(name, (name.replace("_", " ").replace("-", " "),)) for name in names]
        texts = session.embed_labels(labels, load_prompts(["photo"]))
        vectors = np.stack([item.vector for item in found])
        return (vectors @ texts.T * session.scoring.scale).astype(np.float64), truth, names


def figures(samples: Samples, thresholds: tuple[Threshold, ...]) -> tuple[float, float]:
    """Share of right decisions, and F1."""
    scores = probabilities(samples.logits, "softmax")
    accepted = decide(scores, thresholds, multi_label=False)
    wanted = samples.truth[:, None] == np.arange(len(thresholds))
    correct = scores.argmax(axis=1) == samples.truth
    hits = (accepted & wanted).sum()
    decided = float((accepted.any(axis=1) == correct).mean())
    return decided, float(2 * hits / max(accepted.sum() + wanted.sum(), 1))


def best_flat(samples: Samples) -> float:
    """The one threshold of most right decisions on these photos."""
    count = samples.logits.shape[1]
    limits = np.unique(probabilities(samples.logits, "softmax").max(axis=1))
    return float(max(limits, key=lambda limit: figures(samples, (Threshold(limit),) * count)[0]))


def one_seed(logits: npt.NDArray[np.float64], truth: list[str], names: list[str], seed: int) -> list[tuple[float, ...]]:
    """Right decisions and F1 for each way to set thresholds; the calibration errors last."""
    chooser = np.random.default_rng(seed)
    labels = np.sort(chooser.choice(len(names), len(names) // 2, replace=False))
    number = {names[label]: place for place, label in enumerate(labels)}
    answers = np.array([number.get(name, -1) for name in truth])
    half = np.zeros(len(truth), bool)
    for name in names:
        places = np.flatnonzero([each == name for each in truth])
        half[chooser.choice(places, len(places) // 2, replace=False)] = True
    learn, judge = (Samples(logits[some][:, labels], answers[some], "softmax") for some in (half, ~half))
    f1, decisions = (calibrate(learn, goal, seed=seed).fitted for goal in (Goal("f1"), Goal("decisions")))
    cooled = Samples(judge.logits / f1.temperature, judge.truth, "softmax")
    flat = [figures(judge, (Threshold(limit),) * len(labels)) for limit in (0.0, 0.5, best_flat(learn))]
    return [
        *flat,
        figures(cooled, f1.thresholds),
        figures(cooled, decisions.thresholds),
        (calibration_error(judge), calibration_error(cooled)),
    ]


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data" / "photos")
    parser.add_argument("--seeds", type=int, default=20)
    asked = parser.parse_args()
    logits, truth, names = load(asked.model, asked.data)
    rows = np.array([one_seed(logits, truth, names, seed) for seed in range(asked.seeds)])
    ways = [Figure.of(way, rows[:, place]) for place, way in enumerate(WAYS)]
    before, after = (round(float(error), 3) for error in rows[:, -1].mean(axis=0))
    what = f"{asked.model}: {len(truth)} photos in {len(names)} folders, {asked.seeds} splits"
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    text = f"{what}; {where}\n\n{table(ways)}\n\nExpected calibration error: {before:.3f} before, {after:.3f} after.\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    data = {
        "what": what,
        "machine": where,
        "ways": [asdict(way) for way in ways],
        "calibration_error": {"before": before, "after": after},
    }
    (RESULTS / "calibration.json").write_text(json.dumps(data, indent=1) + "\n")
    page = f"# Accept or refuse: calibrated or flat thresholds\n\n`python benchmarks/bench_calibration.py`: {text}"
    (RESULTS / "calibration.md").write_text(page)


def table(ways: list[Figure]) -> str:
    """Markdown: the mean over all splits, and in brackets the lowest and the highest."""
    lines = ["| thresholds | right decisions | F1 |", "| --- | --: | --: |"]
    for way in ways:
        shown = [f"{mean:.3f} ({low:.3f}–{high:.3f})" for mean, low, high in (way.right_decisions, way.f1)]
        lines.append(f"| {way.thresholds} | {' | '.join(shown)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
