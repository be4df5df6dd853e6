"""Accuracy on the pictures that were kept out, and the logit scale that is most honest, which goes into WORK/model.

    python -m training.evaluate WORK RESULTS.json ZIP_OR_FOLDER...

The class names of each set are the labels, in the default prompts and bare. Of the 1,000 ImageNet names there are no
photos here: one figure is how often the names agree with the starting network's classifier on features that were moved
until it is sure of a class (what the names lose), the other how often the model agrees with it on kept-out photos of
which it is sure (what the tuning loses).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from clipcli.prompts.labels import imagenet_class_names
from training import material as pictures
from training import space, text_tower
from training.model_folder import write
from training.names import Names, default_prompts
from training.packages import KEPT_OUT_STYLE
from training.sources import Archive
from training.space import Space
from training.tune import Maps, tuned_tail, whole

if TYPE_CHECKING:
    from training.material import Material

FEWEST = 4
SCALES = [2.0 ** (step / 8) for step in range(24, 50)]
SURE = 0.5
BINS = 15


def tuned_vectors(material: Material, work: Path) -> torch.Tensor:
    """Unit vectors of the kept-out pictures by WORK/tuned.pt; zeros for all others."""
    projection = nn.Linear(material.features.shape[1], text_tower.WIDTH)
    projection.load_state_dict(torch.load(work / "tuned.pt", weights_only=True)["projection"])
    numbers = torch.nonzero(~material.training)[:, 0]
    vectors = torch.zeros(len(material.rows), text_tower.WIDTH)
    with torch.inference_mode():
        vectors[numbers] = normalize(projection(whole(Maps(work), tuned_tail(work), numbers)), dim=1)
    return vectors


def answers(material: Material, vectors: torch.Tensor, names: Names, templates: list[str]) -> dict[str, Any]:
    """Cosines and right answers of every set's kept-out pictures."""
    found = {}
    for number, name in enumerate(material.sets):
        rows = torch.nonzero((material.set_of == number) & ~material.training)[:, 0]
        choices = torch.nonzero(material.broad_choices[number])[:, 0]
        if len(rows) < FEWEST or len(choices) == 1:
            continue
        right = torch.searchsorted(choices, material.broad[rows])
        said = names([material.words.concepts[at] for at in choices.tolist()], templates)
        found[f"emoji, {KEPT_OUT_STYLE}" if name == "emoji" else name] = vectors[rows] @ said.T, right
    return found


def accuracy(cosines: torch.Tensor, right: torch.Tensor) -> dict[str, float]:
    """How often the first, and one of the first five, is right, in percent."""
    best = cosines.topk(min(5, cosines.shape[1])).indices
    return {
        "pictures": len(right),
        "names": cosines.shape[1],
        "top1": round(100 * (best[:, 0] == right).float().mean().item(), 1),
        "top5": round(100 * (best == right[:, None]).any(1).float().mean().item(), 1),
    }


def calibration_error(found: dict[str, Any], scale: float) -> float:
    """Expected calibration error over all sets together, 15 bins."""
    sure = torch.cat([(scale * cosines).softmax(1).max(1).values for cosines, _ in found.values()])
    right = torch.cat([(cosines.argmax(1) == answer).float() for cosines, answer in found.values()])
    bins = (sure * BINS).long().clamp(max=BINS - 1)
    gaps = [(sure[bins == at].sum() - right[bins == at].sum()).abs().item() for at in range(BINS)]
    return sum(gaps) / len(sure)


def best_scale(found: dict[str, Any]) -> float:
    """The scale of the smallest mean loss, each set weighing the same."""

    def cost(scale: float) -> float:
        return float(np.mean([cross_entropy(scale * cosines, right).item() for cosines, right in found.values()]))

    return min(SCALES, key=cost)


def agreement(material: Material, projection: Space, vectors: torch.Tensor, table: torch.Tensor) -> dict[str, float]:
    """How often the ImageNet names agree with the starting classifier, in percent."""
    fake, opinion = space.moved(material, np.random.default_rng(1))
    own = opinion.argmax(1)
    best = (projection.vectors(fake) @ table.T).topk(5).indices
    kept_out = ~material.training & ~material.drawn
    seen = material.opinion(material.features[kept_out])
    sure = seen.max(1).values > SURE
    named = (vectors[kept_out] @ table.T).argmax(1)
    return {
        "moved_top1": round(100 * (best[:, 0] == own).float().mean().item(), 1),
        "moved_top5": round(100 * (best == own[:, None]).any(1).float().mean().item(), 1),
        "kept_out_sure": round(100 * (named == seen.argmax(1))[sure].float().mean().item(), 1),
        "sure": int(sure.sum()),
    }


def evaluate(work: Path, archives: list[Archive]) -> dict[str, Any]:
    """All figures of the model card."""
    material = pictures.load(work, archives, views=1)
    projection = Space.restored(work)
    projection.projection.load_state_dict(torch.load(work / "tuned.pt", weights_only=True)["projection"])
    vectors = tuned_vectors(material, work)
    names = Names(work)
    templates = {"prompts": default_prompts(), "bare": ["{}"]}
    results = {}
    with torch.inference_mode():
        for how, said in templates.items():
            found = answers(material, vectors, names, said)
            table = names(list(imagenet_class_names()), said)
            scale = best_scale(found)
            results[how] = {name: accuracy(*answer) for name, answer in found.items()} | {
                "mean": round(float(np.mean([accuracy(*answer)["top1"] for answer in found.values()])), 1),
                "imagenet": agreement(material, projection, vectors, table),
                "scale": round(scale, 1),
                "calibration_error": round(calibration_error(found, scale), 3),
            }
    return results


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("archives", type=Path, nargs="+")
    args = parser.parse_args()
    results = evaluate(args.work, [Archive(path) for path in args.archives])
    args.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    write(args.work, args.work / "model", results["prompts"]["scale"])
    for how, figures in results.items():
        for name, row in figures.items():
            print(f"{how:8} {name:32} {row}")


if __name__ == "__main__":
    main()
