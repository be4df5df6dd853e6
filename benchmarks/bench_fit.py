"""A few pictures of each label against its text alone, and against scikit-learn's logistic regression.

    python benchmarks/bench_fit.py NAME=FOLDER [NAME=FOLDER …] [--model tiny] [--splits 5]

Each folder has one folder per label. For each split, 1, 5 or 20 pictures of each label are learnt from, and the others
judge. The vectors are the same for all. scikit-learn's column is empty where it is not installed. `kept` is in how many
splits `clipcli fit` would have written the head of the default method, and `worse` in how many of those it was worse
than the texts alone. Prints a table and writes results/fit.md.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from clipcli.core.console import Console
from clipcli.inputs.collect import collect
from clipcli.models.spec import Choice
from clipcli.prompts import Label, load_prompts, spoken
from clipcli.session.session import open_session
from clipcli.tasks.fit import METHODS, Examples, fit_head

SHOTS = (1, 5, 20)
RESULTS = Path(__file__).resolve().parent / "results"
Guess: TypeAlias = Callable[[Examples, npt.NDArray[np.float32]], npt.NDArray[np.int64]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--model", action="append")
    parser.add_argument("--splits", type=int, default=5)
    asked = parser.parse_args()
    lines = [
        f"| model | pictures | labels | of each | zero-shot | {' | '.join(METHODS)} | scikit-learn | kept | worse |",
        "| --- | --- | --: | --: | --: |" + " --: |" * (len(METHODS) + 3),
    ]
    for model in asked.model or ["tiny"]:
        for entry in asked.sets:
            name, _, folder = entry.partition("=")
            examples = embed(folder, model)
            for shots in SHOTS:
                if line := one_line(f"{Path(model).name} | {name}", examples, shots, asked.splits):
                    print(line, flush=True)
                    lines.append(line)
    where = f"{platform.machine()}, {os.cpu_count()} cores; mean accuracy over {asked.splits} splits"
    page = f"# A few pictures of each label\n\n`python benchmarks/bench_fit.py`: {where}\n\n" + "\n".join(lines)
    about = (__doc__ or "").partition("Each folder")[2].strip()
    (RESULTS / "fit.md").write_text(f"{page}\n\nEach folder {about}\n")


def embed(folder: str, model: str) -> Examples:
    """All pictures of a folder of folders, and the texts of the labels."""
    console = Console(quiet=True)
    names = sorted(path.name for path in Path(folder).iterdir() if path.is_dir())
    refs = list(collect([folder]))
    with open_session(Choice(model), console, expected_images=len(refs)) as session:
        found = [(item.vector, Path(item.ref.path).parent.name) for item in session.embed_images(refs)]
        texts = session.embed_labels([Label(name, (spoken(name),)) for name in names], load_prompts([]))
        kept = [(vector, names.index(name)) for vector, name in found if vector is not None]
        vectors, truth = np.stack([vector for vector, _ in kept]), np.array([number for _, number in kept])
        return Examples(vectors, truth, texts, session.scoring.scale)


def one_line(title: str, examples: Examples, shots: int, splits: int) -> str | None:
    """One row of the table; None where too few pictures are left to judge."""
    rows, kept, worse = [], 0, 0
    for seed in range(splits):
        few = pick(examples.truth, shots, np.random.default_rng(seed))
        learn, rest = examples.subset(few), examples.subset(~few)
        if (~few).sum() < 2 * len(examples.texts):
            return None
        fits = {method: fit_head(learn, learn.vectors[:0], method, seed=seed) for method in METHODS}
        answers = [rest.zero_shot().argmax(axis=1)]
        answers += [fit.head.logits(rest.vectors).argmax(axis=1) for fit in fits.values()]
        answers.append(by_scikit(learn, rest.vectors))
        row = [float((answer == rest.truth).mean()) for answer in answers]
        compared = fits["prototypes"].comparison
        helps = compared is not None and compared.helps
        kept, worse = kept + helps, worse + (helps and row[1] < row[0])
        rows.append(row)
    figures = " | ".join(f"{100 * mean:.1f}" if mean else "" for mean in np.mean(rows, axis=0))
    return f"| {title} | {len(examples.texts)} | {shots} | {figures} | {kept} of {splits} | {worse} |"


def pick(truth: npt.NDArray[np.int64], shots: int, generator: np.random.Generator) -> npt.NDArray[np.bool_]:
    """So many of each label, or all but two where there are fewer."""
    chosen = np.zeros(len(truth), bool)
    for number in np.unique(truth):
        own = generator.permutation(np.flatnonzero(truth == number))
        chosen[own[: min(shots, max(len(own) - 2, 1))]] = True
    return chosen


def by_scikit(learn: Examples, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Logistic regression as most people run it: strength by cross-validation where there are pictures enough."""
    try:
        from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    except ImportError:
        return np.full(len(vectors), -1)
    fewest = int(np.bincount(learn.truth).min())
    if fewest < 3:
        model = LogisticRegression(C=10.0, max_iter=1000)
    else:
        model = LogisticRegressionCV(Cs=np.geomspace(0.1, 1000.0, 5), cv=min(fewest, 3), max_iter=300)
    return np.asarray(model.fit(learn.vectors, learn.truth).predict(vectors))


if __name__ == "__main__":
    main()
