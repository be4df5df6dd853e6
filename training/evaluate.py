"""Accuracy on the pictures that were kept out, and the logit scale that is most honest, which goes into WORK/model.

    python -m training.evaluate WORK RESULTS.json ZIP_OR_FOLDER...

The class names of each set are the labels, in the default prompts and bare. Of the 1,000 ImageNet names there are no
photos here: the figure is how often the names agree with the starting network's own classifier: on features that
were moved until it is sure of a class, and on kept-out pictures of which it is sure.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, normalize

from clipcli.prompts import shipped
from training import space, text_tower
from training.packages import KEPT_OUT_STYLE
from training.sources import Archive
from training.space import Material, Space
from training.text_tower import END, LONGEST, START, TextTower
from training.train_texts import write

PROMPTS = Path(__file__).parent.parent / "prompts" / "photo.txt"
FEWEST = 4
SCALES = [2.0 ** (step / 8) for step in range(24, 50)]
SURE = 0.5
BINS = 15


class Names:
    """Vectors of names by the trained text tower."""

    def __init__(self, work: Path) -> None:
        from open_clip import SimpleTokenizer

        self.tower = TextTower()
        self.tower.load_state_dict(torch.load(work / "texts.pt", weights_only=True)["tower"])
        self.tokenizer = SimpleTokenizer()

    def __call__(self, names: list[str], templates: list[str]) -> torch.Tensor:
        """One unit vector for each name: the mean over the templates."""
        total = torch.zeros(len(names), text_tower.WIDTH)
        for template in templates:
            said = [self.tokenizer.encode(template.replace("{}", name))[:LONGEST] for name in names]
            total += text_tower.encode_all(self.tower, [[START, *ids, END] for ids in said])
        return normalize(total, dim=1)


def answers(material: Material, vectors: torch.Tensor, names: Names, templates: list[str]) -> dict[str, Any]:
    """Cosines and right answers of every set's kept-out pictures."""
    found = {}
    for number, name in enumerate(material.sets):
        rows = torch.nonzero((material.set_of == number) & ~material.training)[:, 0]
        if len(rows) < FEWEST:
            continue
        choices = sorted({label for at in torch.nonzero(material.set_of == number)[:, 0].tolist()
                          for label in material.rows[at].labels[:1]})  # fmt: skip
        right = torch.tensor([choices.index(material.rows[at].labels[0]) for at in rows.tolist()])
        key = f"emoji, {KEPT_OUT_STYLE}" if name == "emoji" else name
        found[key] = (vectors[rows] @ names(choices, templates).T, right)
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
    seen = material.opinion(material.features[~material.training])
    sure = seen.max(1).values > SURE
    named = (vectors[~material.training] @ table.T).argmax(1)
    return {
        "moved_top1": round(100 * (best[:, 0] == own).float().mean().item(), 1),
        "moved_top5": round(100 * (best == own[:, None]).any(1).float().mean().item(), 1),
        "kept_out_sure": round(100 * (named == seen.argmax(1))[sure].float().mean().item(), 1),
    }


def evaluate(work: Path, archives: list[Archive]) -> dict[str, Any]:
    """All figures of the model card."""
    material = space.load(work, archives)
    projection = Space(material)
    projection.projection.load_state_dict(torch.load(work / "space.pt", weights_only=False)["projection"])
    names = Names(work)
    results: dict[str, Any] = {}
    with torch.inference_mode():
        vectors = projection.vectors(material.features)
        lines = PROMPTS.read_text(encoding="utf-8").splitlines()
        for how, templates in {
            "prompts": [line for line in lines if "{}" in line and line[0] != "#"],
            "bare": ["{}"],
        }.items():
            found = answers(material, vectors, names, templates)
            results[how] = {name: accuracy(*answer) for name, answer in found.items()}
            results[how]["mean"] = round(float(np.mean([row["top1"] for row in results[how].values()])), 1)
            table = names(list(shipped.class_names()), templates)
            results[how]["imagenet"] = agreement(material, projection, vectors, table)
            scale = best_scale(found)
            results[how] |= {"scale": round(scale, 1), "calibration_error": round(calibration_error(found, scale), 3)}
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
