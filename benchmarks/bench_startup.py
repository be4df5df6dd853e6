"""From process start to the answer: one image, three labels, ViT-B-32, against the open_clip script that users write.

    python benchmarks/bench_startup.py [--rounds N] [--work FOLDER] [--stages]

Every case is a process of its own; the cases take turns, so that a busy machine slows all of them. Weights are random:
time and memory do not depend on their values. Prints a table and writes results/startup.json and results/startup.md.
With --stages, it divides starts of clipcli into stages instead (startup_stages.py), and writes results/stages.json and
results/stages.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

from startup_stages import END, STAGES, STARTED

RESULTS = Path(__file__).parent / "results"
LABELS = ("cat", "dog", "car")
STAGE_WORDS = """# Stages of a start

`python benchmarks/bench_startup.py --stages`: {where}

Medians of starts that measure themselves, which makes them a little slower (`benchmarks/startup_stages.py`). An import
counts as such wherever it happens: those of clipcli, and those of Python, numpy, Pillow, typer and ONNX Runtime."""

SCRIPT = """
    import torch
    import open_clip
    from PIL import Image

    model, _, transform = open_clip.create_model_and_transforms("ViT-B-32", pretrained={weights!r})
    model.eval()
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    image = transform(Image.open({image!r})).unsqueeze(0)
    text = tokenizer([f"a photo of a {{label}}." for label in {labels!r}])
    with torch.no_grad():
        image_features = model.encode_image(image)
        text_features = model.encode_text(text)
        image_features /= image_features.norm(dim=-1, keepdim=True)
        text_features /= text_features.norm(dim=-1, keepdim=True)
        probabilities = (100.0 * image_features @ text_features.T).softmax(dim=-1)
    print(probabilities.tolist())
"""

MODEL = """
    from pathlib import Path
    import numpy, open_clip, torch
    from PIL import Image

    torch.manual_seed(0)
    torch.save(open_clip.create_model("ViT-B-32").state_dict(), Path({folder!r}) / "ViT-B-32.pt")
    noise = numpy.random.default_rng(0).integers(0, 255, (2, 30, 40, 3), dtype=numpy.uint8)
    for name, tiles in zip(("one", "other"), noise):
        picture = numpy.kron(tiles, numpy.ones((16, 16, 1), numpy.uint8))
        Image.fromarray(picture).save(Path({folder!r}) / f"{{name}}.jpg")
"""

ENGINE = """
    from pathlib import Path
    from clipcli import bundle, images
    from clipcli.core import vectors
    from clipcli.images import preprocess
    from clipcli.tasks import classify
    from clipcli.engines import onnx

    found = bundle.read(Path({bundle!r}), stamps=Path({stamps!r}))
    encoder = onnx.load(found, expected_images={expected})
    image = images.decode(images.read({image!r}))
    picture = vectors.unit_length(encoder.encode_images(preprocess.to_pixels(image, found.info.preprocessing)[None]))
    words = vectors.unit_length(encoder.encode_texts([f"a photo of a {{label}}." for label in {labels!r}]))
    print(classify.scores(vectors.cosines(picture, words), found.scoring).tolist())
"""


@dataclass(frozen=True)
class Case:
    """One way to the answer."""

    name: str
    command: list[str]
    cache: Path | None = None
    """A cache folder to start from; a copy of it is used, so that every round finds the same."""


@dataclass(frozen=True)
class Figure:
    """What a case took."""

    name: str
    seconds: list[float]
    peak_mb: float

    @property
    def median(self) -> float:
        """Seconds of the middle round."""
        return statistics.median(self.seconds)


def prepare(work: Path) -> None:
    """A random checkpoint, its bundle, and two pictures."""
    # In a process of its own: a child's peak memory is never below that of the process it was forked from.
    subprocess.run([sys.executable, "-c", textwrap.dedent(MODEL).format(folder=str(work))], check=True)
    command = [sys.executable, "-m", "clipcli", "models", "export", f"ViT-B-32@{work / 'ViT-B-32.pt'}"]
    subprocess.run([*command, "-o", str(work / "bundle")], check=True, stdout=subprocess.DEVNULL)


def cases(work: Path) -> list[Case]:
    """All ways to the answer, each a command."""
    bundle, image = str(work / "bundle"), str(work / "one.jpg")
    facts = {"labels": LABELS, "image": image, "bundle": bundle, "stamps": str(work / "stamps")}

    def python(code: str, **more: object) -> list[str]:
        return [sys.executable, "-c", textwrap.dedent(code).format(**facts, **more)]

    def classify(picture: str) -> list[str]:
        labels = ",".join(LABELS)
        return [*clipcli, "classify", picture, "-l", labels, "-p", "photo-one", "-m", bundle, "--format", "jsonl"]

    clipcli = [sys.executable, "-m", "clipcli"]
    warm = _cache(work, "warm", classify(image))
    texts = _cache(work, "texts", classify(str(work / "other.jpg")))
    cold = _cache(work, "cold", classify(image))
    for vectors in cold.glob("vectors*"):
        vectors.unlink()
    return [
        Case("open_clip script", python(SCRIPT, weights=str(work / "ViT-B-32.pt"))),
        Case("clipcli classify, cold", classify(image), cold),
        Case("clipcli classify, texts cached", classify(image), texts),
        Case("clipcli classify, all cached", classify(image), warm),
        Case("onnx engine alone, weights not packed", python(ENGINE, expected=1)),
        Case("onnx engine alone, weights packed", python(ENGINE, expected=10_000)),
        Case("python -c pass", [sys.executable, "-c", "pass"]),
    ]


def _cache(work: Path, name: str, command: list[str]) -> Path:
    folder = work / f"cache-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=_environment(folder))
    return folder


def _environment(cache: Path) -> dict[str, str]:
    settings = {"CLIPCLI_CACHE_DIR": str(cache), "HF_HUB_OFFLINE": "1", "CLIPCLI_AUTO_EXPORT": "0"}
    # An installed package is compiled; a setting for developers must not have every start compile it anew.
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | settings


def once(case: Case, work: Path) -> tuple[float, float]:
    """Seconds from start to end, and peak memory in MB."""
    cache = work / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    if case.cache:
        shutil.copytree(case.cache, cache)
    began = time.perf_counter()
    with (work / "answer").open("wb") as answer, (work / "talk").open("wb") as console:
        process = subprocess.Popen(
            case.command, stdout=answer, stderr=console, env=_environment(cache) | {STARTED: repr(began)}
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{case.name} failed: {case.command}\n{(work / 'talk').read_text()}")
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit / 1e6


def measure(work: Path, rounds: int) -> list[Figure]:
    """All cases in turns; the first round warms the disk cache and is not counted."""
    todo = cases(work)
    taken: dict[str, list[tuple[float, float]]] = {case.name: [] for case in todo}
    for number in range(rounds + 1):
        for case in todo:
            figure = once(case, work)
            if number:
                taken[case.name].append(figure)
    return [Figure(name, [s for s, _ in got], max(mb for _, mb in got)) for name, got in taken.items()]


def stages(work: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Return the median seconds of each stage, for the three ways of clipcli; the first round is not counted."""
    script, told = str(Path(__file__).with_name("startup_stages.py")), work / "stages.json"
    starts = [case for case in cases(work) if case.name.startswith("clipcli")]
    taken: dict[str, list[dict[str, float]]] = {case.name: [] for case in starts}
    for number in range(rounds + 1):
        for case in starts:
            arguments = case.command[case.command.index("clipcli") + 1 :]
            seconds, _ = once(Case(case.name, [sys.executable, script, str(told), *arguments], case.cache), work)
            data = json.loads(told.read_text())
            if number:
                taken[case.name].append(data["seconds"] | {END: data["started"] + seconds - data["ended"]})
    return {
        name: {stage: statistics.median(turn[stage] for turn in turns) for stage in STAGES}
        for name, turns in taken.items()
    }


def stage_table(figures: dict[str, dict[str, float]]) -> str:
    """Markdown, milliseconds."""
    head = [f"| stage, ms | {' | '.join(figures)} |", f"|---|{'--:|' * len(figures)}"]
    rows = [f"| {stage} | {' | '.join(f'{1000 * each[stage]:.0f}' for each in figures.values())} |" for stage in STAGES]
    totals = [f"{1000 * sum(each.values()):.0f}" for each in figures.values()]
    return "\n".join([*head, *rows, f"| all | {' | '.join(totals)} |"])


def table(figures: list[Figure]) -> str:
    """Markdown, every case against the script."""
    script = figures[0]
    rows = ["| case | median | least | times faster | peak memory | of the script's |", "|---|---|---|---|---|---|"]
    rows += [
        f"| {f.name} | {f.median:.2f} s | {min(f.seconds):.2f} s | {script.median / f.median:.1f} | "
        f"{f.peak_mb:.0f} MB | {f.peak_mb / script.peak_mb:.2f} |"
        for f in figures
    ]
    return "\n".join(rows)


def main() -> None:
    """Prepare, measure, print, keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", type=Path, help="keep the model here, and use it again")
    parser.add_argument("--stages", action="store_true", help="divide starts of clipcli into stages instead")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as folder:
        work = given.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        if not (work / "bundle").exists():
            prepare(work)
        where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        where += f", {given.rounds} rounds"
        (keep_stages if given.stages else keep_cases)(work, given.rounds, where)


def keep_stages(work: Path, rounds: int, where: str) -> None:
    """Measure stages, print, keep."""
    figures = stages(work, rounds)
    text = f"{STAGE_WORDS.format(where=where)}\n\n{stage_table(figures)}\n"
    print(text)
    (RESULTS / "stages.json").write_text(json.dumps({"machine": where, "stages": figures}, indent=1) + "\n")
    (RESULTS / "stages.md").write_text(text)


def keep_cases(work: Path, rounds: int, where: str) -> None:
    """Measure cases, print, keep."""
    figures = measure(work, rounds)
    text = f"{where}\n\n{table(figures)}\n"
    print(text)
    data = [{"case": f.name, "seconds": [round(s, 3) for s in f.seconds], "peak_mb": round(f.peak_mb)} for f in figures]
    (RESULTS / "startup.json").write_text(json.dumps({"machine": where, "cases": data}, indent=1) + "\n")
    (RESULTS / "startup.md").write_text(f"# Start to answer\n\n`python benchmarks/bench_startup.py`: {text}")


if __name__ == "__main__":
    main()
